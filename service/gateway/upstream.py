"""The model's API, through the Anthropic SDK. The only module that talks to it.

Bodies go through as bytes, in both directions: what this release does not know is none of its
business. Every way in which a call can fail becomes a Problem here, so that whoever holds credits
for it has one thing to catch. What is logged meanwhile carries the upstream's id of the request.
"""

import json
import logging
import re
import socket
import time
import weakref
from collections import deque
from collections.abc import Mapping
from http.client import HTTPException
from typing import NoReturn

import anthropic
import httpx2
import structlog

from .. import metrics, noticed
from ..problems import Problem, Reply
from . import sse
from .connections import Connections, Response, TooLong
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

# Of an error, what is looked at here.
_TOLD = (*_RETRY_HEADERS, "content-type", "request-id")

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
        # With ANTHROPIC_LOG=debug the SDK would log prompts.
        logging.getLogger("anthropic").setLevel(logging.WARNING)
        self._client = anthropic.Anthropic(
            # It knows where the upstream is, what to say in headers, and what each error means. It sends nothing.
            http_client=httpx2.Client(transport=httpx2.BaseTransport(), trust_env=False),
            api_key=api_key,
            base_url=base_url,
            # By default its spans may hold prompts, and a trace's id goes with each request.
            open_telemetry={"traces": False, "propagation": False},
        )
        said = {name.lower(): value for name, value in self._client.default_headers.items()}
        self._headers = {
            **{name: value for name, value in said.items() if isinstance(value, str)},
            "content-type": "application/json",
            "connection": "keep-alive",
            # A compressed body can be a thousand times as long as what comes of it.
            "accept-encoding": "identity",
        }
        self._connections = Connections(
            str(self._client.base_url), connect_timeout_s=min(_CONNECT_TIMEOUT_S, timeout_s), timeout_s=timeout_s
        )
        self._timeout_s = timeout_s
        weakref.finalize(self, self._connections.close)

    def post(self, path: str, body: bytes, headers: Headers) -> bytes:
        """One answer, whole: its body, as it came.

        Args:
            path: with its query.
            headers: anthropic-version and anthropic-beta, as far as the client has sent them, in lower case.

        Raises:
            Problem: upstream_error (with `upstream_status` when there was one) or
                upstream_timeout. The client has not got an answer, and must not pay.
        """
        try:
            return _whole(self._ask("POST", path, body=body, headers=headers), MOST_BYTES)
        except _FAILURES as error:
            _fail(error)

    def get(self, path: str, headers: Headers) -> bytes:
        """What is at a path, as `post` gives it."""
        try:
            return _whole(self._ask("GET", path, body=None, headers=headers), MOST_BYTES)
        except _FAILURES as error:
            _fail(error)

    def stream(self, path: str, body: bytes, headers: Headers) -> "Events":
        """Ask for a stream; returns once the upstream has begun to answer. Raises as `post` does."""
        try:
            response = self._ask("POST", path, body=body, headers=headers)
        except _FAILURES as error:
            _fail(error)
        if not response.header("content-type").startswith(_EVENT_STREAM):
            response.close()
            raise unreadable()
        return Events(response, self._timeout_s)

    def _ask(self, method: str, path: str, *, body: bytes | None, headers: Headers) -> Response:
        # What is logged from here on is not about the request before.
        structlog.contextvars.unbind_contextvars("upstream_request_id")
        response = self._connections.ask(method, path, body=body, headers={**self._headers, **headers})
        said = response.header("request-id")
        if _REQUEST_ID.fullmatch(said):
            structlog.contextvars.bind_contextvars(upstream_request_id=said)
        # A call that was sent on to another place could be charged twice: to be sent on is an error.
        if not response.is_success:
            error = _whole(response, MOST_ERROR_BYTES)
            told = httpx2.Response(
                response.status,
                headers=[
                    (name.encode(), value.encode("latin-1"))
                    for name, value in response.headers().items()
                    if name in _TOLD
                ],
                content=error,
                request=httpx2.Request(method, str(self._client.base_url)),
            )
            raise self._client._make_status_error_from_response(told)
        return response


class Events:
    """The events of one answer.

    Iterating waits for the next one, ends where the upstream's bytes end, complete or not, and raises as `post` does.
    Who does not want to wait for each lets somebody wait for `socket`, while `timeout_s` is not over, and takes
    `arrived` then: in another thread, too, but never in two at once.
    """

    def __init__(self, response: Response, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._response = response
        self._pieces = response.pieces(_allowed(response, MOST_STREAM_BYTES), time.monotonic() + LONGEST_ANSWER_S)
        self._cutter = sse.Cutter()
        self._came: deque[sse.Event] = deque()
        self._failure: Exception | None = None

    def __iter__(self) -> "Events":
        return self

    def __next__(self) -> sse.Event:
        try:
            while not self._came:
                if self._failure is not None:
                    raise self._failure
                self._came.extend(self._cutter.cut(next(self._pieces)))
        except _FAILURES as error:
            self.close()
            _fail(error)
        return self._came.popleft()

    @property
    def socket(self) -> socket.socket | None:
        """Where the next ones come from; None when there are some, or where only iterating tells."""
        return None if self._came or self._failure is not None else self._response.waits_on

    def arrived(self) -> deque[sse.Event]:
        """Those that have come and were not iterated over. Whoever takes one from the left has it instead.

        What fails is raised when it is iterated on: here nobody is told."""
        try:
            self._came.extend(self._cutter.cut(self._response.arrived()))
        except _FAILURES as error:
            self._failure = error
        return self._came

    def fail(self, error: Exception) -> None:
        """Have this raised in place of whatever else comes."""
        self._came.clear()
        self._failure = self._failure or error

    def close(self) -> None:
        """Close the connection, unless all has come."""
        self._response.close()


def _whole(response: Response, most: int) -> bytes:
    """A body, of no more bytes than an answer can have, and for no longer than one can take."""
    return response.read(_allowed(response, most), time.monotonic() + LONGEST_ANSWER_S)


def _allowed(response: Response, most: int) -> int:
    """Nothing of what is compressed, though it was asked not to be."""
    return most if response.header("content-encoding").lower() in ("", "identity") else 0


# Every way in which a call can fail.
_FAILURES = (anthropic.APIStatusError, OSError, HTTPException, TooLong, sse.EventTooLong, ValueError)


def _fail(error: Exception) -> NoReturn:
    if isinstance(error, anthropic.APIStatusError):
        _refuse(error)
    if isinstance(error, TimeoutError):
        _note_failure("timeout")
        raise Problem("upstream_timeout", "The model did not answer in time. Nothing was charged.") from error
    if isinstance(error, OSError | HTTPException):
        _note_failure("connection")
        detail = "The connection to the model failed. Nothing was charged."
        raise Problem("upstream_error", detail, retry_after_s=1) from error
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
