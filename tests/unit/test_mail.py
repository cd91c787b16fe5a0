"""Mail about a balance: what it says, whom it is handed to and how, and what is said of a refusal."""

from datetime import UTC, datetime
from email import message_from_string, policy
from uuid import UUID

import pytest
from factories import free_port
from inbox import receiving

from service import smtp
from service.mail import Mailer
from service.repository.webhooks import Attempt, ClaimedDelivery

LICENSE = "7c1c1c3e-7a05-4b8e-9a64-5f4d7c6f2d11"


def claimed(type="license.exhausted", **data):
    data = {"license_id": LICENSE, "external_id": None, "balance": 0} | data
    at = datetime(2026, 11, 26, 12, tzinfo=UTC)
    return ClaimedDelivery(UUID(int=7), type, data, at, "email", "", b"", None, "ada@example.com", False)


def send(url, event=None, to="ada@example.com"):
    return Mailer(smtp.parse(url), "billing@example.com").send(to, event or claimed())


@pytest.fixture
def inbox():
    with receiving() as inbox:
        yield inbox


@pytest.mark.parametrize(
    ("event", "subject", "lines"),
    [
        (claimed(), "Your credits are used up", [f"The license {LICENSE} has 0 credits left."]),
        (
            claimed("license.low_balance", balance=90, threshold=100, percent=None, external_id="customer 7"),
            "Your credits are running low",
            [
                f"The license {LICENSE} (customer 7) has 90 credits left.",
                "You are told because that is not more than 100.",
            ],
        ),
        (
            claimed("license.low_balance", balance=90, threshold=100, percent=20),
            "Your credits are running low",
            [
                f"The license {LICENSE} has 90 credits left.",
                "You are told because that is not more than 100, which is 20 % of what it had.",
            ],
        ),
    ],
    ids=["used up", "at a number of credits", "at a share"],
)
def test_what_a_mail_says(inbox, event, subject, lines):
    assert send(f"smtp://127.0.0.1:{inbox.port}", event) == Attempt()
    ((recipients, text),) = inbox.received
    message = message_from_string(text, policy=policy.default)
    assert (recipients, message["Subject"]) == (["ada@example.com"], subject)
    assert (message["From"], message["To"]) == ("billing@example.com", "ada@example.com")
    # The same with each attempt.
    assert message["Message-ID"] == "<evt_00000000000000000000000000000007@example.com>"
    assert message["Date"] == "Thu, 26 Nov 2026 12:00:00 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().splitlines() == lines


def test_an_address_that_is_refused_is_given_up(inbox):
    attempt = send(f"smtp://127.0.0.1:{inbox.port}", to="nobody@example.com")
    assert attempt == Attempt("the address was refused: no such user", 550, is_final=True)


def test_mail_that_a_server_does_not_take_now_waits(inbox):
    inbox.refusal = "452 no space"
    attempt = send(f"smtp://127.0.0.1:{inbox.port}")
    assert attempt == Attempt("the mail server refused: no space", 452)


def test_mail_that_no_server_takes_waits():
    attempt = send(f"smtp://127.0.0.1:{free_port()}")
    assert "refused" in attempt.error
    assert (attempt.status, attempt.is_final) == (None, False)


@pytest.mark.parametrize(("scheme", "option"), [("smtp", "tls_context"), ("smtps", "ssl_context")])
def test_a_password_goes_under_tls(certified, scheme, option):
    with receiving(**{option: certified}, **({"require_starttls": True} if scheme == "smtp" else {})) as inbox:
        assert send(f"{scheme}://obol:p%231@localhost:{inbox.port}") == Attempt()
    assert inbox.logins == [("obol", "p#1")]
    assert len(inbox.received) == 1


@pytest.mark.parametrize(("scheme", "option"), [("smtp", "tls_context"), ("smtps", "ssl_context")])
def test_who_has_a_certificate_that_nobody_vouches_for_gets_nothing(certified, monkeypatch, scheme, option):
    monkeypatch.delenv("SSL_CERT_FILE")
    with receiving(**{option: certified}) as inbox:
        attempt = send(f"{scheme}://obol:p%231@localhost:{inbox.port}")
    assert "CERTIFICATE_VERIFY_FAILED" in attempt.error
    assert (attempt.is_final, inbox.logins, inbox.received) == (False, [], [])


def test_without_tls_a_password_goes_no_further_than_this_machine(inbox):
    assert send(f"smtp://obol:p%231@127.0.0.1:{inbox.port}") == Attempt()
    assert inbox.logins == [("obol", "p#1")]
    # An address that is not known to be this machine's.
    with receiving("127.0.0.2") as other:
        attempt = send(f"smtp://obol:p%231@127.0.0.2:{other.port}")
    assert attempt == Attempt("the mail server offers no TLS, and the password is not sent without")
    assert (other.logins, other.received) == ([], [])


def test_a_password_that_is_wrong_sends_nothing(inbox):
    attempt = send(f"smtp://obol:wrong@127.0.0.1:{inbox.port}")
    assert (attempt.status, attempt.is_final, inbox.received) == (535, False, [])
    assert attempt.error.startswith("the mail server refused: ")
