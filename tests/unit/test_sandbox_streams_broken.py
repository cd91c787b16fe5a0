"""The sandbox delays and breaks its streams on demand."""

from http.client import IncompleteRead
from threading import Event
from types import SimpleNamespace

import pytest
from factories import wait_until
from sandbox_client import SHORT, SHORT_EVENTS, Polled, asked, parse, stream

from service.dev import sandbox
from service.dev.sandbox.wire import Wire


def test_waits_between_the_events(upstream, monkeypatch):
    pauses, may_go_on = [], Event()

    def pause(seconds):
        pauses.append(seconds)
        assert not seconds or may_go_on.wait(20)

    monkeypatch.setattr(sandbox, "time", SimpleNamespace(sleep=pause))
    with asked(upstream, f"{SHORT}[sandbox event_delay_ms=50]", stream=True) as response:
        # Each is sent as it is made, before the others.
        assert response.readline() == b"event: message_start\n"
        wait_until(lambda: pauses == [0, 0.05])
        may_go_on.set()
        response.read()
    assert pauses == [0, *[0.05] * 8]


@pytest.mark.parametrize(("directive", "status"), [("status=529", 529), ("status=400", 400)])
def test_fails_before_the_stream(upstream, directive, status):
    with asked(upstream, f"[sandbox {directive}]", stream=True) as response:
        assert (response.status, response.headers["content-type"]) == (status, "application/json")


def test_sends_garbage(upstream):
    with asked(upstream, "[sandbox garbage]", stream=True) as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        body = response.read()
        assert b"event:" not in body
        assert b"data:" not in body


@pytest.mark.parametrize("split", ["", "[sandbox split=7]"])
@pytest.mark.parametrize("after", [0, 4, 9])
def test_drops_the_connection(upstream, after, split):
    with asked(upstream, f"{SHORT}[sandbox cut_after={after}]{split}", stream=True) as response:
        with pytest.raises(IncompleteRead) as caught:
            response.read()
        assert [name for name, _ in parse(caught.value.partial)] == SHORT_EVENTS[:after]
        assert len(upstream.used) == (after == 9)


@pytest.mark.parametrize("after", [0, 4, 8, 99])
def test_ends_the_stream_early(upstream, after):
    assert [name for name, _ in stream(upstream, f"{SHORT}[sandbox end_after={after}]")] == SHORT_EVENTS[:after]
    assert len(upstream.used) == (after == 99)


def test_ends_the_stream_with_an_error(upstream):
    *events, (name, data) = stream(upstream, f"{SHORT}[sandbox error_after=4]")
    assert [name for name, _ in events] == SHORT_EVENTS[:4]
    assert (name, data["error"]["type"]) == ("error", "overloaded_error")
    assert upstream.used == []


def test_stalls_until_the_client_leaves(upstream, monkeypatch):
    ended, upstream.stopping = [], Polled()
    monkeypatch.setattr(Wire, "finish", lambda self: ended.append(self.client_address))
    with asked(upstream, f"{SHORT}[sandbox stall_after=4][sandbox split=9999]", stream=True) as response:
        said = b""
        while said.count(b"\n\n") < 4:
            said += response.readline()
        assert [name for name, _ in parse(said)] == SHORT_EVENTS[:4]
        wait_until(lambda: upstream.stopping.looks > 2)
        assert ended == []
    wait_until(lambda: len(ended) == 1)


def test_stalls_until_it_is_shut_down():
    server = sandbox.start()
    with asked(server, f"{SHORT}[sandbox stall_after=1]", stream=True) as response:
        assert response.readline() == b"event: message_start\n"
        server.shutdown()
        server.server_close()
        with pytest.raises(IncompleteRead):
            response.read()
