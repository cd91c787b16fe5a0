"""What comes of a live stream while its thread has nothing to do but wait for it."""

import socket
import time
from collections.abc import Callable

from ..gateway.relay import Relay
from ..gateway.sse import Event
from ..gateway.streams import AnswerStream
from ..http.connection import write_chunk


class Relaying:
    """Content of a stream on its way to the client, without the stream's thread; `between` two pieces of the response
    it is safe.

    Args:
        connection: the client's; the server writes a response in chunks to it.
        translate: from an event of the upstream to what the client gets for it, maybe nothing.
    """

    def __init__(
        self, relay: Relay, stream: AnswerStream, *, connection: socket.socket, translate: Callable[[Event], bytes]
    ) -> None:
        self._relay = relay
        self._stream = stream
        self._connection = connection
        self._translate = translate
        self._upstream: socket.socket
        self._last_at, self._is_overdue = 0.0, False
        self._unwritten = b""

    def between(self) -> None:
        """Hand content on as it comes, and return when something else has come, or what comes cannot be written at
        once: then all is as if the thread had waited."""
        upstream = self._stream.waits_on()
        if upstream is None:
            return
        upstream.settimeout(0)
        self._upstream, self._is_overdue = upstream, False
        try:
            self._relay.wait(self)
        finally:
            upstream.settimeout(self._stream.timeout_s)
        if self._is_overdue:
            self._stream.give_up()
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, b""
            self._connection.sendall(unwritten)

    def fileno(self) -> int:
        return self._upstream.fileno()

    def is_overdue(self) -> bool:
        self._is_overdue = time.monotonic() > self._last_at + self._stream.timeout_s
        return self._is_overdue

    def go_on(self) -> bool:
        self._last_at = time.monotonic()
        events = self._stream.take_content()
        if not events:
            return self._stream.waits_on() is not None
        try:
            unwritten = write_chunk(self._connection, b"".join(map(self._translate, events)))
        except Exception:
            # What there is to say of it the thread says, when it comes to the same.
            unwritten = None
        if unwritten is None:
            self._stream.give_back(events)
        else:
            self._unwritten = unwritten
        return unwritten == b"" and self._stream.waits_on() is not None
