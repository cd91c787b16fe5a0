"""Content that comes while a stream's thread waits is handed on without it, and all the rest by it, as if it always
were."""

import contextlib
import json
import socket
import threading
from uuid import uuid4

import pytest
from factories import wait_until

from service.api.relaying import Relaying
from service.gateway.connections import Received
from service.gateway.live_hold import LetThrough, Receipt
from service.gateway.message import Message
from service.gateway.relay import Relay
from service.gateway.sse import events as events_of
from service.gateway.streams import AnswerStream
from service.gateway.upstream import Upstream
from service.http.connection import PIECE, as_it_comes
from service.problems import Problem

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Hold:
    """What becomes of a hold."""

    def __init__(self):
        self.receipt, self.transcript, self.let_through = Receipt(uuid4()), self, LetThrough()
        self.kept, self.happened = b"", []

    def add(self, piece):
        self.kept += piece

    def settle(self, message):
        self.happened.append(("settled", message.usage["output_tokens"]))

    def fail(self, error, usage):
        self.happened.append(("failed", getattr(error, "code", type(error).__name__)))

    def let_go(self):
        self.happened.append("let go")


def event(name, **data):
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def text(said):
    return event("content_block_delta", delta={"text": said})


START = event("message_start", message={"model": "m", "usage": {"output_tokens": 1}})
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4}) + event("message_stop")
LAST = b"0\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


class Served:
    """A stream on its way from an upstream, that says what it is told to, to a client.

    `way` is told of each event that takes the thread's own way."""

    def __init__(self, context=None, timeout_s=5, translate=lambda event: event.raw):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.context, self.connection = context, None
        self.ours, self.client = socket.socketpair()
        # As the worker has them.
        self.ours.setblocking(False)
        self.client.settimeout(5)
        self.hold, self.translate, self.way = Hold(), translate, []
        self.problem, self.received, self.response = None, b"", Received()
        self.response.feed(HEAD)
        threading.Thread(target=self._accept, daemon=True).start()
        scheme = "http" if context is None else "https"
        self.upstream = Upstream("k", f"{scheme}://localhost:{self.listener.getsockname()[1]}", timeout_s)
        self.stream = AnswerStream(self.hold, self.upstream.stream("/v1/messages", b"{}", {}), Message())
        self.relaying = Relaying(Relay(), self.stream, connection=self.ours, translate=translate)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _accept(self):
        connection, _ = self.listener.accept()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        connection.recv(65536)
        connection.sendall(HEAD)
        self.connection = connection

    def _chunks(self):
        try:
            for event in self.stream:
                self.way.append(event.raw)
                yield self.translate(event)
        except Exception as problem:
            self.problem = problem

    def _serve(self):
        # A client that has left is nothing that anybody is told of.
        with contextlib.suppress(BrokenPipeError):
            for piece in as_it_comes(self._chunks(), self.ours, self.relaying.between):
                # As it leaves the socket of a client that reads slowly: waiting.
                self.ours.settimeout(5)
                self.ours.sendall(chunk(piece))
        self.stream.close()
        self.ours.close()

    def say(self, *data):
        wait_until(lambda: self.connection is not None)
        self.connection.sendall(b"".join(data))

    def hear(self, *data):
        """The client gets this next, whatever chunks it comes in."""
        expected = b"".join(data)
        while len(self.received) < len(expected):
            self._hear(self.client.recv(65536))
        heard, self.received = self.received[: len(expected)], self.received[len(expected) :]
        assert heard == expected

    def _hear(self, piece):
        self.response.feed(piece)
        self.received += self.response.take()

    def end(self):
        """What the client has not heard until the end."""
        while piece := self.client.recv(65536):
            self._hear(piece)
        self.thread.join(5)
        return self.received

    def close(self):
        for each in (self.listener, self.client, *[self.connection] * (self.connection is not None)):
            each.close()
        self.thread.join(5)
        self.upstream._connections.close()


@pytest.fixture
def serve():
    """`serve(context=None, timeout_s=5, translate=…)`: a stream that is served."""
    made = []

    def start(**values):
        made.append(Served(**values))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture(params=["plain", "tls"])
def served(request, serve):
    return serve(context=request.getfixturevalue("certified") if request.param == "tls" else None)


def test_content_is_handed_on_without_the_thread_and_the_end_by_it(served):
    block = event("content_block_start", content_block={"type": "text", "text": ""})
    ping, stop = event("ping"), event("content_block_stop")
    served.say(chunk(START))
    served.hear(START)
    for said in (block, text("a"), ping, text("b") + text("c"), stop):
        served.say(chunk(said))
        served.hear(said)
    assert served.way == [START]
    assert served.hold.happened == []
    assert (served.hold.let_through.events, served.hold.let_through.tokens) == (7, 3)

    served.say(chunk(END), LAST)
    assert served.end() == END
    assert served.hold.happened == [("settled", 4), "let go"]
    whole = [START, block, text("a"), ping, text("b"), text("c"), stop, *(one.raw for one in events_of([END]))]
    assert served.hold.kept == b"".join(whole)
    assert served.hold.let_through.bytes == len(served.hold.kept)


def test_what_comes_in_pieces_and_what_comes_at_once(served):
    served.say(chunk(START))
    served.hear(START)
    for byte in chunk(text("a")):
        served.say(bytes([byte]))
    served.hear(text("a"))
    served.say(chunk(text("b") + text("c")[:9]))
    served.hear(text("b"))
    served.say(chunk(text("c")[9:] + event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 1})))
    served.hear(text("c"))
    # Of this delta nobody knows yet whether it is the last, and what comes next must not overtake it.
    more = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    served.say(chunk(more))
    served.hear(event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 1}))
    served.say(chunk(text("d")))
    served.say(chunk(END), LAST)
    served.hear(more, text("d"))
    assert served.end() == END
    assert served.hold.happened == [("settled", 4), "let go"]


def test_large_records_are_read_to_their_end(served):
    served.say(chunk(START))
    served.hear(START)
    said = b"".join(text(str(number)) for number in range(1000))
    served.say(chunk(said), chunk(END), LAST)
    assert served.end() == said + END
    assert served.hold.kept == START + said + END


def test_a_client_that_takes_nothing_does_not_stop_the_others_nor_lose_anything(serve):
    served = serve()
    served.say(chunk(START))
    served.hear(START)
    said = [text(f"{number} " + "x" * (PIECE // 2)) for number in range(200)]
    for one in said:
        served.say(chunk(one))
    # The rest is in the spool: the thread has read it without its client.
    wait_until(lambda: served.hold.kept == b"".join([START, *said]))
    assert len(served.way) > 1
    served.say(chunk(END), LAST)
    served.hear(*said)
    assert served.end() == END


def test_a_client_that_takes_a_part_gets_the_rest(serve):
    served = serve()
    served.say(chunk(START))
    served.hear(START)
    taken = []

    class Narrow:
        def __getattr__(self, name):
            return getattr(served.ours, name)

        def send(self, data, flags=0):
            taken.append(served.ours.send(data[:10], flags))
            return taken[-1]

        def sendall(self, data):
            served.ours.sendall(data)

    served.relaying._connection = Narrow()
    served.say(chunk(text("a")))
    served.hear(text("a"))
    served.say(chunk(text("b")), chunk(END), LAST)
    served.hear(text("b"))
    assert served.end() == END
    assert taken
    assert set(taken) == {10}


def test_a_client_that_has_left_is_not_written_to_and_the_answer_is_read_to_its_end(serve):
    served = serve()
    served.say(chunk(START))
    served.hear(START)
    served.client.close()
    served.say(chunk(text("a")))
    served.say(chunk(text("b")), chunk(END), LAST)
    served.thread.join(5)
    assert served.hold.kept == START + text("a") + text("b") + END
    assert served.hold.happened == [("settled", 4), "let go"]


def test_what_cannot_be_translated_is_told_by_the_thread(serve):
    def translate(event):
        if b"bad" in event.raw:
            raise Problem("upstream_error", "No.")
        return event.raw

    served = serve(translate=translate)
    served.say(chunk(START))
    served.hear(START)
    served.say(chunk(text("a")))
    served.hear(text("a"))
    served.say(chunk(text("b") + text("bad")), chunk(END), LAST)
    assert served.end() == text("b")
    assert served.problem.detail == "No."


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (chunk(event("error", error={"type": "api_error"})), "upstream_error"),
        (chunk(b"<html></html>\n\n"), "upstream_error"),
        (chunk(event("content_block_delta", message='"type":"message_') .replace(b'\\"', b'"')), "upstream_error"),
        (b"no chunk\r\n", "upstream_error"),
        (LAST, "upstream_error"),
    ],
    ids=["error", "foreign", "of another name", "not in chunks", "ended"],
)  # fmt: skip
def test_what_is_no_content_is_raised_by_the_iterator(serve, said, code):
    served = serve()
    served.say(chunk(START))
    served.hear(START)
    served.say(chunk(text("a")))
    served.hear(text("a"))
    served.say(said)
    assert served.end() == b""
    assert served.problem.code == code
    assert served.hold.happened == [("failed", code), "let go"]


def test_an_upstream_that_breaks_off(served):
    served.say(chunk(START))
    served.hear(START)
    served.connection.shutdown(socket.SHUT_RDWR)
    assert served.end() == b""
    assert served.hold.happened == [("failed", "upstream_error"), "let go"]


def test_an_upstream_that_says_nothing_any_more(serve, monkeypatch):
    monkeypatch.setattr("service.gateway.relay._SWEEP_S", 0.01)
    served = serve(timeout_s=0.2)
    served.say(chunk(START))
    served.hear(START)
    served.say(chunk(text("a")))
    served.hear(text("a"))
    assert served.end() == b""
    assert served.hold.happened == [("failed", "upstream_timeout"), "let go"]


def test_a_stream_that_is_too_long(serve, monkeypatch):
    monkeypatch.setattr("service.gateway.upstream.MOST_STREAM_BYTES", len(START) + 20)
    served = serve()
    served.say(chunk(START))
    served.hear(START)
    served.say(chunk(text("a")))
    assert served.end() == b""
    assert served.hold.happened == [("failed", "upstream_error"), "let go"]


def test_what_nobody_thought_of_is_no_answer(serve, monkeypatch):
    served = serve()
    served.say(chunk(START))
    served.hear(START)
    monkeypatch.setattr(served.hold.let_through, "add", lambda _: 1 / 0)
    served.say(chunk(text("a")), chunk(text("b")), chunk(END), LAST)
    served.thread.join(5)
    assert served.hold.happened == [("failed", "ZeroDivisionError"), "let go"]
