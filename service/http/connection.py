"""The client's connection: whether the client is still there, and how fast an answer leaves on it.

A client must never set the pace of the upstream, which gives a stream up that is not read; then all
that the client has read would be unpaid. So a stream is read as fast as it comes, and what the client
does not take at once waits in a spool.
"""

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import TypeGuard

import gunicorn
from flask import request

# A client that takes nothing for so long is gone.
WRITE_STALL_S = 60

# Once all of an answer is there, a client has this long for it, and longer only while it keeps this pace:
# one that takes a few bytes now and then would hold a thread for good.
WRITE_GRACE_S = 60
LEAST_BYTES_PER_S = 8 * 1024

# What is written at a time. A socket that is ready takes this much without waiting, because a third of its
# buffer is free then; and one that is not gets through it within the time of one write, if slowly.
PIECE = 16 * 1024

# What waits for a client that does not read: so much in memory, as a thousand may not read, and so much in all. The
# longest answers of today (128,000 tokens) are 25 MiB of events.
_IN_MEMORY = 64 * 1024
MOST_SPOOLED = 64 * 1024 * 1024

# The end of what the client sends, whatever of it has not been read. Systems that cannot tell (macOS)
# say it with the end of both directions.
_HANGUP = getattr(select, "POLLRDHUP", select.POLLHUP)


def has_hung_up(connection: socket.socket | None) -> bool:
    """Whether the client has closed its side, or the connection is broken; False where there is none to ask."""
    return connection is not None and _is(connection, _HANGUP)


def peer_address(connection: socket.socket | None) -> str:
    """The address of the connection's other end; empty where there is none, as of a Unix socket."""
    if connection is None:
        return ""
    try:
        name = connection.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


def in_time(chunks: Iterable[bytes], connection: socket.socket | None) -> Iterator[bytes]:
    """Pieces to be written one after the other, however slowly the client takes them, but not for good.

    Raises:
        BrokenPipeError: it takes them too slowly.
    """
    began_at, length = time.monotonic(), 0
    for piece in (piece for chunk in chunks for piece in _cut(chunk)):
        if connection is not None:
            left_s = began_at + WRITE_GRACE_S + length / LEAST_BYTES_PER_S - time.monotonic()
            if left_s <= 0:
                raise _too_slow()
            connection.settimeout(min(WRITE_STALL_S, left_s))
        yield piece
        length += len(piece)


def as_it_comes(
    chunks: Iterable[bytes], connection: socket.socket | None, between: Callable[[], None] = lambda: None
) -> Iterator[bytes]:
    """Pieces of a live stream. The chunks are collected at their own pace; what the client does not take
    at once is kept, and written with the next chunk that it takes, or `in_time` when all have come.

    Args:
        between: is called when all chunks that have come are written, before the next one is asked for.

    Raises:
        BrokenPipeError: too much would have to be kept, or see `in_time`.
        OSError: there is no room for what has to be kept.
    """
    if connection is not None:
        connection.settimeout(WRITE_STALL_S)
    with _Spool() as spool:
        for chunk in chunks:
            if not spool and len(chunk) <= PIECE and _takes_more(connection):
                yield chunk
                between()
                continue
            spool.write(chunk)
            while spool and _takes_more(connection):
                yield spool.read()
            if len(spool) > MOST_SPOOLED:
                raise _too_slow()
        yield from in_time(iter(spool.read, b""), connection)


def _cut(chunk: bytes) -> Iterator[bytes]:
    return (chunk[begin : begin + PIECE] for begin in range(0, len(chunk), PIECE))


def _too_slow() -> BrokenPipeError:
    # The server takes this for a client that has left, as it has for all that can be known.
    return BrokenPipeError(errno.EPIPE, "the client reads too slowly")


def is_in_chunks(connection: socket.socket | None) -> TypeGuard[socket.socket]:
    """Whether the server, as gunicorn does with HTTP/1.1, writes a response of unknown length to the current request in
    chunks, and to a socket to which others can be written past it."""
    is_plain = connection is not None and not isinstance(connection, ssl.SSLSocket)
    told = (request.environ.get("SERVER_SOFTWARE", ""), request.environ["SERVER_PROTOCOL"], request.method)
    return is_plain and told == (gunicorn.SERVER_SOFTWARE, "HTTP/1.1", "POST")


def write_chunk(connection: socket.socket, chunk: bytes) -> bytes | None:
    """Write to a client, past the server, a chunk of a response that the server has begun to write in chunks.

    Returns:
        what of it remains to be written; None when nothing was, because the client takes nothing now, or has left.
    """
    if not chunk:
        return b""
    # Asked first, because a socket with a timeout waits before it sends, whatever it is told.
    if len(chunk) > PIECE or not _takes_more(connection):
        return None
    framed = b"%X\r\n%b\r\n" % (len(chunk), chunk)
    try:
        return framed[connection.send(framed, socket.MSG_DONTWAIT) :]
    except OSError:
        return None


def _takes_more(connection: socket.socket | None) -> bool:
    return connection is None or _is(connection, select.POLLOUT)


class _Spool:
    """Bytes that come out as they went in: a few from memory, hundreds of events from a file."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (__exit__ closes it)
        self._begin = self._end = 0

    def __enter__(self) -> "_Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._end - self._begin

    def write(self, chunk: bytes) -> None:
        self._file.seek(self._end)
        self._end += self._file.write(chunk)

    def read(self) -> bytes:
        """The next piece; nothing when there is none."""
        self._file.seek(self._begin)
        piece = self._file.read(min(PIECE, len(self)))
        self._begin += len(piece)
        if not self:
            # What was written is not needed any more, and its room is.
            self._begin = self._end = 0
            self._file.truncate(0)
        return piece


def _is(connection: socket.socket, event: int) -> bool:
    """Whether a connection is in a state, or is no connection any more."""
    poll = select.poll()
    try:
        poll.register(connection, event)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True
