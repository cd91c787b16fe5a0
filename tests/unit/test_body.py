"""Large bodies are parsed two at a time: each can take thirty times its bytes in memory."""

import threading

import pytest
from factories import wait_until
from flask import Flask, g

from service import strict_json
from service.http import body
from service.http.body import MEBIBYTE, json_object
from service.problems import Problem

JSON = b'{"a": 1}'


def padded(length):
    return JSON + b" " * (length - len(JSON))


LARGE = padded(MEBIBYTE + 1)


class Slots:
    """The two slots, and whether somebody has to wait for one."""

    def __init__(self, slots):
        self.slots, self.somebody_waits = slots, threading.Event()

    def __enter__(self):
        if not self.slots.acquire(blocking=False):
            self.somebody_waits.set()
            self.slots.acquire()

    def __exit__(self, *error):
        self.slots.release()


class Parsing:
    """Parses a body only when the test says so."""

    def __init__(self):
        self.begun, self.may_end, self.read = [], threading.Semaphore(0), []
        self.threads = []

    def decode(self, received, **hooks):
        self.begun.append(len(received))
        assert self.may_end.acquire(timeout=20)
        return {"length": len(received)}

    def start(self, received):
        def parse():
            with Flask(__name__).test_request_context(content_type="application/json"):
                g.body = received
                self.read.append(json_object())

        self.threads.append(threading.Thread(target=parse))
        self.threads[-1].start()

    def end(self):
        """Let all that have begun, and will begin, come to their end."""
        self.may_end.release(len(self.threads))
        for thread in self.threads:
            thread.join()


@pytest.fixture
def slots(monkeypatch):
    slots = Slots(body._LARGE_BODIES)
    monkeypatch.setattr(body, "_LARGE_BODIES", slots)
    return slots


@pytest.fixture
def parsing(monkeypatch):
    parsing = Parsing()
    monkeypatch.setattr(strict_json, "decode", parsing.decode)
    yield parsing
    parsing.end()


def test_a_third_large_body_waits_until_one_of_two_is_parsed(slots, parsing):
    for _ in range(3):
        parsing.start(LARGE)
    wait_until(lambda: slots.somebody_waits.is_set() or len(parsing.begun) == 3)
    assert slots.somebody_waits.is_set()
    wait_until(lambda: len(parsing.begun) == 2)

    parsing.may_end.release()
    wait_until(lambda: len(parsing.begun) == 3)
    parsing.end()
    assert parsing.read == [{"length": len(LARGE)}] * 3


def test_a_body_of_a_mebibyte_waits_for_nobody(slots, parsing):
    for _ in range(2):
        parsing.start(LARGE)
    wait_until(lambda: len(parsing.begun) == 2)
    parsing.start(padded(MEBIBYTE))
    wait_until(lambda: len(parsing.begun) == 3)
    assert not slots.somebody_waits.is_set()


def test_a_slot_is_free_again_whatever_came_of_a_body():
    with Flask(__name__).test_request_context(content_type="application/json"):
        # More often than there are slots: none can have been lost.
        for _ in range(3):
            g.body = LARGE
            assert json_object() == {"a": 1}
            g.body = LARGE[:-1] + b"}"
            with pytest.raises(Problem, match="malformed_request"):
                json_object()
    assert body._LARGE_BODIES.acquire(blocking=False)
    body._LARGE_BODIES.release()
