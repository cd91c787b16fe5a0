"""A mail server on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from factories import free_port


class Inbox:
    """`received` is what came, as (recipients, text), and `logins` who logged in, as (user, password). It refuses who
    is not here, and mail with `refusal` if that is set."""

    def __init__(self) -> None:
        self.port = free_port()
        self.received: list[tuple[list[str], str]] = []
        self.logins: list[tuple[str, str]] = []
        self.refusal = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (the library's name)
        if self.refusal:
            return self.refusal
        self.received.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"

    def log_in(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"p#1", handled=False)


@contextmanager
def receiving(hostname: str = "127.0.0.1", **options: Any) -> Iterator[Inbox]:
    """An inbox that takes mail; further options are the library's."""
    inbox = Inbox()
    controller = Controller(
        inbox, hostname=hostname, port=inbox.port, authenticator=inbox.log_in, auth_require_tls=False, **options
    )
    controller.start()
    yield inbox
    controller.stop()
