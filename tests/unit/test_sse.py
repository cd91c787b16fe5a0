"""Bytes are cut into events, and none of them is changed or lost."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gateway import sse
from service.gateway.sse import Event, EventTooLong, events

STREAM = (
    b'event: message_start\ndata: {"a": 1}\n\n'
    b": a comment\n\n"
    b"event: ping\r\ndata: x\r\ndata: y\r\n\r\n"
    b"data\rid: 7\r\r"
    b"event: message_stop\ndata: {}\n\n"
)
NAMES = ["message_start", "", "ping", "", "message_stop"]


def cut(stream, at):
    """A stream in pieces that end at these places."""
    places = [0, *sorted(at), len(stream)]
    return [stream[begin:end] for begin, end in itertools.pairwise(places)]


def test_events_have_a_name_and_their_own_bytes():
    found = list(events([STREAM]))

    assert [event.name for event in found] == NAMES
    assert b"".join(event.raw for event in found) == STREAM


@settings(deadline=None, database=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_how_the_bytes_come_makes_no_difference(places):
    found = list(events(cut(STREAM, places)))

    assert [event.name for event in found] == NAMES
    assert [event.data() for event in found] == [b'{"a": 1}', b"", b"x\ny", b"", b"{}"]
    assert b"".join(event.raw for event in found) == STREAM


def test_byte_for_byte_is_the_same_events():
    found = list(events(bytes([byte]) for byte in STREAM))

    assert [event.name for event in found] == NAMES
    assert b"".join(event.raw for event in found) == STREAM


def test_an_event_leaves_as_soon_as_it_is_whole():
    asked = []

    def pieces():
        for piece in (b"event: a\n", b"\n", b"event: b\n\n"):
            asked.append(piece)
            yield piece

    assert next(events(pieces())).name == "a"
    assert len(asked) == 2


@pytest.mark.parametrize("rest", [b"event: message_stop\ndata: {}\n", b"event: mess", b"\n"])
def test_an_event_that_is_not_finished_is_none(rest):
    assert [event.name for event in events([b"event: a\n\n", rest])] == ["a"]


def test_no_bytes_are_no_events():
    assert list(events([])) == []
    assert list(events([b"", b""])) == []


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data:  a\n\n", b" a"),
        (b"data: a: b\n\n", b"a: b"),
        (b"data\n\n", b""),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"datax: a\n\n", b""),
        (b": data: a\n\n", b""),
    ],
)
def test_the_data_of_an_event(raw, data):
    (event,) = events([raw])
    assert event.data() == data


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"event: a\nevent: b\n\n", "b"),
        (b"event:a\n\n", "a"),
        (b"data: event: a\n\n", ""),
        (b"event: \xff\n\n", "\ufffd"),
        # It is the field that names an event, wherever it stands.
        (b"data: {}\nevent: late\n\n", "late"),
    ],
)
def test_the_name_of_an_event(raw, name):
    assert [event.name for event in events([raw])] == [name]


@pytest.mark.parametrize("raw", [b"<html>\xff</html>\n\n", b"{}\n\n", b"hello\nworld\n\n", b" data: x\n\n"])
def test_what_is_of_another_format(raw):
    assert Event("", raw).is_foreign()


@pytest.mark.parametrize(
    "raw", [b": note\n\n", b"data: x\n\n", b"future: x\nevent: y\n\n", b"id: 1\n\n", b"retry: 1\n\n", b"\ndata: x\n\n"]
)
def test_what_is_of_this_format(raw):
    assert not Event("", raw).is_foreign()


def test_empty_lines_are_of_this_format():
    # "If the data buffer is an empty string": a block without lines means nothing, and is no error.
    for raw in (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"):
        (event,) = events([raw])
        assert (event, event.is_foreign(), event.data()) == (("", raw), False, b"")
    assert Event("", b"\n\n<html>\n\n").is_foreign()


def test_the_longest_event_is_bounded(monkeypatch):
    monkeypatch.setattr(sse, "LONGEST_EVENT", 10)
    fits, too_long = b"data: 45\n\n", b"data: 45678"

    assert len(list(events([fits[:8], fits[8:]]))) == 1
    # Many short ones are no long one.
    assert len(list(events([b"data: 1\n\n"] * 5))) == 5
    # With its end, too, and however it comes.
    for end in (b"", b"\n\n"):
        for pieces in ([too_long + end], [bytes([byte]) for byte in too_long + end]):
            with pytest.raises(EventTooLong):
                list(events(pieces))


def test_what_came_before_an_event_that_is_too_long_has_left(monkeypatch):
    monkeypatch.setattr(sse, "LONGEST_EVENT", 10)
    found = events([b"data: 1\n\ndata: 45678"])

    assert next(found).data() == b"1"
    with pytest.raises(EventTooLong):
        next(found)
