"""Connections to the upstream: HTTP/1.1 by the standard library, kept open from call to call.

What a general client does around one call (objects for a URL, each header, each part of the response, a state
machine for the protocol) was a third of the CPU of an answer.
"""

import contextlib
import re
import select
import socket
import ssl
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

# One that nobody has used for so long may be closed at its other end by the time that it is used again.
IDLE_S = 5

# Seconds of silence before the system asks whether the other end is there, and between such questions; as the SDK
# sets them.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}

_PIECE = 64 * 1024

# Before a chunk stands its size, and maybe what nobody uses.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_LONGEST_LINE = 64 * 1024


class TooLong(Exception):
    """A body has more bytes than it may have."""


class Response:
    """What came for one request. Read it whole, or its `pieces`, or close it."""

    def __init__(self, response: HTTPResponse, connection: HTTPConnection, give_back: Callable[[], None]) -> None:
        self.status = response.status
        self._response = response
        self._connection = connection
        self._give_back = give_back
        self._chunks = Chunks() if response.chunked else None
        self._left = 0
        self._give_up_at = 0.0
        self._has_ended = self._is_closed = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str:
        """The value of a header; empty when there is none."""
        return str(self._response.headers.get(name, ""))

    def headers(self) -> list[tuple[str, str]]:
        return self._response.headers.items()

    def read(self, most: int, give_up_at: float) -> bytes:
        """All of the body; see `pieces`."""
        return b"".join(self.pieces(most, give_up_at))

    def pieces(self, most: int, give_up_at: float) -> Iterator[bytes]:
        """The body as it comes.

        Args:
            most: bytes.
            give_up_at: by time.monotonic.

        Raises:
            TooLong
            TimeoutError: it takes too long, or nothing comes for too long.
            OSError, HTTPException: the connection broke.
        """
        self._left, self._give_up_at = most, give_up_at
        try:
            if self._chunks is None:
                while piece := self._response.read1(_PIECE):
                    yield self._counted(piece)
                if self._response.length:
                    raise HTTPException(f"The body ends {self._response.length} bytes early.")
            else:
                while not self._chunks.have_ended:
                    # What is broken already is not waited for.
                    received = b"" if self._chunks.are_broken else self._response.fp.read1(_PIECE)
                    if piece := self._counted(self._chunks.take_off(received)):
                        yield piece
            self._has_ended = self._chunks is None or not self._chunks.rest
        finally:
            self.close()

    @property
    def waits_on(self) -> socket.socket | None:
        """The socket on which more of the body comes; None when all has come, or `arrived` cannot tell what has."""
        chunks = self._chunks
        return None if chunks is None or chunks.have_ended or chunks.are_broken else self._connection.sock

    def arrived(self) -> bytes:
        """What has come of the body, without waiting, when the socket does not wait either and `pieces` has given the
        first piece; empty when nothing is there. Raises as `pieces` does."""
        assert self._chunks is not None
        try:
            # Longer than any record of TLS: none of one stays where the system cannot tell of it.
            received = self._connection.sock.recv(_PIECE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        return self._counted(self._chunks.take_off(received))

    def _counted(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise TooLong
        if time.monotonic() > self._give_up_at:
            raise TimeoutError("The body takes too long.")
        return piece

    def close(self) -> None:
        """Keep the connection for the next call when all of the body was read, and close it when not."""
        if self._is_closed:
            return
        self._is_closed = True
        has_ended = self._has_ended or self._ends_now()
        self._response.close()
        if has_ended and self._connection.sock is not None:
            self._give_back()
        else:
            self._connection.close()

    def _ends_now(self) -> bool:
        """Whether the end of all chunks is there behind the last one that was read: who has read the last event of a
        stream has all that it says, and does not wait for more."""
        if self._chunks is None or self._connection.sock is None:
            return False
        self._connection.sock.settimeout(0)
        try:
            if not self._chunks.have_ended:
                self._chunks.take_off(self._response.fp.read1(_PIECE))
            return self._chunks.have_ended and not self._chunks.rest
        except (OSError, HTTPException):
            # Nothing is there, or no end.
            return False


class Chunks:
    """What a body in chunks says, without what stands around the chunks. Source: RFC 9112, section 7.1."""

    def __init__(self) -> None:
        self.have_ended = self.are_broken = False
        # A line that has begun, and after the end what is none of this body's.
        self.rest = b""
        # Bytes to come of the chunk.
        self._left = 0
        self._is_after_chunk = self._is_after_last = False

    def take_off(self, received: bytes) -> bytes:
        """What the next bytes of the body say, maybe nothing. What comes after the end is left over.

        Raises:
            HTTPException: there are none, though there should be, or they are not in chunks; what they say before that
                is given first.
        """
        if not received:
            raise HTTPException("The connection closed in the middle of the body.")
        received = self.rest + received
        said, at = [], 0
        while not (self.have_ended or self.are_broken) and at < len(received):
            if self._left:
                said.append(piece := received[at : at + self._left])
                at += len(piece)
                self._left -= len(piece)
                self._is_after_chunk = self._left == 0
                continue
            end = received.find(b"\n", at)
            if end < 0:
                break
            self._read_line(received[at:end].rstrip(b"\r"))
            at = end + 1
        self.rest = received[at:]
        self.are_broken |= not self.have_ended and len(self.rest) > _LONGEST_LINE
        if self.are_broken and not said:
            raise HTTPException("The body is not in chunks.")
        return b"".join(said)

    def _read_line(self, line: bytes) -> None:
        if self._is_after_last:
            # Of a trailer, which says nothing about the body; an empty line ends it.
            self.have_ended = not line
        elif self._is_after_chunk and not line:
            self._is_after_chunk = False
        elif not self._is_after_chunk and (size := _CHUNK_SIZE.fullmatch(line)):
            self._left = int(size[1], 16)
            self._is_after_last = self._left == 0
        else:
            self.are_broken = True


class Connections:
    """Connections to one place, safe under threads.

    Args:
        base_url: http or https, with what all paths begin with.
        connect_timeout_s: for a connection to be made.
        timeout_s: the longest silence on it.

    Raises:
        ValueError: the environment names a proxy for it that cannot be used.
    """

    def __init__(self, base_url: str, *, connect_timeout_s: float, timeout_s: float) -> None:
        self._to = urlsplit(base_url)
        self._proxy = _proxy_for(self._to)
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._tls = httpx2.create_ssl_context() if self._to.scheme == "https" else None
        self._path = self._to.path.rstrip("/")
        self._headers: dict[str, str] = {}
        if self._proxy is not None and self._tls is None:
            # What is not encrypted is asked of a proxy, by its whole URL.
            self._path = f"http://{self._to.netloc.rpartition('@')[2]}{self._path}"
            self._headers = _credentials(self._proxy)
        # With the time of their last use, the last one at the end.
        self._idle: deque[tuple[HTTPConnection, float]] = deque()
        self._is_closed = False

    def ask(self, method: str, path: str, *, body: bytes | None, headers: Mapping[str, str]) -> Response:
        """Send a request, and wait until its response begins.

        Raises:
            TimeoutError, OSError, HTTPException: it could not be made, or the connection broke.
            ValueError: a header cannot be sent.
        """
        connection = self._take() or self._connect()
        try:
            assert connection.sock is not None
            connection.sock.settimeout(self._timeout_s)
            # Who has read enough of a request may answer and close; that answer is there to be read.
            with contextlib.suppress(ConnectionError):
                connection.request(method, self._path + path, body, {**headers, **self._headers})
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        return Response(response, connection, partial(self._give_back, connection))

    def close(self) -> None:
        """Close those that are idle, and each that is in use when it is given back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop()[0].close()

    def _give_back(self, connection: HTTPConnection) -> None:
        now = time.monotonic()
        self._idle.append((connection, now))
        # Those of a busy hour are at the beginning, and nobody takes them any more. Another thread may look, too.
        with contextlib.suppress(IndexError):
            while self._idle[0][1] + IDLE_S < now:
                self._idle.popleft()[0].close()
        if self._is_closed:
            self.close()

    def _take(self) -> HTTPConnection | None:
        """One that is still open; the one that was used last."""
        while True:
            try:
                connection, used_at = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() < used_at + IDLE_S and not _says_something(connection):
                return connection
            connection.close()

    def _connect(self) -> HTTPConnection:
        place = self._proxy or self._to
        connection: HTTPConnection
        if self._tls is None:
            connection = HTTPConnection(place.hostname or "", place.port or 80, timeout=self._connect_timeout_s)
        else:
            port = place.port or (443 if self._proxy is None else 80)
            connection = HTTPSConnection(place.hostname or "", port, timeout=self._connect_timeout_s, context=self._tls)
            if self._proxy is not None:
                connection.set_tunnel(self._to.hostname or "", self._to.port or 443, _credentials(self._proxy))
        connection.connect()
        # An answer can be minutes of silence, in which whatever is between must not forget the connection.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # pragma: no branch (other systems have other names)
                connection.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return connection


def _says_something(connection: HTTPConnection) -> bool:
    """Whether there is something to read on a connection that is not asked anything: its end, as a rule."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _proxy_for(to: SplitResult) -> SplitResult | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name for a place."""
    proxies = getproxies()
    named = proxies.get(to.scheme) or proxies.get("all")
    if not named or proxy_bypass(to.netloc.rpartition("@")[2]):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise ValueError(f"{to.scheme.upper()}_PROXY must be an http:// URL: the proxy is asked for a tunnel.")
    return proxy


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": "Basic " + b64encode(pair.encode()).decode()}
