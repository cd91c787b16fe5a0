"""E-mail to a license's own address about its balance, through the SMTP server of OBOL_SMTP_URL."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import format_datetime

from .repository.webhooks import Attempt, ClaimedDelivery
from .smtp import SmtpServer

TIMEOUT_S = 15

_SUBJECTS = {"license.low_balance": "Your credits are running low", "license.exhausted": "Your credits are used up"}


class Mailer:
    """Sends mail.

    Args:
        server: see `smtp.parse`.
        sender: the address that it comes from.
    """

    def __init__(self, server: SmtpServer, sender: str) -> None:
        self._server = server
        self._sender = sender

    def send(self, recipient: str, claimed: ClaimedDelivery) -> Attempt:
        """Try to send what an event says to an address."""
        try:
            with self._connected() as connection:
                connection.send_message(self._message(recipient, claimed))
        except smtplib.SMTPRecipientsRefused as error:
            ((code, said),) = error.recipients.values()
            return Attempt(f"the address was refused: {_text(said)}", code, is_final=code >= 500)
        except smtplib.SMTPResponseException as error:
            return Attempt(f"the mail server refused: {_text(error.smtp_error)}", error.smtp_code)
        except (OSError, smtplib.SMTPException) as error:
            return Attempt(str(error) or type(error).__name__)
        return Attempt()

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server, context = self._server, ssl.create_default_context()
        connection: smtplib.SMTP
        if server.is_tls:
            connection = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        with connection:
            connection.ehlo_or_helo_if_needed()
            is_safe = server.is_tls or server.host in ("localhost", "127.0.0.1", "::1")
            if not server.is_tls and connection.has_extn("starttls"):
                connection.starttls(context=context)
                is_safe = True
            if server.user is not None and server.password is not None:
                if not is_safe:
                    raise smtplib.SMTPException("the mail server offers no TLS, and the password is not sent without")
                connection.login(server.user, server.password)
            yield connection

    def _message(self, recipient: str, claimed: ClaimedDelivery) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = _SUBJECTS[claimed.type]
        message["Date"] = format_datetime(claimed.created_at)
        # The same with each attempt, so that a mail that comes twice is one.
        message["Message-ID"] = f"<evt_{claimed.event_id.hex}@{self._sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        data = claimed.data
        named = f" ({data['external_id']})" if data["external_id"] else ""
        lines = [f"The license {data['license_id']}{named} has {data['balance']} credits left."]
        if claimed.type == "license.low_balance":
            share = f", which is {data['percent']} % of what it had" if data["percent"] else ""
            lines.append(f"You are told because that is not more than {data['threshold']}{share}.")
        message.set_content("\n".join(lines) + "\n")
        return message


def _text(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said
