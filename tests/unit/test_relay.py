"""One thread waits for many, and each one's own thread goes on when it has to."""

import socket
import threading

import pytest
from factories import wait_until
from structlog.testing import capture_logs

from service.gateway import relay as module
from service.gateway.relay import Relay


class Waiting:
    """Reads what comes; its thread has to go on at `x`, and a `!` is what nobody thought of."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(0)
        self.read, self.by, self.is_late = b"", set(), False

    def fileno(self):
        return self.ours.fileno()

    def go_on(self):
        self.by.add(threading.current_thread().name)
        try:
            self.read += self.ours.recv(100)
        except BlockingIOError:
            return True
        if self.read.endswith(b"!"):
            raise RuntimeError("nobody thought of it")
        return not self.read.endswith(b"x")

    def is_overdue(self):
        return self.is_late


@pytest.fixture
def waiting():
    """`waiting()`: something to wait for."""
    made = []

    def make():
        made.append(Waiting())
        return made[-1]

    yield make
    for one in made:
        one.ours.close()
        one.theirs.close()


@pytest.fixture
def wait():
    """`wait(relay, waiting)`: a thread that waits."""
    threads = []

    def start(relay, waiting):
        threads.append(threading.Thread(target=relay.wait, args=(waiting,), daemon=True))
        asleep = len(relay._asleep)
        threads[-1].start()
        wait_until(lambda: len(relay._asleep) > asleep)
        return threads[-1]

    return start


def test_what_has_come_is_not_waited_for(waiting):
    one = waiting()
    one.theirs.send(b"x")
    Relay().wait(one)
    assert (one.read, one.by) == (b"x", {threading.current_thread().name})


def test_all_are_waited_for_by_one_thread(waiting, wait):
    relay, many = Relay(), [waiting() for _ in range(20)]
    threads = [wait(relay, one) for one in many]
    for piece in (b"a", b"b", b"c"):
        for one in many:
            one.theirs.send(piece)
        wait_until(lambda: all(one.read.endswith(piece) for one in many))  # noqa: B023
    assert all(thread.is_alive() for thread in threads)
    many[0].theirs.send(b"x")
    threads[0].join(5)

    assert [thread.is_alive() for thread in threads] == [False] + [True] * 19
    assert {name for one in many for name in one.by} - {thread.name for thread in threads} == {"relay"}
    for one, thread in zip(many[1:], threads[1:], strict=True):
        one.theirs.send(b"x")
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_when_it_ends_every_thread_goes_on_and_the_next_one_begins_anew(waiting, wait, monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    relay, bad, good = Relay(), waiting(), waiting()
    threads = [wait(relay, one) for one in (bad, good)]
    bad.theirs.send(b"!")
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    wait_until(lambda: told == [RuntimeError])

    thread = wait(relay, good)
    good.theirs.send(b"x")
    thread.join(5)
    assert good.read == b"x"


@pytest.mark.parametrize(
    "refused", ["service.gateway.relay.threading.Thread.start", "selectors.DefaultSelector.register"]
)
def test_where_there_is_no_room_for_it_the_thread_goes_on_at_once(waiting, monkeypatch, refused):
    relay, one = Relay(), waiting()

    def refuse(*_):
        raise RuntimeError("can't start new thread") if "start" in refused else OSError(28, "No space left on device")

    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr(refused, refuse)
        relay.wait(one)
    assert [line["event"] for line in lines] == ["relay_full"]
    assert relay._asleep == {}

    one.theirs.send(b"x")
    relay.wait(one)
    assert one.read == b"x"


def test_one_of_which_nothing_comes_goes_on_when_it_is_overdue(waiting, wait, monkeypatch):
    monkeypatch.setattr(module, "_SWEEP_S", 0.01)
    relay, late, other = Relay(), waiting(), waiting()
    threads = [wait(relay, one) for one in (late, other)]
    late.is_late = True
    threads[0].join(5)

    assert [thread.is_alive() for thread in threads] == [False, True]
    other.theirs.send(b"x")
    threads[1].join(5)
    assert not threads[1].is_alive()


def test_what_waits_again_is_waited_for_again(waiting, wait):
    relay, one = Relay(), waiting()
    for end in (b"x", b"yx"):
        thread = wait(relay, one)
        one.theirs.send(end)
        thread.join(5)
        assert not thread.is_alive()
    assert one.read == b"xyx"
