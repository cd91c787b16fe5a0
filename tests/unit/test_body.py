"""Large bodies are parsed two at a time, and none that holds too many values: each can take thirty times its
bytes in memory."""

import json
import threading
import time

import pytest
from factories import wait_until
from flask import Flask, g
from werkzeug.test import create_environ

from service import memory, strict_json
from service.http import body
from service.http.body import MEBIBYTE, json_object
from service.http.budget import Budget
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
                g.body, g.body_limit = received, 32 * MEBIBYTE
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
        g.body_limit = 32 * MEBIBYTE
        # More often than there are slots: none can have been lost.
        for _ in range(3):
            g.body = LARGE
            assert json_object() == {"a": 1}
            g.body = LARGE[:-1] + b"}"
            with pytest.raises(Problem, match="malformed_request"):
                json_object()
    assert body._LARGE_BODIES.acquire(blocking=False)
    body._LARGE_BODIES.release()


@pytest.fixture
def read(monkeypatch):
    """`read(bytes, limit=32 * MEBIBYTE)`: a body as it is parsed, where ten values are allowed."""
    monkeypatch.setattr(body, "MOST_VALUES", 10)
    monkeypatch.setattr(body, "MOST_VALUES_OF_SMALL", 5)

    def parse(received, limit=32 * MEBIBYTE):
        with Flask(__name__).test_request_context(content_type="application/json"):
            g.body, g.body_limit = received, limit
            return json_object()

    return parse


TEXT = json.dumps("[{," * 20 + '\\" and \\\\').encode()


@pytest.mark.parametrize(
    "received",
    [
        b'{"a":[1,2,3,4,5,6,7,8,9]}',
        b'{"a":' + TEXT + b"}",
        b'{"a":[' + TEXT + b"," + TEXT + b',"\\\\",[[[[[]]]]]]}',
        b'{"\\"[[[[[[[[[[":' + TEXT + b"}",
    ],
)
def test_text_is_one_value_whatever_stands_in_it(read, received):
    assert read(received) == json.loads(received)


@pytest.mark.parametrize(
    "received",
    [
        b'{"a":[1,2,3,4,5,6,7,8,9,10]}',
        b'{"a":' + b"[" * 10 + b"]" * 10 + b"}",
        b'{"a":' + b'{"b":' * 10 + b"1" + b"}" * 11,
        b'{"a":[' + TEXT + b"," + TEXT + b',"\\\\",[[[[[[[]]]]]]]]}',
        b'{"a":["","","","","","","","","",""]}',
        # Nobody has to find out whether this is JSON.
        b'"' * 100 + b"," * 11,
    ],
)
def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(read, received, monkeypatch):
    monkeypatch.setattr(strict_json, "decode", None)
    with pytest.raises(Problem, match="10 values at most") as refused:
        read(received)
    assert refused.value.code == "malformed_request"


def test_where_bodies_are_small_so_is_the_number_of_values(read):
    assert read(b'{"a":[1,2,3,4]}', limit=MEBIBYTE) == {"a": [1, 2, 3, 4]}
    with pytest.raises(Problem, match="5 values at most"):
        read(b'{"a":[1,2,3,4,5]}', limit=MEBIBYTE)


@pytest.mark.parametrize(
    "received",
    [b"[" * 31 * MEBIBYTE, b"\\" * 31 * MEBIBYTE + b"," * 600_000, b'",' * 15 * MEBIBYTE],
    ids=["lists", "escapes", "texts"],
)
def test_to_count_values_takes_no_time(received):
    began_at = time.process_time()
    with Flask(__name__).test_request_context():
        g.body_limit = 32 * MEBIBYTE
        with pytest.raises(Problem, match="values"):
            body._count_values(received)
    assert time.process_time() - began_at < 5


@pytest.mark.parametrize(("status", "left"), [(200, []), (400, [len(LARGE)]), (503, [len(LARGE)])])
def test_of_a_large_body_only_a_refusal_leaves_something_behind(monkeypatch, status, left):
    """To collect stops all streams, and an answer that was given refers to nothing of it."""
    behind = []
    monkeypatch.setattr(memory, "leave_behind", behind.append)
    app = Flask(__name__)
    body.init(app)

    @app.post("/")
    def read_it():
        body.limit_body(32 * MEBIBYTE)
        return str(len(body.body())), status

    for sent in (LARGE, JSON):
        with app.test_client().post("/", data=sent) as response:
            assert response.status_code == status
    assert behind == left


class Sent:
    """What a client sends, and how much of it was read."""

    def __init__(self, length):
        self.left = length

    def read(self, most):
        piece = b" " * min(most, self.left)
        self.left -= len(piece)
        return piece


class TooSlow(Sent):
    def read(self, most):
        if self.left < 2 * MEBIBYTE:
            raise TimeoutError
        return super().read(most)


@pytest.fixture
def budget(monkeypatch):
    """Room for eight mebibytes."""
    budget = Budget(8 * MEBIBYTE)
    monkeypatch.setattr(body, "_BUDGET", budget)
    return budget


@pytest.fixture
def receiving(budget):
    """`with receiving(stream):` a request whose body is received so."""
    app = Flask(__name__)
    body.init(app)

    def receive(stream, limit=32 * MEBIBYTE):
        # The stream ends by itself, as gunicorn's does.
        environ = create_environ(method="POST") | {"wsgi.input": stream, "wsgi.input_terminated": True}
        asked = app.request_context(environ)
        asked.push()
        body.limit_body(limit)
        return asked

    return receive


def test_a_body_takes_room_as_it_comes_and_gives_it_back_at_the_end(receiving, budget):
    asked = receiving(Sent(3 * MEBIBYTE))
    assert len(body.body()) == 3 * MEBIBYTE
    assert budget._taken == {None: 3 * MEBIBYTE}
    asked.pop()
    assert budget._taken == {}


def test_a_small_body_takes_no_room(receiving, budget):
    asked = receiving(Sent(64 * 1024))
    assert len(body.body()) == 64 * 1024
    assert budget._taken == {}
    asked.pop()


@pytest.mark.parametrize(
    ("stream", "code"), [(TooSlow(4 * MEBIBYTE), "malformed_request"), (Sent(3 * MEBIBYTE + 1), "payload_too_large")]
)
def test_whatever_comes_of_a_body_its_room_is_given_back(receiving, budget, stream, code):
    asked = receiving(stream, limit=3 * MEBIBYTE)
    with pytest.raises(Problem, match=code):
        body.body()
    assert budget._taken.total() >= 2 * MEBIBYTE
    asked.pop()
    assert budget._taken == {}


def test_a_body_for_which_there_is_no_room_is_refused_before_more_of_it_is_read(receiving, budget):
    stream = Sent(32 * MEBIBYTE)
    asked = receiving(stream)
    with pytest.raises(Problem, match="over_capacity") as refused:
        body.body()
    assert refused.value.retry_after == 1
    assert stream.left > 27 * MEBIBYTE
    asked.pop()
    assert budget._taken == {}


def test_one_license_leaves_half_of_the_room_to_others(budget):
    budget.take("one", 4 * MEBIBYTE)
    with pytest.raises(Problem, match="over_capacity"):
        budget.take("one", 1)
    budget.take("another", 3 * MEBIBYTE)
    with pytest.raises(Problem, match="over_capacity"):
        budget.take("a third", MEBIBYTE + 1)
    budget.give_back("one", MEBIBYTE)
    budget.take("a third", MEBIBYTE + 1)
