"""Connections to the upstream: HTTP/1.1, read by llhttp, kept open from call to call.

What a general client does around one call (objects for a URL, each header, each part of the response, a state
machine for the protocol) was a third of the CPU of an answer.
"""

import contextlib
import select
import socket
import ssl
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httptools
import httpx2

# One that nobody has used for so long may be closed at its other end by the time that it is used again.
IDLE_S = 5

# Seconds of silence before the system asks whether the other end is there, and between such questions; as the SDK
# sets them.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}

_PIECE = 64 * 1024

# Bytes that may come one after the other without anything of a body: headers, or what stands around a chunk.
_LONGEST_HEAD = 64 * 1024


class TooLong(Exception):
    """A body has more bytes than it may have."""


class Response:
    """What came for one request. Read it whole, or its `pieces`, or close it.

    Raises:
        TimeoutError, OSError, HTTPException: nothing came, or what came is none.
    """

    def __init__(self, connection: HTTPConnection, give_back: Callable[[], None]) -> None:
        self._connection = connection
        self._give_back = give_back
        self._received = Received()
        self._left = 0
        self._give_up_at = 0.0
        self._is_closed = False
        while not self._received.has_begun:
            self._received.feed(connection.sock.recv(_PIECE))
        self.status = self._received.status

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str:
        """The value of a header; empty when there is none.

        Args:
            name: in lower case.
        """
        return self._received.headers.get(name, "")

    def headers(self) -> dict[str, str]:
        """By their names in lower case."""
        return self._received.headers

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
            while (piece := self._received.take()) or not self._received.has_ended:
                if piece:
                    yield self._counted(piece)
                else:
                    # What is broken already is not waited for.
                    self._received.feed(b"" if self._received.is_broken else self._connection.sock.recv(_PIECE))
                    # However little of what came is of the body.
                    self._counted(b"")
        finally:
            self.close()

    @property
    def waits_on(self) -> socket.socket | None:
        """The socket on which more of the body comes; None when nothing more does."""
        return None if self._received.has_ended or self._received.is_broken else self._connection.sock

    def arrived(self) -> bytes:
        """What has come of the body, without waiting, when the socket does not wait either and `pieces` has given the
        first piece; empty when nothing is there. Raises as `pieces` does."""
        try:
            # Longer than any record of TLS: none of one stays where the system cannot tell of it.
            self._received.feed(self._connection.sock.recv(_PIECE))
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        return self._counted(self._received.take())

    def _counted(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise TooLong
        if time.monotonic() > self._give_up_at:
            raise TimeoutError("The body takes too long.")
        return piece

    def close(self) -> None:
        """Keep the connection for the next call when all of the body has come, and close it when not."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._ends_now() and self._received.leaves_open:
            self._give_back()
        else:
            self._connection.close()
        self._received.close()

    def _ends_now(self) -> bool:
        """Whether all has come, maybe without anybody having read it: who has read the last event of a stream has all
        that it says, and does not wait for the end of the body."""
        if not self._received.has_ended:
            self._connection.sock.settimeout(0)
            # Nothing may be there, or no end.
            with contextlib.suppress(OSError, HTTPException):
                self._received.feed(self._connection.sock.recv(_PIECE))
        return self._received.has_ended


class Received:
    """A response, made of the bytes of it that were received, by llhttp.

    `has_begun` once there are `status` and `headers` (by their names in lower case), `has_ended` once all has come;
    `leaves_open`, then, when the connection can be asked again; `is_broken` when what came is no HTTP, after which
    nothing more is read.
    """

    def __init__(self) -> None:
        self.has_begun = self.has_ended = self.leaves_open = self.is_broken = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self._body: list[bytes] = []
        # What came since there was something of use in it.
        self._idle_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, received: bytes) -> None:
        """The next bytes; none: the connection has closed.

        Raises:
            ConnectionError: it closed before there was anything.
            HTTPException: it closed in the middle, or this is no HTTP; what came of a body before that is taken first.
        """
        if received and not self.is_broken:
            try:
                self._parser.feed_data(received)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                # After the end it is only no other response, which nobody has asked for.
                self.is_broken, self.leaves_open = not self.has_ended, False
            self._idle_bytes += len(received)
            self.is_broken |= not self.has_ended and self._idle_bytes > _LONGEST_HEAD + _PIECE
        elif self.has_begun and not self.is_broken and self._ends_with_the_connection():
            self.has_ended = True
        elif self._idle_bytes or self.has_begun:
            raise HTTPException("The connection closed in the middle of the response.")
        else:
            raise ConnectionError("The connection closed before there was a response.")
        if self.is_broken and not self._body:
            raise HTTPException("The response is no HTTP.")

    def close(self) -> None:
        """Nothing more is fed. The parser refers to this, and only the collector would find that nobody else does."""
        del self._parser

    def take(self) -> bytes:
        """What has come of the body, and was not taken yet."""
        taken = b"".join(self._body)
        self._body.clear()
        return taken

    def _ends_with_the_connection(self) -> bool:
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    # What the parser calls.

    def on_message_begin(self) -> None:
        # One that nobody has asked for, behind the one that was.
        self.leaves_open = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Those behind a body say nothing about it.
        if not self.has_begun:
            self.headers.setdefault(name.lower().decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        if not self.has_begun and not self.is_broken:
            self.status = self._parser.get_status_code()
            self.is_broken, self.has_begun = self.status < 100, self.status >= 200
            self._idle_bytes *= not self.has_begun

    def on_body(self, body: bytes) -> None:
        if self.has_begun and not self.has_ended:
            self._idle_bytes = 0
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.has_begun:
            self.leaves_open = not self.has_ended and self._parser.should_keep_alive()
            self.has_ended = True
        else:
            # It only says that the response is on its way.
            self.headers.clear()


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
        self._host = self._to.netloc.rpartition("@")[2]
        self._path = self._to.path.rstrip("/")
        self._headers: dict[str, str] = {}
        if self._proxy is not None and self._tls is None:
            # What is not encrypted is asked of a proxy, by its whole URL.
            self._path = f"http://{self._host}{self._path}"
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
        sent = body or b""
        length = {} if body is None else {"Content-Length": str(len(body))}
        head = self._head(f"{method} {self._path}{path} HTTP/1.1", {**length, **headers, **self._headers})
        connection = self._take() or self._connect()
        try:
            connection.sock.settimeout(self._timeout_s)
            # Who has read enough of a request may answer and close; that answer is there to be read.
            with contextlib.suppress(ConnectionError):
                # In one packet where it can be, and no second time in memory where it is large.
                for part in (head + sent,) if len(sent) <= _PIECE else (head, sent):
                    connection.sock.sendall(part)
            return Response(connection, partial(self._give_back, connection))
        except BaseException:
            connection.close()
            raise

    def _head(self, first: str, headers: Mapping[str, str]) -> bytes:
        lines = [first, f"Host: {self._host}", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join(lines)
        # Not one line more than were written here, and of the first one nothing but three words.
        is_plain = first.isascii() and first.isprintable() and first.count(" ") == 2
        if not is_plain or head.count("\r") + head.count("\n") > 2 * (len(lines) - 1):
            raise ValueError("A header of a request, or its path, cannot be sent.")
        return head.encode("latin-1") + b"\r\n\r\n"

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
