"""Where mail is handed over, and what an address is."""

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

# One that is taken: a name, an @ and a host, in ASCII, and nothing that could end a header.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII)
LONGEST_ADDRESS = 254


class SmtpServer(NamedTuple):
    """Where mail goes: with TLS from the first byte (smtps) or, where the server offers it, from STARTTLS on. A name
    and a password are sent only under TLS, or on this machine."""

    is_tls: bool
    host: str
    port: int
    user: str | None
    password: str | None


def is_address(text: str) -> bool:
    """Whether mail can be sent to that."""
    return len(text) <= LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


def parse(url: str) -> SmtpServer:
    """What smtp://user:password@host:587, or smtps://…, says. Raises: ValueError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Its message would repeat what it takes for the port, which is the password where that has a # or a /.
        parts, port = urlsplit(""), None
    says_more = parts.path not in ("", "/") or parts.query or parts.fragment or port == 0
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or says_more:
        raise ValueError(
            "it must be a URL such as smtps://user:password@mail.example.com:465, and #, / and ? in its password must "
            "be written as %23, %2F and %3F"
        )
    if (parts.username is None) != (parts.password is None):
        raise ValueError("a user needs a password, and a password a user")
    is_tls = parts.scheme == "smtps"
    user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    return SmtpServer(is_tls, parts.hostname, port or (465 if is_tls else 587), user, password)
