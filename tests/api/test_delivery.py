"""Whether the end of an answer was written to its client, and how long it is waited for."""

import socket

import gunicorn
import pytest
from calls import USAGE, event, message, requests_in
from factories import wait_until

from service.gateway.connections import Received
from service.gateway.message import CONTENT
from service.gateway.sse import events
from service.http import connection
from service.http.services import services_of

PATH = "/api/v1/generate"


def test_what_was_written_to_the_end_is_noted(client, new_license, sql):
    client.post(PATH, json={"prompt": "a"}, headers=new_license().headers, buffered=True)
    noted = "SELECT delivered_at IS NOT NULL FROM obol.holds"

    wait_until(lambda: sql(noted) == [(True,)], what="the delivery")


def test_a_client_that_takes_nothing_is_given_up(app, new_license):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request = {"json": {"prompt": "a"}, "headers": new_license().headers}
        response = app.test_client().post(PATH, **request, environ_overrides={"gunicorn.socket": ours})
        assert 0 < ours.gettimeout() <= connection.WRITE_STALL_S
        response.close()
        # The next request on this connection is another matter, too.
        assert ours.gettimeout() is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("hangs_up", "undelivered"), [(True, 1), (False, 0)])
def test_an_answer_to_a_client_that_has_hung_up_is_not_noted(app, new_license, sql, hangs_up, undelivered):
    request = {"json": {"prompt": "a", "stream": True}, "headers": new_license().headers}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        response = app.test_client().post(PATH, **request, environ_overrides={"gunicorn.socket": ours})
        if hangs_up:
            theirs.close()
        assert b"event: done" in b"".join(response.response)
        response.close()
    services_of(app).lease.beat()

    assert len(sql("SELECT 1 FROM obol.undelivered_holds")) == undelivered


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1"], ids=["at once", "with another request sent"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, {"prompt": "a"}),
        (PATH, {"prompt": "a", "stream": True}),
        ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": []}),
        ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": [], "stream": True}),
    ],
)
def test_a_client_that_left_before_its_turn_came_is_not_asked_for(
    app, new_license, sql, upstream, logged, path, body, sent
):
    license = new_license()
    ours, theirs = socket.socketpair()
    with ours:
        # A byte that was sent before must not hide that the client has left.
        theirs.sendall(sent)
        theirs.close()
        response = app.test_client().post(
            path, json=body, headers=license.headers, environ_overrides={"gunicorn.socket": ours}, buffered=True
        )

    assert response.status_code == 499
    assert upstream.received == []
    assert sql("SELECT count(*) FROM obol.holds") == [(0,)]
    (line,) = requests_in(logged)
    assert (line["status"], line["code"], line["license_id"]) == (499, "client_gone", str(license.id))


@pytest.mark.timeout(20)
def test_what_comes_while_nothing_is_to_be_done_goes_past_the_server(app, new_license, sql):
    body = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "[sandbox event_delay_ms=20]"}]}
    ours, theirs = socket.socketpair()
    past_it = Received()
    past_it.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with ours, theirs:
        response = app.test_client().post(
            "/v1/messages",
            json={**body, "stream": True},
            headers=new_license().headers,
            environ_overrides={"gunicorn.socket": ours, "SERVER_SOFTWARE": gunicorn.SERVER_SOFTWARE},
        )
        through_the_server = b"".join(response.response)
        past_it.feed(theirs.recv(1_000_000))
        response.close()

    names = [event.name for event in events([through_the_server])]
    assert (names[0], names[-3:]) == ("message_start", ["message_delta", "message_stop", ""])
    names = [event.name for event in events([past_it.take()])]
    assert (set(names) <= set(CONTENT), names[-2:]) == (True, ["content_block_delta", "content_block_stop"])
    assert sql("SELECT state FROM obol.holds") == [("settled",)]


PIECE = connection.PIECE


@pytest.mark.parametrize("length", [1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7])
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
    assert [len(piece) for piece in pieces[:-1]] == [PIECE] * (-(-len(answer) // PIECE) - 1)
    assert 0 < len(pieces[-1]) <= PIECE
    assert int(response.headers["content-length"]) == len(answer)


def test_a_long_answer_of_generate_and_a_long_event_go_in_pieces_too(make_client, new_license, upstream_saying):
    license, text = new_license(), "a" * (2 * PIECE)
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
        assert sorted(map(len, pieces))[-2:] == [PIECE, PIECE]


@pytest.mark.parametrize("hangs_up_after", [1, 2, 3])
def test_an_answer_of_many_pieces_is_delivered_with_its_last(
    make_client, new_license, upstream_saying, logged, monkeypatch, hangs_up_after
):
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, message().ljust(3 * PIECE)))
    ours, theirs = socket.socketpair()
    # The first question is whether to ask the model at all.
    asked = iter(range(10))
    monkeypatch.setattr("service.api.delivery.has_hung_up", lambda connection: next(asked) > hangs_up_after)
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
