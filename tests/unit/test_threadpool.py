"""A pool where the system starts no more threads."""

import threading

import pytest
from structlog.testing import capture_logs

from service import threadpool
from service.threadpool import ThreadPool


@pytest.fixture
def pool():
    with ThreadPool(3, "tested") as pool:
        yield pool


@pytest.fixture
def starts(monkeypatch):
    """How many threads the system still starts: `starts[0] = 1`."""
    left, start = [0], threading.Thread.start

    def try_start(thread):
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", try_start)
    return left


def test_where_no_thread_starts_nothing_is_queued(pool, starts):
    assert not pool.take_thread()
    assert pool._work_queue.empty()
    assert pool.run(threading.get_ident).result() == threading.get_ident()


def test_what_there_is_of_threads_is_used_and_more_are_started_as_soon_as_that_goes(pool, starts):
    starts[0] = 1
    may_end = threading.Event()
    assert pool.take_thread()
    held_up = pool.submit(may_end.wait)
    assert not pool.take_thread()
    may_end.set()
    assert held_up.result()

    starts[0] = 2
    other = pool.run(threading.get_ident).result()
    assert other != threading.get_ident()


def test_who_is_run_here_fails_as_in_a_thread(pool, starts):
    failed = pool.run(int, "none")
    with pytest.raises(ValueError, match="none"):
        failed.result()


def test_once_there_are_as_many_as_may_be_what_is_submitted_waits(pool):
    may_end = threading.Event()
    done = []
    for _ in range(5):
        assert pool.take_thread()
        done.append(pool.submit(may_end.wait))
    may_end.set()
    assert all(one.result() for one in done)
    assert len(pool._threads) == 3


def test_it_is_said_once_in_a_while(pool, starts, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(threadpool, "elapsed", lambda: now[0])
    with capture_logs() as lines:
        for _ in range(3):
            assert not pool.take_thread()
        now[0] += threadpool.TELL_EVERY_S
        assert not pool.take_thread()
    assert [(line["event"], line["threads"]) for line in lines] == [("no_more_threads", 0)] * 2
