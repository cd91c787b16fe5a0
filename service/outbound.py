"""A POST to where an operator has said, and to no address inside this host or its networks.

The name is resolved here, all of its addresses are looked at, and the connection goes to one of those: a name that
means another address a moment later changes nothing. No redirect is followed, no proxy is asked, and of the answer only
the status is read, so nobody sees anything through it.
"""

import re
import socket
import ssl
import time
from importlib.metadata import version
from ipaddress import IPv6Address, ip_address
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

# For all of it, and for each address that is tried.
LIMIT_S = 15.0
CONNECT_S = 5.0
MOST_ADDRESSES = 3

# Of an answer's header; what comes after it is not read.
MOST_BYTES = 16 * 1024

LONGEST_URL = 2000

_URL = re.compile(r"https?://[!#-;=?-\[\]_a-z~]+", re.ASCII)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)[ \r]")
_RETRY_AFTER = re.compile(rb"\r\nretry-after:[ \t]*(\d{1,6})[ \t]*\r\n", re.IGNORECASE)

_USER_AGENT = f"Obol/{version('obol')}"


class Unreachable(Exception):
    """No answer came. The message says why, in words for an operator."""


class Reply(NamedTuple):
    """What came back: the status, and the Retry-After if it was one of seconds."""

    status: int
    retry_after_s: int | None


def why_not(url: str, *, allow_private: bool) -> str | None:
    """Why nothing can be sent to a URL, as far as that can be told without asking for its name; None: it can.

    Args:
        allow_private: take http, and addresses inside the host and its networks.
    """
    if len(url) > LONGEST_URL or not _URL.fullmatch(url):
        return f"must be a URL such as https://example.com/events, of {LONGEST_URL} ASCII characters at most"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "must be a URL with a host and, at most, a port from 1 to 65535"
    if not parts.hostname or parts.port == 0 or parts.username is not None or parts.fragment:
        return "must have a host, and no user, no port 0 and no fragment"
    if allow_private:
        return None
    if parts.scheme != "https":
        return "must begin with https:// (OBOL_WEBHOOK_ALLOW_PRIVATE=1 lets it be http://)"
    if parts.hostname.rstrip(".") == "localhost" or not _may_be_public(parts.hostname):
        return "must not name an address inside this host or its networks (OBOL_WEBHOOK_ALLOW_PRIVATE=1 lets it)"
    return None


def is_public(address: str) -> bool:
    """Whether an address is one of the internet, and stands for none that is not. Raises: ValueError (it is none)."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        meant = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if any(inner is not None and not is_public(str(inner)) for inner in meant):
            return False
        if found.ipv4_mapped is not None:
            return True
        if found.is_site_local:
            return False
    # What stands for IPv4 addresses at a gateway (64:ff9b::/96) is reserved, too.
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def post(
    url: str,
    headers: dict[str, str],
    body: bytes,
    *,
    allow_private: bool,
    limit_s: float = LIMIT_S,
) -> Reply:
    """Send JSON, and see what the status of the answer is.

    Args:
        url: one that `why_not` has nothing against.
        headers: beside those that each request has.
        limit_s: for all of it, but for how long the system takes to resolve a name.

    Raises:
        Unreachable: there was no answer that could be read.
    """
    parts = urlsplit(url)
    try:
        connection = _connect(parts, allow_private=allow_private, limit_s=limit_s)
        give_up_at = time.monotonic() + limit_s
        with connection:
            connection.settimeout(limit_s)
            if parts.scheme == "https":
                connection = ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
            with connection:
                connection.sendall(_request(parts, headers, body))
                return _read(connection, give_up_at)
    except (OSError, UnicodeError) as error:
        # A timeout has no words of its own.
        raise Unreachable(str(error) or type(error).__name__) from error


def _may_be_public(host: str) -> bool:
    """False for what is an address, in any way to write one that the system takes, and not public."""
    try:
        return is_public(host)
    except ValueError:
        pass
    try:
        # 127.1, 0x7f000001, 2130706433
        return is_public(socket.inet_ntoa(socket.inet_aton(host)))
    except OSError:
        return True


def _connect(parts: SplitResult, *, allow_private: bool, limit_s: float) -> socket.socket:
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for _, address in addresses:
        if not allow_private and not is_public(str(address[0])):
            raise Unreachable(f"{parts.hostname} is {address[0]}, which is inside this host or its networks")
    failed: OSError | None = None
    for family, address in addresses[:MOST_ADDRESSES]:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(min(CONNECT_S, limit_s))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failed = error
            continue
        if not allow_private and _is_our_own(connection):
            connection.close()
            raise Unreachable(f"{parts.hostname} is {address[0]}, which is this host")
        return connection
    raise failed or Unreachable(f"{parts.hostname} has no address")


def _is_our_own(connection: socket.socket) -> bool:
    """Whether the connection ends where it begins: a public address can be this host's."""
    ours: Any = connection.getsockname()
    theirs: Any = connection.getpeername()
    return bool(ours[0] == theirs[0])


def _request(parts: SplitResult, headers: dict[str, str], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    said = {
        "Host": parts.netloc,
        "User-Agent": _USER_AGENT,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode("ascii") + body


def _read(connection: socket.socket, give_up_at: float) -> Reply:
    received, length = b"", 0
    while True:
        head, separator, rest = received.partition(b"\r\n\r\n")
        if separator:
            if (status := _STATUS.match(head)) is None:
                raise Unreachable("what answers does not speak HTTP/1.1")
            if not status[1].startswith(b"1"):
                retry_after = _RETRY_AFTER.search(head + b"\r\n")
                return Reply(int(status[1]), int(retry_after[1]) if retry_after else None)
            # There is more to come.
            received = rest
            continue
        if (left_s := give_up_at - time.monotonic()) <= 0:
            raise Unreachable("the answer took too long")
        if length > MOST_BYTES:
            raise Unreachable("the answer's header is too long")
        connection.settimeout(left_s)
        piece = connection.recv(4096)
        if not piece:
            raise Unreachable("the connection was closed without an answer")
        received += piece
        length += len(piece)
