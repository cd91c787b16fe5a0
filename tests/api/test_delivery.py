"""Whether the end of an answer was written to its client, and how long it is waited for."""

import fcntl
import resource
import socket
import struct
import time

import pytest
from calls import USAGE, event, message, requests_in
from factories import wait_until

from service.api import delivery
from service.http.services import services_of

PATH = "/api/v1/generate"


def test_what_was_written_to_the_end_is_noted(client, new_license, sql):
    client.post(PATH, json={"prompt": "a"}, headers=new_license().headers, buffered=True)
    noted = "SELECT delivered_at IS NOT NULL FROM obol.holds"

    wait_until(lambda: sql(noted) == [(True,)], what="the delivery")


def test_a_client_that_has_hung_up_is_noticed():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not delivery._has_hung_up(ours)
        theirs.send(b"the next request")
        assert not delivery._has_hung_up(ours)
        ours.recv(100)
        theirs.close()
        assert delivery._has_hung_up(ours)
    assert delivery._has_hung_up(ours)


def test_a_client_that_broke_the_connection_has_hung_up():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
        with ours:
            # Closed so, it is reset.
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            wait_until(lambda: delivery._has_hung_up(ours), what="the reset")


# select() cannot be asked about a descriptor of 1024 or more.
HIGH = 1100


@pytest.fixture
def many_descriptors():
    """Descriptors above `HIGH` can be had, also where a process has 1024 at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = HIGH + 64

    def allows(limit):
        return limit == resource.RLIM_INFINITY or limit >= needed

    if not allows(hard):
        pytest.skip(f"a process may have {hard} descriptors on this machine (ulimit -Hn), and this needs {needed}")
    # No more than needed: not every system takes a hard limit without end for a soft one.
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft if allows(soft) else needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_client_that_has_hung_up_is_noticed_among_thousands(many_descriptors):
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD, HIGH)) as high:
        assert not delivery._has_hung_up(high)
        theirs.close()
        assert delivery._has_hung_up(high)


def test_a_client_that_is_there_is_not_waited_for():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # As it is set while an answer is written.
        ours.settimeout(delivery.WRITE_STALL_S)
        began_at = time.monotonic()
        assert not delivery._has_hung_up(ours)
        assert time.monotonic() - began_at < delivery.WRITE_STALL_S / 2
        theirs.close()
        assert delivery._has_hung_up(ours)


def test_a_client_that_takes_nothing_is_given_up(app, new_license, monkeypatch):
    ours, theirs = socket.socketpair()
    # Whether it has hung up is another matter.
    monkeypatch.setattr(delivery, "_has_hung_up", lambda connection: False)
    with ours, theirs:
        request = {"json": {"prompt": "a"}, "headers": new_license().headers}
        response = app.test_client().post(PATH, **request, environ_overrides={"gunicorn.socket": ours})
        assert ours.gettimeout() == delivery.WRITE_STALL_S
        response.close()
        # The next request on this connection is another matter, too.
        assert ours.gettimeout() is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("hangs_up", "undelivered"), [(True, 1), (False, 0)])
def test_an_answer_to_a_client_that_has_hung_up_is_not_noted(app, new_license, sql, hangs_up, undelivered):
    license = new_license()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if hangs_up:
            theirs.close()
        app.test_client().post(
            PATH,
            json={"prompt": "a"},
            headers=license.headers,
            environ_overrides={"gunicorn.socket": ours},
            buffered=True,
        )
    services_of(app).lease.beat()

    assert len(sql("SELECT 1 FROM obol.undelivered_holds")) == undelivered


KIB_64 = 65536


@pytest.mark.parametrize("length", [1, KIB_64 - 1, KIB_64, KIB_64 + 1, 5 * KIB_64 + 7])
def test_no_write_is_longer_than_a_slow_client_can_take(make_client, new_license, upstream_saying, length):
    license = new_license(credits=10_000_000)
    body = {"model": "m", "max_tokens": 9, "messages": []}
    # White space is JSON too, and goes as it came.
    answer = message().ljust(length)
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, answer))
    response = client.post("/v1/messages", json=body, headers=license.headers)

    pieces = list(response.response)
    response.close()
    assert b"".join(pieces) == answer
    assert [len(piece) for piece in pieces[:-1]] == [KIB_64] * (-(-len(answer) // KIB_64) - 1)
    assert 0 < len(pieces[-1]) <= KIB_64
    assert int(response.headers["content-length"]) == len(answer)


def test_a_long_answer_of_generate_and_a_long_event_go_in_pieces_too(make_client, new_license, upstream_saying):
    license, text = new_license(), "a" * (2 * KIB_64)
    stream = [
        event("message_start", message={"model": "m", "usage": USAGE}),
        event("content_block_delta", delta={"text": text}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage=USAGE),
        event("message_stop"),
    ]
    for said in (message(content=[{"type": "text", "text": text}]), stream):
        client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, said))
        request = {"prompt": "a", "stream": said is stream}
        response = client.post(PATH, json=request, headers=license.headers)
        pieces = list(response.response)
        response.close()
        assert text.encode() in b"".join(pieces)
        assert sorted(map(len, pieces))[-2:] == [KIB_64, KIB_64]


@pytest.mark.parametrize("hangs_up_after", [1, 2, 3])
def test_an_answer_of_many_pieces_is_delivered_with_its_last(
    make_client, new_license, upstream_saying, logged, monkeypatch, hangs_up_after
):
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, message().ljust(3 * KIB_64)))
    ours, theirs = socket.socketpair()
    asked = iter(range(1, 10))
    monkeypatch.setattr(delivery, "_has_hung_up", lambda connection: next(asked) > hangs_up_after)
    with ours, theirs:
        client.post(
            "/v1/messages",
            json={"model": "m", "max_tokens": 9, "messages": []},
            headers=new_license().headers,
            environ_overrides={"gunicorn.socket": ours},
            buffered=True,
        )

    (line,) = requests_in(logged)
    assert (line["credits"], line["delivered"]) == (7, hangs_up_after == 3)
