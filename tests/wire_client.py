"""A client of /v1/messages that reads as slowly as a test wants, and hangs up as it wants."""

import json
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from types import TracebackType
from typing import Any, NamedTuple, Self

PATH = "/v1/messages"

# An event that ends a stream says how; nothing but comments comes after it.
_ENDINGS = ("message_stop", "error")


class Exchange:
    """One request on a connection of its own, sent at once; the answer is read when asked for.

    Args:
        receive_buffer: bytes that the system takes for a client that does not read; the system's
            own default is megabytes.
    """

    def __init__(
        self, port: int, body: bytes, headers: dict[str, str], receive_buffer: int | None = None, timeout_s: float = 60
    ) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            # Before connecting: later the window has been announced.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout_s)
        self._socket.connect(("127.0.0.1", port))
        self._connection = HTTPConnection("127.0.0.1", port)
        self._connection.sock = self._socket
        self._response: HTTPResponse | None = None
        self._connection.request("POST", PATH, body, {"Content-Type": "application/json", **headers})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()

    @property
    def response(self) -> HTTPResponse:
        """The answer's status and headers; waits for them."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def pieces(self, size: int = 65536) -> Iterator[bytes]:
        """The body as it comes. Raises HTTPException or OSError when it breaks off."""
        expected = self.response.length
        length = 0
        while piece := self.response.read1(size):
            length += len(piece)
            yield piece
        # read1 takes a connection that ends within a body of known length for its end.
        if expected is not None and length < expected:
            raise IncompleteRead(b"", expected - length)

    def events(self) -> Iterator[bytes]:
        """The body cut into its events and comments, each with its empty line."""
        buffer = b""
        for piece in self.pieces():
            buffer += piece
            while b"\n\n" in buffer:
                event, _, buffer = buffer.partition(b"\n\n")
                yield event + b"\n\n"
        assert buffer == b"", "a stream ends with an empty line"

    def hang_up(self, reset: bool = False) -> None:
        """Close the connection, politely or with a reset."""
        if reset and self._socket.fileno() != -1:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            if self._response is not None:
                self._response.close()
            self._connection.close()
            self._socket.close()


class Seen(NamedTuple):
    """What a client got: the body without comments, whether it can be used as an answer, and what
    the client was told that it cost."""

    status: int
    replayed: bool
    charged: int | None
    body: bytes
    whole: bool
    events: int
    error: str | None

    def __str__(self) -> str:
        if self.whole:
            return "the whole answer"
        if self.status != 200:
            return f"{self.status} `{self.error}`"
        return f"{self.events} events, then {f'`error` (`{self.error}`)' if self.error else 'nothing'}"


def ask(port: int, body: bytes, headers: dict[str, str]) -> Seen:
    """Ask, and read all there is."""
    with Exchange(port, body, headers) as exchange:
        return seen(exchange)


def seen(exchange: Exchange) -> Seen:
    """What comes to the end of an exchange."""
    response = exchange.response
    replayed = response.headers.get("obol-replayed") == "true"
    if not response.headers["content-type"].startswith("text/event-stream"):
        body = b"".join(exchange.pieces())
        document = json.loads(body)
        error = document["error"]["type"] if document["type"] == "error" else None
        charged = response.headers.get("obol-credits-charged")
        return Seen(response.status, replayed, charged and int(charged), body, error is None, 0, error)
    blocks = list(exchange.events())
    events = [block for block in blocks if not block.startswith(b":")]
    costs = [int(cost) for block in blocks for cost in re.findall(rb"^: obol-credits-charged: (\d+)$", block, re.M)]
    return Seen(response.status, replayed, costs[0] if costs else None, b"".join(events), *told(events))


def told(events: list[bytes]) -> tuple[bool, int, str | None]:
    """Whether events are a whole answer, how many there are, and the error that they end with."""
    names = [name_of(event) for event in events]
    assert not set(names[:-1]) & set(_ENDINGS), names
    if names[-1:] == ["error"]:
        return False, len(events) - 1, data_of(events[-1])["error"]["type"]
    return names[-1:] == ["message_stop"], len(events), None


def name_of(event: bytes) -> str:
    return event.partition(b"\n")[0].removeprefix(b"event: ").decode()


def data_of(event: bytes) -> Any:
    return json.loads(event.partition(b"\ndata: ")[2])
