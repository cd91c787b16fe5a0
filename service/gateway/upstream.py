"""The model's API, through the Anthropic SDK. The only module that talks to it.

Bodies go through as bytes, in both directions: what this release does not know is none of its
business. Every way in which a call can fail becomes a Problem here, so that whoever holds credits
for it has one thing to catch. What is logged meanwhile carries the upstream's id of the request.
"""

import json
import logging
import re
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn

import anthropic
import httpx2
import structlog

from .. import metrics, noticed
from ..problems import Problem, Reply
from . import sse
from .message import unreadable

log = structlog.get_logger()

Headers = Mapping[str, str]

# Told to the client with the upstream's own words: they are about the request, or about the
# upstream's health. What it says about our account with it stays here: 401, 402, 403, and these with 400.
_OUR_ACCOUNT = {401, 402, 403}
_OUR_ACCOUNT_TYPES = ("authentication_error", "billing_error", "permission_error")
_OUR_ACCOUNT_WORDS = re.compile(
    "your credit balance is too low"
    "|you have reached your specified (workspace )?API usage limits"
    "|this organization has been disabled",
    re.IGNORECASE,
)
_ABOUT_THE_REQUEST = {400, 404, 408, 409, 413, 422}
# This too is about our account, but the client can mend it by waiting. Its words name our organization.
_TOO_MANY = 429

# Headers of an error that tell the client when to come back; no other header crosses.
_RETRY_HEADERS = {
    "retry-after": r"\d{1,6}|[A-Z][a-z]{2}, [\w: ]{20,24} GMT",
    "retry-after-ms": r"\d{1,9}(\.\d+)?",
    "x-should-retry": "true|false",
}

_REQUEST_ID = re.compile("[!-~]{1,200}")

_EVENT_STREAM = "text/event-stream"

_CONNECT_TIMEOUT_S = 10

# Bytes of what is read whole, and of an error; both far above the longest that are any. A stream has a
# million tokens at most, and some hundred bytes for each.
MOST_BYTES = 32 * 1024 * 1024
MOST_ERROR_BYTES = 1024 * 1024
MOST_STREAM_BYTES = 512 * 1024 * 1024

# For all of one answer, however steadily something comes of it.
LONGEST_ANSWER_S = 3600


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
        hooks: dict[str, list[Any]] = {"request": [_forget], "response": [_note, _bound]}
        http_client = anthropic.DefaultHttpxClient(follow_redirects=False, event_hooks=hooks)
        http_client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        weakref.finalize(self, http_client.close)
        # With ANTHROPIC_LOG=debug the SDK would log prompts.
        logging.getLogger("anthropic").setLevel(logging.WARNING)
        self._client = anthropic.Anthropic(
            http_client=http_client,
            api_key=api_key,
            base_url=base_url,
            timeout=anthropic.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
            # A retry is a second call that may be charged to us; the client decides on it.
            max_retries=0,
            # By default its spans may hold prompts, and a trace's id goes with each request.
            open_telemetry={"traces": False, "propagation": False},
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
        if not response.headers.get("content-type", "").startswith(_EVENT_STREAM):
            response.close()
            raise unreadable()
        # Not for what only calls itself a stream: that is read whole.
        assert isinstance(response.stream, _Bounded)
        response.stream.allow(MOST_STREAM_BYTES)
        return _events(response)


def _options(headers: Headers) -> Any:
    # A compressed body can be a thousand times as long as what comes of it.
    return {"headers": {"content-type": "application/json", "accept-encoding": "identity", **headers}}


def _forget(_request: httpx2.Request) -> None:
    """What is logged from here on is not about the request before."""
    structlog.contextvars.unbind_contextvars("upstream_request_id")


def _note(response: httpx2.Response) -> None:
    said = response.headers.get("request-id", "")
    if _REQUEST_ID.fullmatch(said):
        structlog.contextvars.bind_contextvars(upstream_request_id=said)


def _bound(response: httpx2.Response) -> None:
    """Read no more than an answer can be, for no longer than one can take."""
    most = MOST_BYTES if response.is_success else MOST_ERROR_BYTES
    is_encoded = response.headers.get("content-encoding", "identity").lower() != "identity"
    assert isinstance(response.stream, httpx2.SyncByteStream)
    response.stream = _Bounded(response.stream, 0 if is_encoded else most)


class _Bounded(httpx2.SyncByteStream):
    """A body that ends with an error once it is too long, or takes too long."""

    def __init__(self, stream: httpx2.SyncByteStream, most: int) -> None:
        self._stream = stream
        self._left = most
        self._give_up_at = time.monotonic() + LONGEST_ANSWER_S

    def allow(self, most: int) -> None:
        """Have it be longer; one of which nothing is read stays so."""
        self._left = self._left and most

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise httpx2.StreamError("The body is too long, or compressed, though it was asked not to be.")
            if time.monotonic() > self._give_up_at:
                raise httpx2.ReadTimeout("The body takes too long.")
            yield piece

    def close(self) -> None:
        self._stream.close()


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
        _note_failure("timeout")
        raise Problem("upstream_timeout", "The model did not answer in time. Nothing was charged.") from error
    except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
        if isinstance(error.__cause__, httpx2.StreamError):
            _note_failure("unreadable")
            raise unreadable() from error
        _note_failure("connection")
        detail = "The connection to the model failed. Nothing was charged."
        raise Problem("upstream_error", detail, retry_after_s=1) from error
    except (anthropic.AnthropicError, httpx2.StreamError, sse.EventTooLong, ValueError) as error:
        _note_failure("unreadable")
        raise unreadable() from error


def _note_failure(reason: str) -> None:
    metrics.UPSTREAM_ERRORS.labels(reason).inc()
    log.warning("upstream_error", reason=reason)


def _refuse(error: anthropic.APIStatusError) -> NoReturn:
    status = error.status_code
    metrics.UPSTREAM_ERRORS.labels(status).inc()
    if _is_about_our_account(error):
        metrics.UPSTREAM_REFUSES_US.inc()
        noticed.upstream_refusal(status)
        log.error("upstream_refuses_us", status=status)
        raise Problem(
            "upstream_error",
            "The model's API refuses this service. It is about the operator's account there, and neither about your "
            "license nor your credits; the operator was told. Nothing was charged.",
            {"upstream_status": status},
        ) from error
    log.warning("upstream_error", reason="status", status=status)
    said = f" It said: {error.api_message}" if status in _ABOUT_THE_REQUEST and error.api_message else ""
    if status == _TOO_MANY:
        said = " It takes no more requests from this service for now: ask again later."
    retry_after = error.response.headers.get("retry-after", "")
    headers = {
        name: value
        for name, form in _RETRY_HEADERS.items()
        if re.fullmatch(form, value := error.response.headers.get(name, ""), re.ASCII)
    }
    body = error.response.content
    reply = Reply(status, headers, body if status != _TOO_MANY and _is_error(body) else b"")
    raise Problem(
        "upstream_error",
        f"The model's API answered with status {status}. Nothing was charged.{said}",
        {"upstream_status": status},
        retry_after_s=int(retry_after) if re.fullmatch("[0-9]{1,6}", retry_after) else None,
        reply=reply if 400 <= status < 600 else None,
    ) from error


def _is_about_our_account(error: anthropic.APIStatusError) -> bool:
    if error.status_code in _OUR_ACCOUNT:
        return True
    # The beginning, because what follows may be quoted from the request.
    words = _OUR_ACCOUNT_WORDS.match(error.api_message) if isinstance(error.api_message, str) else None
    return error.status_code == 400 and (error.type in _OUR_ACCOUNT_TYPES or words is not None)


def _is_error(body: bytes) -> bool:
    """Whether a body has the shape that a client of the Messages API reads errors from."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)
