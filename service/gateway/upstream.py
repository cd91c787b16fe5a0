"""The model's API, through the Anthropic SDK. The only module that talks to it.

Bodies go through as bytes, in both directions: what this release does not know is none of its
business. Every way in which a call can fail becomes a Problem here, so that whoever holds credits
for it has one thing to catch.
"""

import json
import re
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn

import anthropic
import httpx2

from ..problems import Problem, Reply
from . import sse
from .message import unreadable

Headers = Mapping[str, str]

# Told to the client with the upstream's own words: they are about the request, or about the
# upstream's health. What it says with 401, 402 and 403 is about our account with it and stays here.
_OUR_ACCOUNT = {401, 402, 403}
_ABOUT_THE_REQUEST = {400, 404, 408, 409, 413, 422, 429}

# Headers of an error that tell the client when to come back; no other header crosses.
_RETRY_HEADERS = {
    "retry-after": r"\d{1,6}|[A-Z][a-z]{2}, [\w: ]{20,24} GMT",
    "retry-after-ms": r"\d{1,9}(\.\d+)?",
    "x-should-retry": "true|false",
}

_CONNECT_TIMEOUT_S = 10


class Upstream:
    """A client of the Anthropic API, safe under threads.

    Args:
        api_key: our key with the upstream.
        base_url: where it is; None for the SDK's own default.
        timeout_s: the longest silence before an answer counts as failed.
    """

    def __init__(self, api_key: str, base_url: str | None, timeout_s: float) -> None:
        # A call that is sent on to another place could be charged twice; and what the upstream sets as
        # a cookie for one license's call is not sent with another's.
        http_client = anthropic.DefaultHttpxClient(follow_redirects=False)
        http_client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        weakref.finalize(self, http_client.close)
        self._client = anthropic.Anthropic(
            http_client=http_client,
            api_key=api_key,
            base_url=base_url,
            timeout=anthropic.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
            # A retry is a second call that may be charged to us; the client decides on it.
            max_retries=0,
        )

    def post(self, path: str, body: bytes, headers: Headers) -> bytes:
        """One answer, whole: its body, as it came.

        Args:
            path: with its query.
            headers: anthropic-version and anthropic-beta, as far as the client has sent them.

        Raises:
            Problem: upstream_error (with `upstream_status` when there was one) or
                upstream_timeout. The client has not got an answer, and must not pay.
        """
        with _failures():
            response = self._client.post(path, cast_to=httpx2.Response, content=body, options=_options(headers))
            return response.content

    def get(self, path: str, headers: Headers) -> bytes:
        """What is at a path, as `post` gives it."""
        with _failures():
            return self._client.get(path, cast_to=httpx2.Response, options=_options(headers)).content

    def stream(self, path: str, body: bytes, headers: Headers) -> Iterator[sse.Event]:
        """Ask for a stream; returns once the upstream has begun to answer.

        The iterator ends where the upstream's bytes end, complete or not, and raises as `post`
        does. Closing it closes the connection.
        """
        with _failures():
            response = self._client.post(
                path,
                cast_to=httpx2.Response,
                content=body,
                options=_options(headers),
                stream=True,
                stream_cls=anthropic.Stream[object],
            )
        # The SDK types this call by its stream class, and returns what cast_to says.
        assert isinstance(response, httpx2.Response)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.close()
            raise unreadable()
        return _events(response)


def _options(headers: Headers) -> Any:
    return {"headers": {"content-type": "application/json", **headers}}


def _events(response: httpx2.Response) -> Iterator[sse.Event]:
    try:
        with _failures():
            yield from sse.events(response.iter_bytes())
    finally:
        response.close()


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except anthropic.APIStatusError as error:
        _refuse(error)
    except (anthropic.APITimeoutError, httpx2.TimeoutException) as error:
        raise Problem("upstream_timeout", "The model did not answer in time. Nothing was charged.") from error
    except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
        detail = "The connection to the model failed. Nothing was charged."
        raise Problem("upstream_error", detail, retry_after_s=1) from error
    except (anthropic.AnthropicError, httpx2.StreamError, sse.EventTooLong, ValueError) as error:
        raise unreadable() from error


def _refuse(error: anthropic.APIStatusError) -> NoReturn:
    status = error.status_code
    said = f" It said: {error.api_message}" if status in _ABOUT_THE_REQUEST and error.api_message else ""
    retry_after = error.response.headers.get("retry-after", "")
    headers = {
        name: value
        for name, form in _RETRY_HEADERS.items()
        if re.fullmatch(form, value := error.response.headers.get(name, ""), re.ASCII)
    }
    body = error.response.content
    reply = Reply(status, headers, body if _is_error(body) else b"")
    raise Problem(
        "upstream_error",
        f"The model's API answered with status {status}. Nothing was charged.{said}",
        {"upstream_status": status},
        retry_after_s=int(retry_after) if re.fullmatch("[0-9]{1,6}", retry_after) else None,
        reply=reply if 400 <= status < 600 and status not in _OUR_ACCOUNT else None,
    ) from error


def _is_error(body: bytes) -> bool:
    """Whether a body has the shape that a client of the Messages API reads errors from."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)
