"""docs/billing-matrix.md, out of what was found. Nothing in it changes from run to run."""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from cases import ALL, BEFORE_CHARGE, EVENTS, PRICE, Outcome
from running import Cell

NUMBERED = ",\n".join(
    ", ".join(f"{number} `{EVENTS[number - 1]}`" for number in numbers) for numbers in ((1, 2, 3), (4, 5, 6), (7, 8, 9))
)

INTRO = f"""# What is charged when

Look up what became of a call. Made by `tests/matrix/`, which makes each of these calls against a
real server and compares; after a change that is meant to be:

    UPDATE_GOLDEN=1 .venv/bin/pytest -n0 --no-cov tests/matrix

Every call here is a `POST /v1/messages`, asks for the same answer, and that answer costs {PRICE}
credits: 20 input tokens at 1 credit and 3 output tokens at 5. So **{PRICE}** means paid for once,
and **0** that nothing was charged and the credits that were set aside are back.

- *hold*: what became of the credits set aside, `settled` or `released`; there is none left open.
- *the client gets*: 502 and 504 are Obol's own errors; any other status is that of the model's API,
  with its error word for word (a 429's in words of Obol's own). In a stream an `error` event comes
  in place of the end.
- *the same key again*: what the same request with the same `Idempotency-Key` gets. "The same answer"
  costs nothing and is equal byte for byte; "a new call" asks the model again and, if it answers, is
  charged, because the first one was not.
- *no key*: without a key, asking again is always a new call. "Listed": the first one was charged
  and its end did not reach the client; the operator finds it with `obol holds --undelivered` and can
  give the credits back. "Perhaps": the end was on its way when the client left.

A stream of this answer has {ALL} events:
{NUMBERED}.
Those before `message_delta` leave as they come; the last two leave after the charge. That is why
nobody has more than {BEFORE_CHARGE} events of an answer that is not paid for.
"""

HEAD = (
    "| what happens | charged | hold | the client gets | the same key again | no key |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)


class Elsewhere(NamedTuple):
    """A row whose call is made by another test: it takes megabytes, minutes or a database of its own."""

    what_happens: str
    charged: str
    hold: str
    client: str
    again: str
    no_key: str
    test: str


ELSEWHERE = (
    Elsewhere(
        "The client of a stream takes nothing, or a few bytes now and then",
        "its price",
        "settled",
        "what it took; the rest waits for it, 60 s after the end and longer at 8 KiB a second",
        "the same answer",
        "a new call; listed",
        "tests/faults/test_slow_clients.py::test_a_client_that_takes_too_little_for_too_long_is_given_up_and_charged",
    ),
    Elsewhere(
        "Streams of a license break off again and again",
        "**0**",
        "released",
        "events, then `error`; after about `OBOL_UNPAID_TOKENS_PER_HOUR` of them 429 `rate_limit_error`",
        "a new call",
        "a new call",
        "tests/api/test_messages_unpaid.py::test_broken_streams_cannot_be_farmed",
    ),
    Elsewhere(
        "The client leaves while it waits for its turn",
        "**0**",
        "none",
        "nothing; the model is not asked",
        "a new call",
        "a new call",
        "tests/api/test_delivery.py::test_a_client_that_left_before_its_turn_came_is_not_asked_for",
    ),
    Elsewhere(
        "An SDK's time-out is shorter than the answer takes, and it asks again with the same key",
        "its price, once",
        "settled",
        "409 `invalid_request_error` until the first attempt has ended, then its answer",
        "the same answer",
        "each attempt is charged",
        "tests/clients/test_retries.py::test_an_answer_that_takes_longer_than_the_time_out_is_paid_once",
    ),
    Elsewhere(
        "The database is not at this release's migration",
        "**0**",
        "none",
        "503 `overloaded_error`; the model is not asked",
        "a new call",
        "a new call",
        "tests/api/test_revision.py::test_no_answer_is_sold",
    ),
)

ELSEWHERE_HEAD = (
    "## Made elsewhere\n\n"
    "| what happens | charged | hold | the client gets | the same key again | no key | test |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


def document(sections: dict[str, list[Cell]]) -> str:
    """All of the file: a table for each section, whose cells are in order, and the rows made elsewhere."""
    tables = [f"## {title}\n\n{HEAD}{_table(cells)}" for title, cells in sections.items()]
    elsewhere = "".join(f"| {' | '.join(row[:-1])} | `{row.test.partition('::')[0]}` |\n" for row in ELSEWHERE)
    return "\n".join([INTRO, *tables, ELSEWHERE_HEAD + elsewhere])


def _table(cells: Iterable[Cell]) -> str:
    by_title: dict[str, dict[int, list[Cell]]] = {}
    for cell in cells:
        by_title.setdefault(cell.case.title, {}).setdefault(cell.position, []).append(cell)
    return "".join(row for title, positions in by_title.items() for row in _rows(title, positions))


def _rows(title: str, positions: dict[int, list[Cell]]) -> Iterable[str]:
    """One row for each run of positions at which the same happens."""
    for columns, run in groupby(sorted(positions), key=lambda position: _columns(positions[position], position)):
        yield f"| {title.format(_range(list(run)))} | {columns} |\n"


def _range(run: list[int]) -> str:
    if run == list(range(run[0], run[-1] + 1)) and len(run) > 1:
        return f"{run[0]} to {run[-1]}"
    return ", ".join(str(position) for position in run)


def _columns(cells: list[Cell], position: int) -> str:
    keyed = next(cell.found for cell in cells if cell.keyed)
    keyless = next((cell.found for cell in cells if not cell.keyed), None)
    assert keyed is not None
    client = keyed.client
    if "{}" in cells[0].case.title:
        client = client.replace(f"{position} events, then", "these, then")
    again = "the same answer" if keyed.repeats else "a new call"
    return " | ".join([f"**{keyed.credits}**", keyed.hold, client, again, _without_key(keyed, keyless)])


def _without_key(keyed: Outcome, keyless: Outcome | None) -> str:
    if keyless is None:
        return "two calls"
    same = (keyed.client, keyed.credits, keyed.hold) == (keyless.client, keyless.credits, keyless.hold)
    assert same, "a key changes nothing of the call that it is on"
    return {True: "a new call; listed", None: "a new call; perhaps listed", False: "a new call"}[keyless.listed]
