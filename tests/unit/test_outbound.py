"""What is sent out: to no address inside the host and its networks, with limits, and signed."""

import socket
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest
import standardwebhooks

from service import outbound, sealing, webhooks
from service.repository.webhooks import ClaimedDelivery
from service.webhooks import Settings

KEYS = (b"k" * 32,)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1",
        "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
        "2001:0:7f00:1::", "::127.0.0.1",
    ],
)  # fmt: skip
def test_an_address_inside_is_not_public(address):
    assert not outbound.is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_an_address_of_the_internet_is(address):
    assert outbound.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "https://localhost/", "https://localhost./", "https://127.0.0.1/", "https://[::1]/",
        "https://127.1/", "https://0x7f000001/", "https://2130706433/", "https://[::ffff:7f00:1]/",
        "https://169.254.169.254/latest", "https://user@example.com/", "https://example.com/#x", "https://", "ftp://a",
        "https://example.com:0/", "https://example.com:99999/", "https://example.com/a b",
        "https://example.com/\r\nX: y", "https://exämple.com/", "https://example.com/" + "x" * 2000, "https://[::1/", "https://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_a_url_to_there_is_refused_when_it_is_named(url):
    assert outbound.why_not(url, allow_private=False)


def test_a_url_is_taken():
    assert outbound.why_not("https://example.com:8443/a?b=c", allow_private=False) is None
    assert outbound.why_not("http://127.0.0.1:8000/", allow_private=True) is None


class Server(socket.socket):
    """It has what it received."""


@pytest.fixture
def answering():
    """`answering(*pieces, pause_s=0, context=None)`: a server that answers one request so."""
    servers = []

    def start(*pieces, pause_s=0.0, context=None):
        server = Server(socket.AF_INET, socket.SOCK_STREAM)
        server.bind(("127.0.0.1", 0))
        server.listen()
        servers.append(server)
        server.received = []

        def serve():
            try:
                connection, _ = server.accept()
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                with connection:
                    server.received.append(connection.recv(65536))
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(pause_s)
            except OSError:
                # Given up.
                return

        threading.Thread(target=serve, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.close()


def post(server, origin="http://127.0.0.1", **options):
    url = f"{origin}:{server.getsockname()[1]}/events?x=1"
    return outbound.post(url, {"webhook-id": "evt_1"}, b"{}", **{"allow_private": True} | options)


def test_a_request_and_the_status_of_its_answer(answering):
    server = answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\n", b"Retry-After: 7\r\n\r\nbody")
    assert post(server) == (503, 7)
    (request,) = server.received
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /events?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"webhook-id: evt_1" in head
    assert body == b"{}"


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([b"SSH-2.0-x\r\n\r\n"], "does not speak"),
        ([b"HTTP/1.1 200 OK\r\n"], "closed"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000], "too long"),
    ],
)
def test_what_is_no_answer(answering, pieces, says):
    with pytest.raises(outbound.Unreachable, match=says):
        post(answering(*pieces))


def test_an_answer_that_drips_is_given_up(answering):
    began_at = time.monotonic()
    with pytest.raises(outbound.Unreachable):
        post(answering(*[b"H"] * 200, pause_s=0.05), limit_s=0.3)
    assert time.monotonic() < began_at + 5


def test_an_answer_that_is_still_coming_when_the_time_is_over_is_given_up(answering, monkeypatch):
    passed = iter([0.0, 0.0, outbound.LIMIT_S])
    monkeypatch.setattr(outbound, "time", SimpleNamespace(monotonic=lambda: next(passed)))
    with pytest.raises(outbound.Unreachable, match="took too long"):
        post(answering(b"HTTP/1.1 200"))


def test_under_tls(answering, certified):
    server = answering(b"HTTP/1.1 204 No Content\r\n\r\n", context=certified)
    assert post(server, "https://localhost") == (204, None)
    assert server.received[0].startswith(b"POST /events?x=1 HTTP/1.1\r\nHost: localhost:")


@pytest.mark.parametrize(
    ("origin", "is_trusted", "says"),
    [("https://localhost", False, "self-signed"), ("https://127.0.0.1", True, "IP address mismatch")],
)
def test_a_certificate_that_nobody_vouches_for_or_of_another_name_gets_nothing(
    answering, certified, monkeypatch, origin, is_trusted, says
):
    if not is_trusted:
        monkeypatch.delenv("SSL_CERT_FILE")
    server = answering(b"HTTP/1.1 204 No Content\r\n\r\n", context=certified)
    with pytest.raises(outbound.Unreachable, match=says):
        post(server, origin)
    assert server.received == []


def test_nobody_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(outbound.Unreachable, match="refused"):
            post(unused)


def test_a_name_that_means_an_address_inside_is_not_connected_to(answering, monkeypatch):
    """Also when it means a public one, too, and whatever it meant when the webhook was made."""
    server = answering(b"HTTP/1.1 200 OK\r\n\r\n")
    port = server.getsockname()[1]
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", port))
    inside = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [public, inside])
    with pytest.raises(outbound.Unreachable, match="inside this host"):
        post(server, allow_private=False)
    assert server.received == []


def test_a_public_address_that_is_this_host_is_not_sent_to(answering, monkeypatch):
    server = answering(b"HTTP/1.1 200 OK\r\n\r\n")
    monkeypatch.setattr(outbound, "is_public", lambda _address: True)
    with pytest.raises(outbound.Unreachable, match="is this host"):
        post(server, allow_private=False)


def claimed(url, secret, old_secret=None):
    at = datetime.now(UTC)
    return ClaimedDelivery(
        uuid4(), "key.revoked", {"license_id": None}, at, "http", url, secret, old_secret, None, False
    )


def sealed(webhook_id, secret, key=KEYS[0]):
    return sealing.seal(key, secret.encode(), webhook_id.bytes)


def test_two_secrets_sign_while_one_is_rotated(answering):
    server = answering(b"HTTP/1.1 204 No Content\r\n\r\n")
    webhook_id, new, old = uuid4(), "whsec_" + "A" * 32, "whsec_" + "B" * 32
    url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    event = claimed(url, sealed(webhook_id, new), sealed(webhook_id, old))
    assert webhooks.send(Settings(KEYS, True), webhook_id, event) == (None, 204, None, False)
    head, _, body = server.received[0].decode().partition("\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    for secret in (new, old):
        assert standardwebhooks.Webhook(secret).verify(body, headers)["type"] == "key.revoked"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook("whsec_" + "C" * 32).verify(body, headers)


@pytest.mark.parametrize(("status", "says"), [(302, "no redirect"), (500, "status 500"), (410, "status 410")])
def test_an_answer_that_is_no_success(answering, status, says):
    server = answering(f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1/\r\n\r\n".encode())
    webhook_id = uuid4()
    event = claimed(f"http://127.0.0.1:{server.getsockname()[1]}/", sealed(webhook_id, "whsec_AAAA"))
    attempt = webhooks.send(Settings(KEYS, True), webhook_id, event)
    assert says in attempt.error
    assert webhooks.is_gone(attempt) == (status == 410)


def test_a_secret_that_no_key_opens_or_of_another_webhook_signs_nothing():
    webhook_id = uuid4()
    for secret in (sealed(webhook_id, "whsec_AAAA", b"o" * 32), sealed(uuid4(), "whsec_AAAA")):
        attempt = webhooks.send(Settings(KEYS, True), webhook_id, claimed("https://example.com", secret))
        assert "OBOL_WEBHOOK_KEYS" in attempt.error
