"""Streamed answers: events go through as they come, and their end waits for its charge.

Only `message_*` and `error` events are looked into. The last `message_delta` and what comes after
it are kept back until the hold is settled, so that nobody has a whole answer that is not paid for.
"""

import contextlib
import socket
from collections import deque
from collections.abc import Generator, Iterable, Iterator

from ..problems import Problem, Reply
from . import sse, transcript
from .live_hold import LiveHold, Receipt
from .message import CONTENT, Message, parse_object, unreadable
from .upstream import Events

# Bytes between the last message_delta and message_stop: a ping or two, and not an endless tail.
_LONGEST_TAIL = 1024 * 1024


# Errors that are about our account with the upstream, and by what status the client is told of each instead
# of their words: these name our organization, and its limits.
_ABOUT_US = {"rate_limit_error": 429, "authentication_error": 502, "permission_error": 502, "billing_error": 502}


class AnswerStream:
    """The events of one answer.

    Iterate to its end, or close it: then it reads on in the same thread until the upstream has
    ended and settles what was used, because the upstream charges for it. `message` is what the
    events have told so far; the receipt is complete once they have ended. Iterating raises Problem
    when there is no answer after all; nothing was charged then.
    """

    def __init__(self, hold: LiveHold, events: Events, message: Message) -> None:
        self._hold = hold
        self.receipt = hold.receipt
        self.message = message
        self._events = events
        # Whether the next event may leave at once, if it is of content.
        self._is_open = False
        self._given_back: deque[sse.Event] = deque()
        self._handed_through = self._hand_through()

    def __iter__(self) -> Iterator[sse.Event]:
        for event in self._handed_through:
            self._hold.let_through.add(event)
            yield event
            while self._given_back:
                yield self._given_back.popleft()

    @property
    def timeout_s(self) -> float:
        """The longest silence."""
        return self._events.timeout_s

    def waits_on(self) -> socket.socket | None:
        """While an event is handled: the socket on which the next ones come, when none has come yet and content may be
        taken in place of iterating on."""
        return self._events.socket if self._is_open and not self._given_back else None

    def take_content(self) -> list[sse.Event]:
        """What has come of content on the socket, without waiting. Then the iterator goes on, if there is no socket to
        wait on any more: it has what else has come, or raises."""
        taken: list[sse.Event] = []
        try:
            arrived = self._events.arrived()
            while arrived and arrived[0].name in CONTENT:
                event = arrived.popleft()
                self._look_at(event)
                self._hold.let_through.add(event)
                taken.append(event)
        except Exception as error:
            # With a part of it missing there is no answer.
            self._events.fail(error)
        return taken

    def give_up(self) -> None:
        """Nothing has come for too long: the iterator raises."""
        self._events.fail(TimeoutError("Nothing came for too long."))

    def give_back(self, events: Iterable[sse.Event]) -> None:
        """Have events that were taken iterated over after all."""
        self._given_back.extend(events)

    def close(self) -> None:
        """Read to the end what nobody reads any more."""
        # Whoever should be told of a Problem is gone, and the hold has ended as it should.
        with contextlib.suppress(Problem):
            for _ in self._handed_through:
                pass

    def _hand_through(self) -> Iterator[sse.Event]:
        try:
            try:
                tail = yield from self._until_the_end()
            except Exception as error:
                self._hold.fail(error, self.message.usage)
                raise
            self._hold.settle(self.message)
            yield from tail
        finally:
            self._hold.let_go()
            # The connection, which by itself would live as long as an error that tells of it.
            self._events.close()

    def _until_the_end(self) -> Generator[sse.Event, None, list[sse.Event]]:
        """Yield what may leave at once, and return the rest."""
        tail: list[sse.Event] = []
        tail_bytes = 0
        for event in self._events:
            if event.name == "error":
                raise _failure(event)
            self._look_at(event)
            if event.name == "message_stop":
                if self.message.stop_reason is None:
                    raise unreadable()
                return [*tail, event]
            if event.name == "message_delta":
                # A new message_delta shows that the one before was not the last: that one may leave.
                yield from tail
                tail, tail_bytes = [event], len(event.raw)
            elif tail:
                tail.append(event)
                tail_bytes += len(event.raw)
                if tail_bytes > _LONGEST_TAIL:
                    raise unreadable()
            else:
                self._is_open = True
                yield event
                self._is_open = False
        raise Problem("upstream_error", "The model's answer broke off. Nothing was charged.", retry_after_s=1)

    def _look_at(self, event: sse.Event) -> None:
        if event.is_foreign():
            raise unreadable()
        self._hold.transcript.add(event.raw)
        self.message.read(event)


class ReplayedStream:
    """The events of an answer that was stored, as `transcript.unseal` gives it: they are paid for."""

    def __init__(self, receipt: Receipt, stored: bytes) -> None:
        self.receipt = receipt
        self.message = Message()
        self._stored = stored

    def __iter__(self) -> Iterator[sse.Event]:
        for event in sse.events(transcript.pieces(self._stored)):
            self.message.read(event)
            yield event

    def close(self) -> None:
        """Nothing is in flight."""


def _failure(event: sse.Event) -> Problem:
    """The upstream itself says that there is no answer."""
    status = _ABOUT_US.get(_kind(event))
    return Problem(
        "upstream_error",
        "The model failed in the middle of its answer. Nothing was charged.",
        retry_after_s=1,
        reply=Reply(200, {}, event.data()) if status is None else Reply(status, {}, b""),
    )


def _kind(event: sse.Event) -> str:
    """The type of an error that an event tells; empty when it cannot be read."""
    try:
        error = parse_object(event.data()).get("error")
    except Problem:
        return ""
    return str(error.get("type")) if isinstance(error, dict) else ""
