"""Server-sent events, cut out of a stream of bytes without changing one of them.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# Far above the largest event that the Messages API sends; it bounds the memory that a stream takes.
LONGEST_EVENT = 8 * 1024 * 1024

# A line ends with CR LF, LF or CR, and an event with an empty line. (When the bytes end between a
# CR and its LF, that LF begins the next event, where an empty line means nothing.)
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")

# A line that begins with its colon is a comment.
_FIELDS = (b"", b"event", b"data", b"id", b"retry")


class Event(NamedTuple):
    """One event, or a block of comments (then without a name). `raw` is as it came."""

    name: str
    raw: bytes

    def data(self) -> bytes:
        """The data lines, joined by line feeds."""
        return b"\n".join(_values(self.raw, b"data"))

    def is_foreign(self) -> bool:
        """Whether there are lines and none of them is of this format."""
        if self.name:
            return False
        lines = [line for line in self.raw.splitlines() if line]
        return bool(lines) and not any(line.partition(b":")[0] in _FIELDS for line in lines)


class EventTooLong(Exception):
    """An event is longer than LONGEST_EVENT."""


class Cutter:
    """Cuts pieces of any length into events: all `raw`s joined are the pieces joined, but for an event at the end that
    was not finished, which nobody may act on."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def cut(self, piece: bytes) -> Iterator[Event]:
        """The events that end in the next piece.

        Raises:
            EventTooLong
        """
        buffer = self._buffer
        # The empty line may have begun in the bytes before.
        searched = max(0, len(buffer) - 3)
        buffer += piece
        begin = 0
        while end := _end(buffer, max(begin, searched)):
            raw = bytes(buffer[begin:end])
            begin = end
            # How it came makes no difference: in pieces it would have been too long before its end.
            if len(raw) > LONGEST_EVENT:
                raise EventTooLong
            yield Event(_name(raw), raw)
        del buffer[:begin]
        if len(buffer) > LONGEST_EVENT:
            raise EventTooLong


def events(pieces: Iterable[bytes]) -> Iterator[Event]:
    """The events of pieces of any length; see Cutter."""
    cutter = Cutter()
    for piece in pieces:
        yield from cutter.cut(piece)


def _end(buffer: bytearray, begin: int) -> int:
    """Where the first event ends whose last line ends behind a place; 0 when none does."""
    if buffer.find(b"\r", begin) < 0:
        # As all servers write them, and found ten times as fast.
        at = buffer.find(b"\n\n", begin)
        return at + 2 if at >= 0 else 0
    found = _END.search(buffer, begin)
    return found.end() if found else 0


def _name(raw: bytes) -> str:
    names = _values(raw, b"event")
    return names[-1].decode("utf-8", "replace") if names else ""


def _values(raw: bytes, field: bytes) -> list[bytes]:
    values = []
    for line in raw.splitlines():
        name, _, value = line.partition(b":")
        if name == field:
            values.append(value.removeprefix(b" "))
    return values
