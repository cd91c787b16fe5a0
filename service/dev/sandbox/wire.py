"""HTTP as the Messages API speaks it: its headers, its errors, chunks, and silence."""

import json
import secrets
import socket
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

JSON = "application/json"

# Longer than any client waits, and short enough that a forgotten one does not stay for ever.
STALL_S = 120.0
_STALL_POLL_S = 0.02

_EVENT_STREAM = "text/event-stream; charset=utf-8"

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# A real upstream sends these about the account that it was called with: not for our clients.
_ABOUT_THE_ACCOUNT = {
    "anthropic-organization-id": "00000000-5a4d-4b0c-8000-000000000000",
    "anthropic-ratelimit-requests-remaining": "49",
    "set-cookie": "_sandbox=1; path=/; HttpOnly",
}

_RETRY_AFTER_S = {429: 7, 503: 7, 529: 7}


class Chunks:
    """The body of a stream: each piece goes out at once, as a chunk of its own.

    Args:
        write: takes bytes to the client.
        size: the bytes of a piece, whatever was sent at a time; 0 for just what was sent.
    """

    def __init__(self, write: Callable[[bytes], object], size: int = 0) -> None:
        self._write = write
        self._size = size
        self._held = bytearray()

    def send(self, data: bytes) -> None:
        if not self._size:
            self._write_chunk(data)
            return
        self._held += data
        while len(self._held) >= self._size:
            self._write_chunk(bytes(self._held[: self._size]))
            del self._held[: self._size]

    def flush(self) -> None:
        """Send what is less than a piece."""
        # A chunk without bytes would end the stream.
        if self._held:
            self._write_chunk(bytes(self._held))
            self._held.clear()

    def end(self) -> None:
        self.flush()
        self._write(b"0\r\n\r\n")

    def _write_chunk(self, data: bytes) -> None:
        self._write(b"%x\r\n%b\r\n" % (len(data), data))


class Wire(BaseHTTPRequestHandler):
    """What the handler of requests receives and sends with."""

    protocol_version = "HTTP/1.1"
    # A reply goes out in many writes; without this each would wait for the last one's ACK.
    disable_nagle_algorithm = True

    @abstractmethod
    def route(self) -> None:
        """Answer the request that has come, whatever its method."""

    def do_GET(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.route()

    def send_json(self, value: object) -> None:
        self.send_whole(200, JSON, json.dumps(value).encode())

    def send_problem(self, status: int, message: str) -> None:
        request_id = _request_id()
        error = {"type": _ERROR_TYPES.get(status, "api_error"), "message": message}
        body = json.dumps({"type": "error", "error": error, "request_id": request_id}).encode()
        self.send_whole(status, JSON, body, request_id=request_id)

    def send_whole(
        self,
        status: int,
        content_type: str,
        body: bytes,
        *,
        cut_after: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """A reply of a known length, of which the connection gets only `cut_after` bytes, if given."""
        framing = [("content-length", str(len(body)))]
        if cut_after is not None and cut_after >= len(body):
            # Who closes after a whole reply says so, or the next request could come on this connection.
            framing.append(("connection", "close"))
        self._send_head(status, content_type, *framing, request_id=request_id)
        self.wfile.write(body[:cut_after])
        if cut_after is not None:
            self.close_connection = True

    def begin_stream(self, split: int = 0) -> Chunks:
        """Send the head of a stream of events; its body goes out in pieces of `split` bytes, if not 0."""
        self._send_head(200, _EVENT_STREAM, ("transfer-encoding", "chunked"))
        return Chunks(self.wfile.write, split)

    def _send_head(
        self, status: int, content_type: str, *framing: tuple[str, str], request_id: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        for field in framing:
            self.send_header(*field)
        self.send_header("request-id", request_id or _request_id())
        for name, value in _ABOUT_THE_ACCOUNT.items():
            self.send_header(name, value)
        if status in _RETRY_AFTER_S:
            self.send_header("retry-after", str(_RETRY_AFTER_S[status]))
        if status == 529:
            self.send_header("x-should-retry", "true")
        self.end_headers()

    def stall(self, stopping: threading.Event) -> None:
        """Keep the connection and say nothing, until nobody waits any more; then drop it."""
        self.close_connection = True
        until = time.monotonic() + STALL_S
        while time.monotonic() < until and not self.client_has_gone():
            if stopping.wait(_STALL_POLL_S):
                return

    def client_has_gone(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the service logs each request, once."""


def _request_id() -> str:
    return f"req_sandbox_{secrets.token_hex(8)}"
