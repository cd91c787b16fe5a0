"""Streamed answers: events go through as they come, and their end waits for its charge.

Only `message_*` and `error` events are looked into. The last `message_delta` and what comes after
it are kept back until the hold is settled, so that nobody has a whole answer that is not paid for.
"""

import contextlib
from collections.abc import Generator, Iterable, Iterator

from ..problems import Problem, Reply
from . import sse, transcript
from .live_hold import LiveHold, Receipt
from .message import Message, parse_object, unreadable

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

    def __init__(self, hold: LiveHold, events: Generator[sse.Event], message: Message) -> None:
        self._hold = hold
        self.receipt = hold.receipt
        self.message = message
        self._handed_through = self._hand_through(events)

    def __iter__(self) -> Iterator[sse.Event]:
        for event in self._handed_through:
            self._hold.let_through.add(event)
            yield event

    def close(self) -> None:
        """Read to the end what nobody reads any more."""
        # Whoever should be told of a Problem is gone, and the hold has ended as it should.
        with contextlib.suppress(Problem):
            for _ in self._handed_through:
                pass

    def _hand_through(self, events: Generator[sse.Event]) -> Iterator[sse.Event]:
        try:
            try:
                tail = yield from self._until_the_end(events)
            except Exception as error:
                self._hold.fail(error, self.message.usage)
                raise
            self._hold.settle(self.message)
            yield from tail
        finally:
            self._hold.let_go()
            # The connection, which by itself would live as long as an error that tells of it.
            events.close()

    def _until_the_end(self, events: Iterable[sse.Event]) -> Generator[sse.Event, None, list[sse.Event]]:
        """Yield what may leave at once, and return the rest."""
        tail: list[sse.Event] = []
        tail_bytes = 0
        for event in events:
            if event.name == "error":
                raise _failure(event)
            if event.is_foreign():
                raise unreadable()
            self._hold.transcript.add(event.raw)
            self.message.read(event)
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
                yield event
        raise Problem("upstream_error", "The model's answer broke off. Nothing was charged.", retry_after_s=1)


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
