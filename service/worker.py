"""gunicorn's worker with threads, of which nobody has one for doing nothing.

gthread gives a connection a thread with its first byte, for as long as the rest of a header, of a body or
the reading of an answer takes: as many slow clients as there are threads stop the service. Here the main
thread, which waits for all connections at once, collects a request first and sees a connection off
afterwards; and what a thread itself reads or writes in between has to go on at a pace.
"""

from __future__ import annotations

import contextlib
import errno
import re
import select
import selectors
import socket
import termios
import time
from collections.abc import Iterator
from concurrent.futures import Future
from fcntl import ioctl
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from .threadpool import ThreadPool

# A header, and as much of its body as is collected without a thread, has to be there after this time.
ARRIVAL_S = 10
LONGEST_HEADER = 32 * 1024
COLLECTED_BODY = 64 * 1024

# A request for which no thread comes free in this time is refused. Long enough for a burst of short calls, and for
# nobody to wait behind answers that take minutes.
THREAD_WAIT_S = 0.5

# Whether this works, and what it does, is answered all the same, by threads that nobody else has.
_WATCHING = (b"GET /healthz ", b"GET /readyz ", b"GET /metrics ")
_FOR_WATCHING = 4

# What a thread waits for at most before a client that sends or takes nothing is given up; whoever does
# something has it again, second by second, at this pace.
READ_STALL_S = 10
LEAST_SENT_PER_S = 32 * 1024
WRITE_STALL_S = 60
LEAST_TAKEN_PER_S = 8 * 1024

# Free answers, errors and /openapi.json, fit in what the system keeps for a connection: their thread is
# free again whether the client reads them or not. Linux takes it twice, and uses half for itself; more than
# this it gives nobody, unless net.core.wmem_max was raised.
SEND_BUFFER = 208 * 1024

# After its answer a client that is still sending can go on for so long, or a reset would reach it before
# it has read why it was refused.
LINGER_S = 10
LINGER_BYTES = 64 * 1024 * 1024
STOPPING_LINGER_S = 2

# Where the system takes no connection, and none here can make room for it, the next try is after this time: the one
# that waits would be told of again and again.
ACCEPT_PAUSE_S = 0.5
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_PIECE = 64 * 1024
_HEADER_END = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_IN_CHUNKS = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked[ \t]*\r\n", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"
_ASKS_WHETHER_TO_SEND = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)


class Patience:
    """How long a client is waited for: `most_s` at first, and for each `bytes_per_s` a second more."""

    def __init__(self, most_s: float, bytes_per_s: int) -> None:
        self.left_s = self._most_s = most_s
        self._bytes_per_s = bytes_per_s

    def has_come(self, connection: socket.socket, event: int, within_s: float | None) -> bool:
        """Wait until the client has done its part; false when it has not while there was patience."""
        began_at = time.monotonic()
        poll = select.poll()
        poll.register(connection, event)
        limit_s = max(0, self.left_s if within_s is None else min(within_s, self.left_s))
        came = poll.poll(limit_s * 1000)
        self.left_s -= time.monotonic() - began_at
        return bool(came)

    def reward(self, length: int) -> None:
        """So many bytes have been sent or taken."""
        self.left_s = min(self._most_s, self.left_s + length / self._bytes_per_s)


class Connection(socket.socket):
    """A client's socket. In a thread it waits for a client that keeps a pace, and for no other, whatever
    time limit is set besides; `reading` and `writing` are made anew for each request.

    The system never waits for it: what waits is `Patience`. So a time limit is only noted, where Python's own sockets
    tell the system of each change, a dozen times a request, and let go of the interpreter for it."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.reading = self.writing = Patience(0, 1)
        super().setblocking(False)
        self._timeout_s: float | None = None

    def settimeout(self, value: float | None) -> None:
        self._timeout_s = value

    def gettimeout(self) -> float | None:
        return self._timeout_s

    def setblocking(self, flag: bool) -> None:
        self._timeout_s = None if flag else 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        while True:
            try:
                received = super().recv(size, flags)
            except BlockingIOError:
                if self._timeout_s == 0:
                    raise
                if not self.reading.has_come(self, select.POLLIN, self._timeout_s):
                    # Of all errors one that gunicorn does not log with its traceback.
                    raise ConnectionResetError(errno.ECONNRESET, "The client sends nothing.") from None
                continue
            self.reading.reward(len(received))
            return received

    def sendall(self, data: Any, flags: int = 0) -> None:
        rest = memoryview(data)
        while rest:
            try:
                sent = self.send(rest, flags)
            except BlockingIOError:
                if self._timeout_s == 0:
                    raise
                # Only what really waits for the client is counted, and not what waits for the interpreter.
                if not self.writing.has_come(self, select.POLLOUT, self._timeout_s):
                    raise BrokenPipeError(errno.EPIPE, "The client takes nothing.") from None
                continue
            rest = rest[sent:]
            self.writing.reward(sent)

    def has_unread(self) -> bool:
        """Whether the client's system has not yet taken all that was written; False where nobody can tell."""
        queued = bytearray(4)
        try:
            ioctl(self, termios.TIOCOUTQ, queued)
        except OSError:
            return False
        return any(queued)


class Client(TConn):  # type: ignore[misc]
    """A connection, and what of its next request is there before a thread is."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.collected = bytearray()
        self.was_told_to_send = False
        self.lingered = 0
        self.read_stall_s = READ_STALL_S

    def has_header(self) -> bool:
        return _HEADER_END in self.collected

    def has_request(self) -> bool:
        """Whether the header is there, and the body as far as it is collected."""
        end = self.collected.find(_HEADER_END) + 2
        if end < 2:
            return False
        body = len(self.collected) - end - 2
        if _IN_CHUNKS.search(self.collected, 0, end):
            # Found in the middle of a body it gives a thread too early, and no more than that.
            return body >= COLLECTED_BODY or self.collected.find(_LAST_CHUNK, end) >= 0
        length = _CONTENT_LENGTH.search(self.collected, 0, end)
        return length is None or body >= min(int(length[1]), COLLECTED_BODY)

    def tell_to_send(self) -> None:
        """Answer a client that sends its body only when it is told to."""
        if not self.was_told_to_send and self.has_header() and _ASKS_WHETHER_TO_SEND.search(self.collected):
            self.was_told_to_send = True
            with contextlib.suppress(OSError):
                self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread, where a request has a thread from when it is there until its answer is written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._threads_taken = 0
        self._lacks_room, self._accept_again_at = False, 0.0
        # Each with the time when it is given up; the earliest first, as the limits are the same for all.
        self._ready: dict[Client, float] = {}
        self._arriving: dict[Client, float] = {}
        self._unread: dict[Client, float] = {}
        self._leaving: dict[Client, float] = {}

    def get_thread_pool(self) -> ThreadPool:
        return ThreadPool(self.cfg.threads + _FOR_WATCHING)

    def accept(self, listener: Any) -> None:
        try:
            accepted, address = listener.accept()
        except OSError as error:
            # Not here: what is closed for it may have come in the same moment, and be next to be looked at.
            self._lacks_room |= error.errno in _NO_ROOM
            # Else another worker was quicker, or the client has gone.
            return
        self.nr_conns += 1
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.enqueue_req(Client(self.cfg, Connection(accepted), address, listener.getsockname()))

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled and time.monotonic() >= self._accept_again_at)

    def enqueue_req(self, conn: Client) -> None:
        """Collect a request, and only then give it a thread."""
        if not self._can_look_ahead():
            # Without a thread there is nobody to say so.
            if not self._give_thread(conn):
                self._close(conn)
            return
        conn.init()
        conn.collected += conn.parser.unreader.take_buffered()
        conn.was_told_to_send = False
        conn.sock.setblocking(False)
        self._arriving[conn] = time.monotonic() + ARRIVAL_S
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._collect, conn))
        self._collect(conn)

    def handle_request(self, req: Any, conn: Client) -> Any:
        # Whatever came before this was there already: to read a header no thread waits.
        conn.sock.reading = Patience(conn.read_stall_s, LEAST_SENT_PER_S)
        # Here, because the master imports this module, and must not import that one.
        from .metrics import THREADS_BUSY

        with THREADS_BUSY.track_inprogress():
            return super().handle_request(req, conn)

    def finish_request(self, conn: Client, fs: Future[Any]) -> None:
        self._threads_taken -= 1
        self._give_threads()
        is_kept = not fs.cancelled() and fs.exception() is None and fs.result()
        if is_kept or not self._can_look_ahead():
            super().finish_request(conn, fs)
        else:
            self._see_off(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        # Nothing tells when a client has taken the answer before, or has waited long enough.
        super().wait_for_and_dispatch_events(min(timeout, 0.05) if self._unread or self._ready else timeout)

    def murder_pending(self) -> None:
        """End what has waited too long; gunicorn calls it once a second at least."""
        super().murder_pending()
        for conn in _overdue(self._arriving):
            self._give_up(conn, 408, "Request Timeout")
        for conn in [conn for conn in self._unread if not conn.sock.has_unread()]:
            del self._unread[conn]
            self._wait_for_thread(conn)
        self._give_threads()
        for conn in _overdue(self._ready):
            self._refuse(conn)
        for conn in _overdue(self._unread):
            self._close(conn)
        for conn in _overdue(self._leaving, 0 if self.alive else LINGER_S - STOPPING_LINGER_S):
            self._close(conn)
        if not self.alive:
            for conn in [conn for conn in self._arriving if not conn.collected]:
                self._close(conn)
        while self.nr_conns >= self.worker_connections and self._make_room():
            pass
        if self._lacks_room and not self._make_room():
            self._accept_again_at = time.monotonic() + ACCEPT_PAUSE_S
            self.set_accept_enabled(False)
        self._lacks_room = False

    def _keepalive_after(self, conn: Client, keepalive: bool) -> bool:
        # What is left of a body is waited for in the main thread, by _linger.
        deadline = time.monotonic() + 0.05
        return keepalive and bool(conn.parser.finish_body(deadline=deadline))

    def _can_look_ahead(self) -> bool:
        """Only a proxy in front should speak TLS or HTTP/2; where it is done here, threads do the waiting."""
        return not self.cfg.is_ssl and self.cfg.http_protocols == ["h1"]

    def _collect(self, conn: Client, _sock: Any = None) -> None:
        try:
            piece = conn.sock.recv(_PIECE)
        except BlockingIOError:
            has_ended = False
        except OSError:
            has_ended = True
        else:
            has_ended = not piece
            conn.collected += piece
        if conn.has_request() or (has_ended and conn.has_header()):
            self._stop_waiting(conn)
            conn.read_stall_s = READ_STALL_S
            if conn.sock.has_unread():
                self._unread[conn] = time.monotonic() + ARRIVAL_S
            else:
                self._wait_for_thread(conn)
        elif has_ended:
            self._close(conn)
        elif len(conn.collected) > LONGEST_HEADER and not conn.has_header():
            self._give_up(conn, 431, "Request Header Fields Too Large")
        else:
            conn.tell_to_send()

    def _wait_for_thread(self, conn: Client) -> None:
        has_turn = self._threads_taken < self.cfg.threads or conn.collected.startswith(_WATCHING)
        if not has_turn or not self._give_thread(conn):
            self._ready[conn] = time.monotonic() + THREAD_WAIT_S

    def _give_threads(self) -> None:
        """Those who wait have the threads that came free, or that the system starts again."""
        while self._ready and self._threads_taken < self.cfg.threads and self._give_thread(next(iter(self._ready))):
            pass

    def _give_thread(self, conn: Client) -> bool:
        """Have a request answered; false when the system starts no thread for it."""
        if not self.tpool.take_thread():
            return False
        self._ready.pop(conn, None)
        self._threads_taken += 1
        if conn.parser is not None:
            conn.parser.unreader.unread(bytes(conn.collected))
            conn.collected.clear()
        conn.sock.reading = Patience(0 if conn.parser else READ_STALL_S, LEAST_SENT_PER_S)
        conn.sock.writing = Patience(WRITE_STALL_S, LEAST_TAKEN_PER_S)
        super().enqueue_req(conn)
        return True

    def _give_up(self, conn: Client, status: int, reason: str) -> None:
        """Answer a request of which too little has come."""
        if conn.has_header():
            # It is known what is asked, and the application says how a body has to come.
            self._stop_waiting(conn)
            conn.read_stall_s = 0
            self._wait_for_thread(conn)
            return
        self._stop_waiting(conn)
        if conn.collected and not conn.sock.has_unread():
            with contextlib.suppress(OSError):
                util.write_error(conn.sock, status, reason, "")
        self._see_off(conn)

    def _refuse(self, conn: Client) -> None:
        """Answer a request that no thread came free for."""
        # Here, because the master imports this module, and must not import that one.
        from .metrics import REQUESTS

        REQUESTS.labels("none", 503, "over_capacity").inc()
        self._stop_waiting(conn)
        _, _, target = bytes(conn.collected[:LONGEST_HEADER]).partition(b" ")
        with contextlib.suppress(OSError):
            util.write_error(conn.sock, 503, "Service Unavailable", target.decode("latin-1"))
        self._see_off(conn)

    def _see_off(self, conn: Client) -> None:
        """Say that no more is said, and close when the client has done so, or has had its time."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        conn.sock.setblocking(False)
        self._leaving[conn] = time.monotonic() + LINGER_S
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._linger, conn))

    def _linger(self, conn: Client, _sock: Any) -> None:
        try:
            piece = conn.sock.recv(_PIECE)
        except OSError:
            piece = b""
        conn.lingered += len(piece)
        if not piece or conn.lingered > LINGER_BYTES:
            self._close(conn)

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for its client; false when there is none. One that is kept
        has nothing in hand: nobody who has just come is closed for it."""
        if not self._leaving and self.keepalived_conns:
            self._close(self.keepalived_conns.popleft())
            return True
        for waiting in (self._leaving, self._arriving, self._unread):
            for conn in waiting:
                self._close(conn)
                return True
        return False

    def _stop_waiting(self, conn: Client) -> None:
        for waiting in (self._arriving, self._ready, self._unread, self._leaving):
            waiting.pop(conn, None)
        # It may never have been there, or its socket is closed already.
        with contextlib.suppress(KeyError, ValueError):
            self.poller.unregister(conn.sock)

    def _close(self, conn: Client) -> None:
        self._stop_waiting(conn)
        self.nr_conns -= 1
        conn.close()


def _overdue(waiting: dict[Client, float], earlier_s: float = 0) -> Iterator[Client]:
    """Those whose time is over, from the front; each may be taken out meanwhile."""
    now = time.monotonic() + earlier_s
    for conn, give_up_at in list(waiting.items()):
        if give_up_at > now:
            return
        yield conn
