"""Events go through as they come, and the end of an answer only once it is paid for."""

import json
import tracemalloc
import zlib
from uuid import uuid4

import pytest

from service.gateway import streams
from service.gateway.live_hold import LetThrough, Receipt
from service.gateway.message import Message
from service.gateway.sse import Event
from service.gateway.streams import AnswerStream, ReplayedStream
from service.problems import Problem, Reply


class Hold:
    """What happens to a hold, in order; settling fails with `unpaid`, if that is given."""

    def __init__(self, unpaid=None):
        self.receipt, self.transcript, self.unpaid = Receipt(uuid4()), self, unpaid
        self.kept, self.happened, self.let_through = b"", [], LetThrough()

    def add(self, piece):
        self.kept += piece

    def settle(self, message):
        self.happened.append(("settled", message.usage.get("output_tokens")))
        if self.unpaid:
            raise self.unpaid

    def fail(self, error, usage):
        self.happened.append(("failed", getattr(error, "code", str(error)), usage))

    def let_go(self):
        self.happened.append("let go")


def event(name, **data):
    return Event(name, f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode())


def delta(stop_reason=None, output=4):
    return event("message_delta", delta={"stop_reason": stop_reason}, usage={"output_tokens": output})


START = event("message_start", message={"model": "m", "usage": {"output_tokens": 1}})
TEXT = event("content_block_delta", delta={"text": "Hi"})
PING, COMMENT = event("ping"), Event("", b": note\n\n")
GOING_ON, END, STOP = delta(), delta("end_turn", 9), event("message_stop")
WHOLE = [START, TEXT, PING, END, STOP]
USED = {"output_tokens": 1}


def stream(hold, *events):
    return AnswerStream(hold, (event for event in events), Message())


def outcome(hold, *events):
    """The events that left, and the Problem in the end, if there was one."""
    left = []
    try:
        left.extend(stream(hold, *events))
    except Problem as problem:
        return left, problem
    return left, None


def test_a_whole_answer_goes_through_and_is_settled_once():
    hold = Hold()

    assert outcome(hold, *WHOLE) == (WHOLE, None)
    assert hold.happened == [("settled", 9), "let go"]
    assert hold.kept == b"".join(event.raw for event in WHOLE)


def test_the_end_of_an_answer_waits_for_its_charge():
    hold = Hold()
    going = iter(stream(hold, START, TEXT, END, PING, STOP))

    assert [next(going), next(going)] == [START, TEXT]
    assert hold.happened == []
    assert next(going) == END
    assert hold.happened == [("settled", 9)]
    assert list(going) == [PING, STOP]


def test_a_delta_that_was_not_the_last_leaves_with_the_next():
    hold = Hold()
    going = iter(stream(hold, START, GOING_ON, PING, delta("end_turn", 6), COMMENT, END, STOP))

    assert [next(going) for _ in range(5)] == [START, GOING_ON, PING, delta("end_turn", 6), COMMENT]
    assert hold.happened == []
    assert list(going) == [END, STOP]
    assert hold.happened == [("settled", 9), "let go"]


def test_nothing_after_the_end_is_read():
    def events():
        yield from WHOLE
        raise AssertionError("read on")

    hold = Hold()
    assert list(AnswerStream(hold, events(), Message())) == WHOLE
    assert hold.happened == [("settled", 9), "let go"]


@pytest.mark.parametrize("code", ["database_error", "max_credits_exceeded", "upstream_error"])
def test_what_cannot_be_paid_for_is_withheld(code):
    unpaid = Problem(code, "It could not be paid for.")
    hold = Hold(unpaid)

    assert outcome(hold, *WHOLE) == ([START, TEXT, PING], unpaid)
    # Settling has dealt with the hold.
    assert hold.happened == [("settled", 9), "let go"]


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([], []),
        ([START], [START]),
        ([START, TEXT], [START, TEXT]),
        ([START, TEXT, END], [START, TEXT]),
        ([START, TEXT, END, PING], [START, TEXT]),
    ],
)
def test_an_answer_that_breaks_off(events, left):
    hold = Hold()

    came, problem = outcome(hold, *events)
    assert came == left
    assert (problem.code, problem.retry_after) == ("upstream_error", 1)
    assert problem.detail == "The model's answer broke off. Nothing was charged."
    used = USED if events else {}
    assert hold.happened == [("failed", "upstream_error", {"output_tokens": 9} if END in events else used), "let go"]


@pytest.mark.parametrize("before", [[START, TEXT], [START, TEXT, END], [START, TEXT, GOING_ON, PING]])
def test_an_error_event_takes_the_place_of_the_end(before):
    error = event("error", type="error", error={"type": "overloaded_error", "message": "Busy."})
    hold = Hold()

    came, problem = outcome(hold, *before, error, STOP)
    assert came == [START, TEXT]
    assert problem.reply == Reply(200, {}, error.data())
    assert (problem.code, problem.retry_after) == ("upstream_error", 1)
    assert "Busy" not in problem.detail
    assert hold.happened[0][:2] == ("failed", "upstream_error")


@pytest.mark.parametrize(
    ("kind", "status"),
    [("rate_limit_error", 429), ("authentication_error", 502), ("permission_error", 502), ("billing_error", 502)],
)
def test_an_error_about_our_account_is_not_told_in_its_words(kind, status):
    error = event("error", type="error", error={"type": kind, "message": "Your organization (5a4d) may …"})
    _, problem = outcome(Hold(), START, TEXT, error)
    assert problem.reply == Reply(status, {}, b"")
    assert "organization" not in problem.detail


@pytest.mark.parametrize("data", [b"busy", b"[]", b'{"error": "busy"}', b'{"error": null}'])
def test_an_error_event_that_cannot_be_read_crosses_as_it_is(data):
    error = Event("error", b"event: error\ndata: " + data + b"\n\n")
    _, problem = outcome(Hold(), START, TEXT, error)
    assert problem.reply == Reply(200, {}, data)


@pytest.mark.parametrize(
    "last",
    [
        [STOP],
        [START],
        [event("future", type="message_stop")],
        [event("ping", type="message_stop")],
        [Event("", b'data: {"type": "message_stop"}\n\n')],
        [GOING_ON, STOP],
        [Event("", b"<html></html>\n\n")],
        [event("message_delta", delta=None)],
        [Event("message_delta", b"event: message_delta\ndata: {\n\n")],
        [END, Event("", b"<html></html>\n\n")],
    ],
    ids=str,
)
def test_an_end_that_nobody_could_read(last):
    hold = Hold()

    came, problem = outcome(hold, START, TEXT, *last, STOP)
    assert came == [START, TEXT]
    assert (problem.code, problem.detail) == (
        "upstream_error",
        "The model's answer could not be read. Nothing was charged.",
    )
    assert hold.happened[0][0] == "failed"
    assert hold.happened[1:] == ["let go"]


def test_a_tail_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(streams, "_LONGEST_TAIL", len(END.raw) + 3 * len(PING.raw))

    assert outcome(Hold(), START, TEXT, END, PING, PING, PING, STOP)[1] is None
    came, problem = outcome(Hold(), START, TEXT, END, PING, PING, PING, PING, STOP)
    assert (came, problem.detail[:36]) == ([START, TEXT], "The model's answer could not be read")


@pytest.mark.timeout(20)
def test_a_tail_of_many_small_events_takes_no_more_time_than_its_bytes():
    came, problem = outcome(Hold(), START, TEXT, END, *[Event("", b": \n\n")] * 100_000, STOP)
    assert (len(came), problem) == (100_004, None)


def test_blank_lines_between_events_mean_nothing():
    blank = [Event("", b"\n\n"), Event("", b"\r\n\r\n"), Event("", b"\r\r")]
    events = [blank[0], START, *blank, TEXT, END, blank[1], STOP]
    hold = Hold()

    assert outcome(hold, *events) == (events, None)
    assert hold.happened == [("settled", 9), "let go"]
    # What is kept for a retry is cut into events again.
    assert b"".join(event.raw for event in ReplayedStream(hold.receipt, zlib.compress(hold.kept))) == hold.kept


def test_the_last_delta_itself_is_part_of_the_tail(monkeypatch):
    monkeypatch.setattr(streams, "_LONGEST_TAIL", len(END.raw) + len(PING.raw) - 1)

    assert outcome(Hold(), START, END, STOP)[1] is None
    # The next delta begins another tail.
    assert outcome(Hold(), START, *[END] * 5, STOP)[1] is None
    assert "could not be read" in outcome(Hold(), START, END, PING, STOP)[1].detail


def test_an_upstream_that_fails_while_it_sends():
    def events():
        yield START
        raise Problem("upstream_timeout", "Too late.")

    hold = Hold()
    with pytest.raises(Problem, match="upstream_timeout"):
        list(AnswerStream(hold, events(), Message()))
    assert hold.happened == [("failed", "upstream_timeout", USED), "let go"]


def test_what_nobody_thought_of_ends_the_hold_all_the_same():
    def events():
        yield START
        raise RuntimeError("secret")

    hold = Hold()
    with pytest.raises(RuntimeError):
        list(AnswerStream(hold, events(), Message()))
    assert hold.happened == [("failed", "secret", USED), "let go"]


@pytest.mark.parametrize("read", range(len(WHOLE) + 1))
def test_what_nobody_reads_any_more_is_read_to_its_end_and_settled(read):
    hold = Hold()
    answer = stream(hold, *WHOLE)
    for _, _ in zip(range(read), answer, strict=False):
        pass

    answer.close()
    assert hold.happened == [("settled", 9), "let go"]
    assert hold.kept == b"".join(event.raw for event in WHOLE)
    answer.close()
    assert hold.happened == [("settled", 9), "let go"]


def test_nobody_is_told_of_what_goes_wrong_when_nobody_reads():
    hold = Hold()
    stream(hold, START, TEXT).close()
    assert hold.happened == [("failed", "upstream_error", USED), "let go"]


def test_what_nobody_thought_of_is_told_when_nobody_reads():
    def events():
        yield START
        raise RuntimeError("secret")

    hold = Hold()
    # Whoever has closed it can log it.
    with pytest.raises(RuntimeError):
        AnswerStream(hold, events(), Message()).close()
    assert hold.happened == [("failed", "secret", USED), "let go"]


def test_a_long_stored_answer_is_cut_while_it_is_read():
    many = [START, *[TEXT] * 20_000, END, STOP]
    replayed = iter(ReplayedStream(Receipt(uuid4()), zlib.compress(b"".join(event.raw for event in many))))

    tracemalloc.start()
    try:
        assert sum(len(event.raw) for event in replayed) == sum(len(event.raw) for event in many) > 1_000_000
        assert tracemalloc.get_traced_memory()[1] < 600_000
    finally:
        tracemalloc.stop()


def test_a_stored_answer_comes_as_it_was_stored():
    receipt = Receipt(uuid4(), charged=3, balance=4)
    replayed = ReplayedStream(receipt, zlib.compress(b"".join(event.raw for event in WHOLE)))

    assert list(replayed) == WHOLE
    assert (replayed.message.stop_reason, replayed.message.usage) == ("end_turn", {"output_tokens": 9})
    assert replayed.receipt is receipt
    replayed.close()
