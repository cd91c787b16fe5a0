"""Connections to the upstream: which are used again, which are not, and what stands between."""

import fcntl
import gc
import re
import socket
import ssl
import termios
import threading
import time
import weakref
from contextlib import suppress
from http.client import HTTPException
from itertools import pairwise

import pytest
from factories import free_port, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gateway import connections as module
from service.gateway.connections import Connections, Received

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LATER = time.monotonic() + 3600


class Place:
    """Answers one request after the other with what it was told to, whoever asks; None: it closes the connection."""

    def __init__(self, answers, context=None):
        self.answers, self.context = list(answers), context
        self.asked, self.accepted = [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            while request := self.read(connection):
                self.asked.append(request)
                if (answer := self.answers.pop(0)) is None:
                    return
                connection.sendall(answer)
        except OSError:
            pass
        finally:
            connection.close()

    def read(self, connection):
        received = b""
        while b"\r\n\r\n" not in received:
            if not (piece := connection.recv(65536)):
                return b""
            received += piece
        length = re.search(rb"Content-Length: (\d+)", received)
        while length and len(received.partition(b"\r\n\r\n")[2]) < int(length[1]):
            received += connection.recv(65536)
        return received

    def close(self):
        self.listener.close()


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def answering():
    """`answering(bytes, …, context=None)`: a place that answers so."""
    places = []

    def start(*answers, context=None):
        places.append(Place(answers, context))
        return places[-1]

    yield start
    for place in places:
        place.close()


@pytest.fixture
def to():
    """`to(place, scheme="http")`: connections to it."""
    made = []

    def make(place, scheme="http"):
        made.append(Connections(f"{scheme}://localhost:{place.port}/base/", connect_timeout_s=5, timeout_s=5))
        return made[-1]

    yield make
    for connections in made:
        connections.close()


def ask(connections, path="/v1/messages", body=b"{}"):
    return connections.ask("POST", path, body=body, headers={"x-api-key": "k"})


def read(connections):
    return ask(connections).read(100, LATER)


def test_a_connection_is_used_again(answering, to):
    place = answering(WHOLE, HEAD + b"2\r\nhi\r\n0\r\n\r\n", WHOLE)
    connections = to(place)

    assert [read(connections) for _ in range(3)] == [b"hi"] * 3
    assert len(place.accepted) == 1
    assert place.asked[0].startswith(b"POST /base/v1/messages HTTP/1.1\r\n")
    assert b"\r\nx-api-key: k\r\n" in place.asked[0]


def test_after_a_stream_too_whose_end_nobody_has_read(answering, to):
    place = answering(HEAD + b"2\r\nhi\r\n0\r\n\r\n", WHOLE)
    connections = to(place)

    response = ask(connections)
    pieces = response.pieces(100, LATER)
    assert next(pieces) == b"hi"
    pieces.close()
    response.close()

    assert read(connections) == b"hi"
    assert len(place.accepted) == 1


@pytest.mark.parametrize("rest", [b"", b"\r\n", b"\r\n2\r\nho\r\n", b"\r\nx\r\n"])
def test_not_when_more_may_come(answering, to, rest):
    place = answering(HEAD + b"2\r\nhi" + rest, WHOLE)
    connections = to(place)

    pieces = ask(connections).pieces(100, LATER)
    assert next(pieces)[:2] == b"hi"
    pieces.close()

    assert read(connections) == b"hi"
    assert len(place.accepted) == 2


@pytest.mark.parametrize(("answer", "accepted"), [(WHOLE, 1), (WHOLE[:-2], 2), (WHOLE[:-1], 2)])
def test_what_nobody_has_read_may_have_come(answering, to, answer, accepted):
    place = answering(answer, WHOLE)
    connections = to(place)
    ask(connections).close()

    assert read(connections) == b"hi"
    assert len(place.accepted) == accepted


def test_not_after_it_was_idle_for_long(answering, to, monkeypatch):
    place = answering(*[WHOLE] * 4)
    connections = to(place)
    first, second = ask(connections), ask(connections)
    assert first.read(100, LATER) == b"hi"
    monkeypatch.setattr(module, "IDLE_S", -1)
    # Whoever comes back finds that the others have been idle for long.
    assert second.read(100, LATER) == b"hi"
    assert not connections._idle

    monkeypatch.setattr(module, "IDLE_S", 5)
    assert read(connections) == b"hi"
    monkeypatch.setattr(module, "IDLE_S", 0)
    assert read(connections) == b"hi"
    assert len(place.accepted) == 4


def test_what_is_in_use_when_all_are_closed_is_closed_when_it_comes_back(answering, to):
    connections = to(answering(WHOLE))
    response = ask(connections)
    connections.close()

    assert response.read(100, LATER) == b"hi"
    assert not connections._idle


def test_not_when_the_other_end_has_closed_it(answering, to):
    place = answering(WHOLE, None, WHOLE)
    connections = to(place)
    assert read(connections) == b"hi"
    ((idle, _),) = connections._idle
    place.accepted[0].shutdown(socket.SHUT_RDWR)
    wait_until(lambda: module._says_something(idle))
    place.answers.pop(0)

    assert read(connections) == b"hi"
    assert len(place.accepted) == 2


def test_not_when_it_says_that_it_will_close(answering, to):
    place = answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", WHOLE)
    connections = to(place)

    assert [read(connections), read(connections)] == [b"hi"] * 2
    assert len(place.accepted) == 2


def feed(*pieces):
    """What was received, and the body of it."""
    received, body = Received(), b""
    for piece in pieces:
        received.feed(piece)
        body += received.take()
    return received, body


@settings(deadline=None, database=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.sampled_from([b"", b";a=b", b';a="b c"']),
    st.sampled_from([b"", b"trailer: x\r\nx-said: no\r\n"]),
    st.lists(st.integers(0, 600), max_size=20),
)
def test_how_a_response_comes_makes_no_difference(said, extension, trailer, places):
    wait = b"HTTP/1.1 100 Continue\r\nx-said: no\r\n\r\n"
    head = wait + HEAD.replace(b"200", b"201")[:-2] + b"X-Said: \xfc\r\n\r\n"
    chunks = [b"%X%b\r\n%b\r\n" % (len(one), extension, one) for one in said]
    whole = b"".join([head, *chunks, b"0\r\n", trailer, b"\r\n"])
    at = sorted({0, len(whole), *(place for place in places if place < len(whole))})
    received, body = feed(*(whole[begin:end] for begin, end in pairwise(at)))

    assert body == b"".join(said)
    assert (received.status, received.headers) == (201, {"transfer-encoding": "chunked", "x-said": "ü"})
    assert (received.has_ended, received.leaves_open, received.is_broken) == (True, True, False)


@pytest.mark.parametrize("more", [b"x" * 100_000, WHOLE, HEAD[:5], HEAD + b"x\r\n"])
def test_what_follows_the_end_is_none_of_it(more):
    received, body = feed(WHOLE + more)
    assert (body, received.status, received.has_ended, received.leaves_open) == (b"hi", 200, True, False)
    assert not received.is_broken


def test_without_a_length_it_ends_with_the_connection():
    received, body = feed(b"HTTP/1.1 200 OK\r\n\r\nh", b"i")
    assert not received.has_ended
    received.feed(b"")
    assert (body, received.has_ended, received.leaves_open) == (b"hi", True, False)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"SSH-2.0-x\r\n"],
        [b"HTTP/1.1 200 OK\r\n", b""],
        [b"HTTP/1.1 200 OK\r\nx: ", *[b"x" * 50_000] * 3],
        [b"HTTP/1.1 102 Wait\r\n\r\n"] * 10_000,
        [HEAD + b"0\r\nx: ", *[b"x" * 50_000] * 3],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n"],
        [b"HTTP/1.1 099 Less\r\nContent-Length: 5\r\n\r\nevil!" + WHOLE],
        [b"HTTP/1.1 101 Other\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"],
        [HEAD, b""],
        [HEAD + b"x\r\n"],
        [HEAD + b"-1\r\n"],
        [HEAD + b"\r\n"],
        [HEAD + b"1" * 100_000],
        [HEAD + b"1\r\na", b""],
    ],
)
def test_what_is_no_response_or_no_whole_one_is_an_error(pieces):
    with pytest.raises(HTTPException):
        feed(*pieces)


@pytest.mark.parametrize("said", [b"1\r\nab\r\n", b"1\r\na\r\ng\r\n", b"1\r\na\r\n" + b"1" * 100_000])
def test_what_came_before_is_given_and_no_end_is_found_after_it(said):
    received, body = feed(HEAD + said)
    assert body == b"a"
    for more in (b"", b"0\r\n\r\n"):
        with pytest.raises(HTTPException):
            received.feed(more)
    assert not received.has_ended


@pytest.mark.timeout(20)
def test_what_is_broken_is_not_waited_for(answering):
    """The other end says nothing more, and closes nothing."""
    place = answering(HEAD + b"2\r\nhi\r\nx\r\n")
    connections = Connections(f"http://localhost:{place.port}", connect_timeout_s=5, timeout_s=600)
    pieces = ask(connections).pieces(100, LATER)
    assert next(pieces) == b"hi"
    with pytest.raises(HTTPException):
        next(pieces)


def test_what_is_none_of_the_body_takes_its_time_too(answering, to):
    place = answering(HEAD + b"1;")
    response = ask(to(place))
    place.accepted[0].sendall(b"a")
    with pytest.raises(TimeoutError, match="takes too long"):
        response.read(100, time.monotonic() - 1)


def test_what_was_received_is_gone_when_it_is_closed(answering, to):
    response = ask(to(answering(WHOLE)))
    received = weakref.ref(response._received)
    gc.disable()
    try:
        assert response.read(100, LATER) == b"hi"
        del response
        assert received() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/messages", {"x": "a\r\nx-api-key: k"}),
        ("/v1/messages", {"x": "a\nb"}),
        ("/v1/messages", {"x": "\u20ac"}),
        ("/v1/messages HTTP/1.1\r\nx: y", {}),
        ("/v1/mes sages", {}),
        ("/v1/mes\tsages", {}),
        ("/v1/\u00fc", {}),
    ],
)
def test_what_would_be_another_request_is_not_sent(answering, to, path, headers):
    place = answering(WHOLE)
    with pytest.raises(ValueError, match=r"cannot be sent|ordinal not in range"):
        to(place).ask("POST", path, body=b"{}", headers=headers)
    assert not place.accepted


@pytest.mark.parametrize("length", [2, 1_000_000])
def test_a_body_is_sent_whole(answering, to, length):
    place = answering(WHOLE)
    assert ask(to(place), body=b"x" * length).read(100, LATER) == b"hi"
    assert place.asked[0].partition(b"\r\n\r\n")[2] == b"x" * length


def test_a_body_may_come_byte_by_byte(answering, to, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", 1)
    connections = to(answering(HEAD + b"2\r\nhi\r\n0\r\n\r\n"))

    assert list(ask(connections).pieces(100, LATER)) == [b"h", b"i"]


def test_a_connection_on_which_more_came_than_was_asked_for_is_closed(answering, to):
    place = answering(HEAD + b"2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK", WHOLE)
    connections = to(place)

    assert [read(connections) for _ in range(2)] == [b"hi"] * 2
    assert len(place.accepted) == 2


def test_a_body_that_ends_early_is_an_error(answering, to):
    place = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi", WHOLE)
    connections = to(place)
    response = ask(connections)
    place.accepted[0].shutdown(socket.SHUT_WR)

    with pytest.raises(HTTPException, match="in the middle"):
        response.read(100, LATER)
    assert not connections._idle


def test_a_connection_that_breaks_before_there_is_an_answer_is_an_error(answering, to):
    connections = to(answering(None))
    with pytest.raises(ConnectionError):
        ask(connections)
    assert not connections._idle


def test_who_answers_before_it_has_read_all_is_heard(to):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse():
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
                # Not closed before all of it is at the other end: the reset would overtake the answer.
                wait_until(lambda: fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)) == bytes(4))

        thread = threading.Thread(target=refuse)
        thread.start()
        place = type("Listening", (), {"port": listener.getsockname()[1]})
        response = ask(to(place), body=b" " * 20_000_000)

        assert (response.status, response.is_success, response.read(100, LATER)) == (413, False, b"no")
        thread.join()


@pytest.mark.parametrize("named", ["http://me:a%20b@localhost:{port}", "me:a%20b@localhost:{port}"])
def test_a_proxy_is_asked_for_the_whole_url(answering, monkeypatch, named):
    proxy = answering(WHOLE)
    monkeypatch.setenv("http_proxy", named.format(port=proxy.port))
    connections = Connections("http://upstream.invalid/base", connect_timeout_s=5, timeout_s=5)

    assert read(connections) == b"hi"
    assert proxy.asked[0].startswith(b"POST http://upstream.invalid/base/v1/messages HTTP/1.1\r\n")
    assert b"\r\nproxy-authorization: Basic bWU6YSBi\r\n" in proxy.asked[0]
    connections.close()


def test_a_proxy_may_want_no_credentials(answering, monkeypatch):
    proxy = answering(WHOLE)
    monkeypatch.setenv("all_proxy", f"http://localhost:{proxy.port}")
    connections = Connections("http://upstream.invalid", connect_timeout_s=5, timeout_s=5)

    assert read(connections) == b"hi"
    assert b"authorization" not in proxy.asked[0]
    connections.close()


def test_a_proxy_is_not_asked_for_what_is_excepted(answering, to, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "localhost")
    assert read(to(answering(WHOLE))) == b"hi"


@pytest.mark.parametrize("named", ["https://proxy.invalid", "socks5://proxy.invalid", "http://"])
def test_a_proxy_that_cannot_be_used_is_refused_by_name(monkeypatch, named):
    monkeypatch.setenv("https_proxy", named)
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY must be an http:// URL"):
        Connections("https://upstream.invalid", connect_timeout_s=5, timeout_s=5)


def test_tls(answering, to, certified):
    place = answering(WHOLE, WHOLE, context=certified)
    connections = to(place, "https")

    assert [read(connections), read(connections)] == [b"hi"] * 2
    assert len(place.asked) == 2


def test_a_certificate_that_nobody_vouches_for_is_refused(answering, to, certified, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    place = answering(WHOLE, context=certified)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(to(place, "https"))
    assert place.asked == []


def test_tls_goes_through_a_tunnel_of_the_proxy(answering, to, certified, monkeypatch):
    place = answering(WHOLE, context=certified)
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{proxy.getsockname()[1]}")

        def tunnel():
            client, _ = proxy.accept()
            server = socket.create_connection(("127.0.0.1", place.port))
            with client, server, suppress(OSError):
                asked.append(client.recv(65536))
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                there = threading.Thread(target=pass_on, args=(client, server))
                there.start()
                pass_on(server, client)
                there.join()

        def pass_on(one, other):
            with suppress(OSError):
                while piece := one.recv(65536):
                    other.sendall(piece)
                other.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=tunnel)
        thread.start()
        connections = to(place, "https")

        assert read(connections) == b"hi"
        connections.close()
        thread.join()

    assert asked[0].startswith(f"CONNECT localhost:{place.port} ".encode())
    assert b"\r\nproxy-authorization: Basic bWU6c2VjcmV0\r\n" in asked[0]
    # What is for the proxy is not for the upstream.
    assert b"proxy-authorization" not in place.asked[0]
