"""Everything that can become of a call, and what must come of it: written here, not observed.

An answer of the matrix has 20 input tokens at 1 credit and 3 output tokens at 5 credits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

PRICE = 35

# What the sandbox streams for three words. message_delta and message_stop leave after the charge.
EVENTS = (
    "message_start",
    "content_block_start",
    "ping",
    *["content_block_delta"] * 3,
    "content_block_stop",
    "message_delta",
    "message_stop",
)
ALL = len(EVENTS)
BEFORE_CHARGE = EVENTS.index("message_delta")

# The bytes of the same answer as JSON.
JSON_BYTES = 330

# More than ten times what is held, and than a small hold can be wrong by.
FAR_TOO_MUCH = "input_tokens=200000"

# So late that whoever is to come before an answer does so on any machine. Nobody waits for it alone.
LATE = "delay_ms=2000"

WHOLE = "the whole answer"
LEFT = "what came before it left"
TWIN = f"{WHOLE}; the second 409 `invalid_request_error`"


class Outcome(NamedTuple):
    """What came of a call, or must.

    Args:
        client: what it got; `asked_again`: what it gets without leaving, when it asks once more.
        repeats: whether asking again with the same key gives the same answer, and not a new call.
        listed: whether the operator finds it among the undelivered when it had no key; None: the
            last bytes were on their way when the client left, and nobody can tell.
    """

    client: str
    credits: int
    hold: str
    charges: int
    repeats: bool
    asked_again: str
    listed: bool | None = False


def paid(client: str = WHOLE, listed: bool | None = False) -> Outcome:
    return Outcome(client, PRICE, "settled", 1, True, WHOLE, listed)


def free(client: str, asked_again: str | None = None) -> Outcome:
    return Outcome(client, 0, "released", 0, False, asked_again or client)


def _breaking(error: str) -> Callable[[int], Outcome]:
    """A stream that ends with an error after so many of the upstream's events."""

    def outcome(events: int) -> Outcome:
        return paid() if events == ALL else free(f"{min(events, BEFORE_CHARGE)} events, then `error` (`{error}`)")

    return outcome


class Leaving(NamedTuple):
    """How a client leaves: after so many events, or before the answer (None)."""

    reset: bool
    after: int | None = None


@dataclass(frozen=True)
class Case:
    """One thing that happens, at each of some positions.

    Args:
        title: with `{}` for the position, or a range of them.
        directives: of the sandbox, with `{}` for the position.
        expected: for a position.
        server: which of the test's servers: `usual`, `impatient` or `deaf` (nobody is upstream).
        leaves: how the client leaves, for a position.
        twin: whether the same call is made once more while the first runs. Without a key these are
            just two calls, so it is made with one only.
    """

    title: str
    directives: str
    expected: Callable[[int], Outcome]
    stream: bool
    positions: Sequence[int] = (0,)
    server: str = "usual"
    leaves: Callable[[int], Leaving] | None = None
    twin: bool = False


def _always(outcome: Outcome) -> Callable[[int], Outcome]:
    return lambda _: outcome


_EVERYWHERE = range(ALL + 1)

_STATUSES = {
    400: "400 `invalid_request_error`",
    401: "502 `api_error`",
    403: "502 `api_error`",
    404: "404 `not_found_error`",
    413: "413 `request_too_large`",
    429: "429 `rate_limit_error`",
    500: "500 `api_error`",
    529: "529 `overloaded_error`",
}


def _of_both(stream: bool) -> Iterator[Case]:
    """What can happen before the first byte of an answer, however it is to come."""
    yield Case("The model answers", "", _always(paid()), stream)
    for status, client in _STATUSES.items():
        yield Case(f"The model's API says {status}", f"status={status}", _always(free(client)), stream)
    unreachable = _always(free("502 `api_error`"))
    yield Case("The model's API cannot be reached", "", unreachable, stream, server="deaf")
    yield Case("It closes the connection instead of answering", "close", unreachable, stream)
    late = _always(free("504 `timeout_error`"))
    yield Case("It says nothing until the time-out", "delay_ms=20000", late, stream, server="impatient")
    yield Case("The model refuses, with no output", "refusal", _always(free(WHOLE)), stream)
    yield Case("The model refuses after some output", "late_refusal", _always(paid()), stream)
    twins = _always(paid(TWIN))
    yield Case("The same call comes again while the first runs", LATE, twins, stream, twin=True)


def of_json() -> Iterator[Case]:
    """Calls whose answer comes in one piece."""
    yield from _of_both(stream=False)
    unreadable = free("502 `api_error`")
    yield Case("The answer is no JSON", "garbage", _always(unreadable), stream=False)
    yield Case("The answer has no usage", "no_usage", _always(unreadable), stream=False)
    yield Case("The answer is said to have used 200,000 tokens", FAR_TOO_MUCH, _always(unreadable), stream=False)
    yield Case(
        f"The connection breaks off after {{}} of {JSON_BYTES} bytes",
        "cut_after={}",
        lambda position: paid() if position == JSON_BYTES else unreadable,
        stream=False,
        positions=(0, 1, JSON_BYTES // 2, JSON_BYTES - 1, JSON_BYTES),
    )


def of_streams() -> Iterator[Case]:
    """Calls whose answer comes as events."""
    yield from _of_both(stream=True)
    no_event = free("0 events, then `error` (`api_error`)")
    yield Case("What comes are no events", "garbage", _always(no_event), stream=True)
    no_usage = free(f"{BEFORE_CHARGE} events, then `error` (`api_error`)")
    yield Case("The answer has no usage", "no_usage", _always(no_usage), stream=True)
    yield Case("The answer is said to have used 200,000 tokens", FAR_TOO_MUCH, _always(no_usage), stream=True)
    yield Case("`message_delta` comes three times, with growing usage", "repeat_delta", _always(paid()), stream=True)
    for title, directive, error in (
        ("The connection breaks off", "cut_after={}", "api_error"),
        ("The stream ends properly", "end_after={}", "api_error"),
        ("The model sends an error event", "error_after={}", "overloaded_error"),
        ("The stream falls silent until the time-out", "stall_after={}", "timeout_error"),
    ):
        yield Case(
            f"{title} after {{}} of {ALL} events",
            directive,
            _breaking(error),
            stream=True,
            positions=_EVERYWHERE,
            server="impatient" if error == "timeout_error" else "usual",
        )


def of_leaving_clients() -> Iterator[Case]:
    """Clients that are gone before the end."""
    for how, reset in (("closes the connection", False), ("resets the connection", True)):
        for stream in (False, True):
            yield Case(
                f"The client {how} before the {'stream' if stream else 'answer'} begins",
                LATE,
                _always(paid(LEFT, listed=True)),
                stream,
                leaves=lambda _, reset=reset: Leaving(reset),
            )
        yield Case(
            f"The client {how} after the headers of the answer",
            "",
            _always(paid(LEFT, listed=None)),
            stream=False,
            leaves=lambda _, reset=reset: Leaving(reset, 0),
        )
        yield Case(
            f"The client {how} after {{}} of {ALL} events",
            "event_delay_ms=250",
            _left_after,
            stream=True,
            positions=_EVERYWHERE,
            leaves=lambda events, reset=reset: Leaving(reset, events),
        )
    for title, directive, server, error in (
        ("and then the model's connection breaks off", "cut_after=8", "usual", "api_error"),
        ("and then the model sends an error event", "error_after=8", "usual", "overloaded_error"),
        ("and then the stream falls silent", "stall_after=8", "impatient", "timeout_error"),
    ):
        yield Case(
            f"The client resets the connection after 3 of {ALL} events, {title}",
            f"event_delay_ms=100] [sandbox {directive}",
            _always(free(LEFT, f"{BEFORE_CHARGE} events, then `error` (`{error}`)")),
            stream=True,
            server=server,
            leaves=lambda _: Leaving(True, 3),
        )


def _left_after(events: int) -> Outcome:
    if events == ALL:
        return paid()
    # The last two events leave together, right after the charge.
    return paid(LEFT, listed=True if events <= BEFORE_CHARGE else None)
