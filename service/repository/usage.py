"""What a license used: its entries, its usage by day and model, and the receipts of its charges."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from .admin import OWNER, Actor

_READER = ":digest, :token_digest, :request_id"
_SPAN = text(
    f"SELECT * FROM obol.entry_span(:license_id, CAST(:from_at AS timestamptz), CAST(:to_at AS timestamptz), {_READER})"
)
_LIST_ENTRIES = text(
    "SELECT * FROM obol.list_entries_v2(:license_id, CAST(:kind AS text), CAST(:model AS text), CAST(:key_id AS uuid), "
    "CAST(:from_at AS timestamptz), CAST(:to_at AS timestamptz), :after, CAST(:before AS bigint), :limit, "
    f"{_READER})"
)
_USAGE = text(
    "SELECT * FROM obol.show_usage(:license_id, CAST(:first AS date), CAST(:last AS date), :by_day, :by_model, "
    f":by_key, {_READER})"
)
_BALANCES = text(f"SELECT * FROM obol.show_balances(:license_id, CAST(:first AS date), CAST(:last AS date), {_READER})")
_RECEIPT = text(f"SELECT * FROM obol.show_receipt(:license_id, :cause_id, {_READER})")
_ARCHIVED = text(f"SELECT * FROM obol.show_archived(:license_id, {_READER})")
_ROLL_UP = text("SELECT obol.roll_up_usage(:license_id, :most)")
_DUE = text("SELECT * FROM obol.due_rollups_v2(:least, :most, CAST(:within_s AS integer))")

# What an entry can be.
KINDS = ("grant", "deduction", "charge", "refund", "expiry", "void", "adjustment")

DIMENSIONS = ("day", "model", "key")

# Entries that one statement looks at where all of a statement is read: some milliseconds.
BATCH = 1000

# The same where few of them may be wanted; and how often for one page, which then ends early.
WINDOW = 20_000
MOST_WINDOWS = 20

# Fewer entries than this are as quickly read as a roll-up.
LEAST_ROLLED_UP = 500
# Entries that one statement rolls up: a tenth of a second.
MOST_ROLLED_UP = 5000


class Reader(NamedTuple):
    """Whose license is read, and by whom, as the database is told: with a key of it, or as an operator."""

    license_id: UUID
    digest: bytes | None
    token_digest: bytes | None
    request_id: str | None

    @classmethod
    def with_key(cls, key: KeyDigest) -> "Reader":
        return cls(key.license_id, key.digest, None, None)

    @classmethod
    def operator(cls, license_id: UUID, actor: Actor = OWNER) -> "Reader":
        return cls(license_id, None, actor.token_digest, actor.request_id)


class Filters(NamedTuple):
    """Which entries are wanted: of a kind, of a model, of a key, from one time on, before another;
    None: any."""

    kind: str | None = None
    model: str | None = None
    key_id: UUID | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None


ALL = Filters()


class Entry(NamedTuple):
    """A ledger entry, as the statement has it."""

    entry_no: int
    kind: str
    amount: int
    balance_after: int
    cause_id: UUID
    reference: str | None
    model: str | None
    key_id: UUID | None
    usage: dict[str, Any] | None
    created_at: datetime


class Span(NamedTuple):
    """Entries numbered above `after_no`, up to `through_no`."""

    after_no: int
    through_no: int


class UsageRow(NamedTuple):
    """What was used, by as much of day (UTC), model and key as was asked for. `credits` is what charges and
    deductions took; what came back stands beside it, under its own day."""

    day: date | None
    model: str | None
    key_id: UUID | None
    calls: int
    credits: int
    input_tokens: int
    output_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    cache_read_tokens: int
    refunded: int


FIGURES = UsageRow._fields[len(DIMENSIONS) :]


class DayBalance(NamedTuple):
    """The balance at the end of a day (UTC)."""

    day: date
    balance: int


class Receipt(NamedTuple):
    """What a charge or a deduction took, for what, of which grants, and what of it has come back.

    `draws` are {"grant_id", "amount"}, or None for what was taken before grants had lifetimes; `refunds` are
    {"refund_id", "entry_no", "amount", "reference", "created_at"}. The hold's are None for a deduction.
    """

    cause_id: UUID
    kind: str
    entry_no: int
    charged: int
    shortfall: int
    balance_after: int
    reference: str | None
    model: str | None
    key_id: UUID | None
    price: dict[str, Any] | None
    usage: dict[str, Any] | None
    created_at: datetime
    hold_amount: int | None
    opened_at: datetime | None
    delivered_at: datetime | None
    draws: list[dict[str, Any]] | None
    refunds: list[dict[str, Any]]
    refunded: int


class ArchivedEntries(NamedTuple):
    """How many entries of a license are in the archive and in no statement, and the time of the newest of them."""

    entries: int
    until: datetime


class EntriesPage(NamedTuple):
    """Entries, newest first. `before`: what the next page begins with; None at the end. `archived`: what is older
    than the last page; None before that, and where there is nothing."""

    entries: list[Entry]
    before: int | None
    archived: ArchivedEntries | None = None


def page(db: Database, reader: Reader, filters: Filters = ALL, *, before: int | None = None, limit: int) -> EntriesPage:
    """Entries numbered below `before` (None: from the newest). A page may have fewer than `limit` and not be the last
    one, where what is wanted is rare.

    Raises: Problem license_invalid, admin_forbidden.
    """
    if filters == ALL:
        # One more than asked for tells whether there is another page.
        rows = _read(db, reader, filters, after=0, before=before, limit=limit + 1)
        return _cut(db, reader, rows, limit=limit)
    after, begin = span(db, reader, filters)
    begin = begin + 1 if before is None else min(before, begin + 1)
    rows = []
    for _ in range(MOST_WINDOWS):
        low = max(after, begin - WINDOW - 1)
        rows += _read(db, reader, filters, after=low, before=begin, limit=limit + 1 - len(rows))
        if len(rows) > limit or low == after:
            return _cut(db, reader, rows, limit=limit)
        begin = low + 1
    return EntriesPage(rows, begin)


def _cut(db: Database, reader: Reader, rows: list[Entry], *, limit: int) -> EntriesPage:
    if len(rows) > limit:
        return EntriesPage(rows[:limit], rows[limit - 1].entry_no)
    if rows and rows[-1].entry_no == 1:
        return EntriesPage(rows, None)
    return EntriesPage(rows, None, archived(db, reader))


def archived(db: Database, reader: Reader) -> ArchivedEntries | None:
    """What of a license is in the archive; None: nothing.

    Raises: Problem license_invalid, admin_forbidden.
    """
    rows = db.rows(_ARCHIVED, **reader._asdict())
    return ArchivedEntries._make(rows[0]) if rows else None


def span(db: Database, reader: Reader, filters: Filters = ALL) -> Span:
    """Which entries may be of the filters' time, up to the newest one as of now. Entries never change: whoever reads
    what is numbered so reads what there was at this moment.

    Raises: Problem license_invalid, admin_forbidden.
    """
    row = db.row(_SPAN, from_at=filters.from_at, to_at=filters.to_at, **reader._asdict())
    return Span._make(row)


def batches(db: Database, reader: Reader, filters: Filters, *, of: Span) -> Iterator[list[Entry]]:
    """Every entry of a span, newest first, some at a time: each a statement of its own, with nothing open between two.
    A batch can be empty.

    Raises: Problem license_invalid, admin_forbidden.
    """
    for through in range(of.through_no, of.after_no, -BATCH):
        after = max(of.after_no, through - BATCH)
        yield _read(db, reader, filters, after=after, before=through + 1, limit=BATCH)


def _read(db: Database, reader: Reader, filters: Filters, *, after: int, before: int | None, limit: int) -> list[Entry]:
    rows = db.rows(_LIST_ENTRIES, after=after, before=before, limit=limit, **filters._asdict(), **reader._asdict())
    return [Entry._make(row) for row in rows]


def usage(db: Database, reader: Reader, *, first: date, last: date, by: tuple[str, ...] = DIMENSIONS) -> list[UsageRow]:
    """What was used from a day (UTC) to another, by what `by` names of DIMENSIONS; oldest first.

    Raises: Problem license_invalid, admin_forbidden.
    """
    wanted = {f"by_{name}": name in by for name in DIMENSIONS}
    rows = db.rows(_USAGE, first=first, last=last, **wanted, **reader._asdict())
    return [UsageRow(*row[: len(DIMENSIONS)], *map(int, row[len(DIMENSIONS) :])) for row in rows]


def balances(db: Database, reader: Reader, *, first: date, last: date) -> list[DayBalance]:
    """The balance at the end of each day (UTC) from one to another, oldest first; the first row is of the day before
    the first entry, or of the newest entry of the archive, where that is later. Ninety days take some tens of
    milliseconds, however many entries there are.

    Raises: Problem license_invalid, admin_forbidden.
    """
    rows = db.rows(_BALANCES, first=first, last=last, **reader._asdict())
    return [DayBalance._make(row) for row in reversed(rows)]


def receipt(db: Database, reader: Reader, cause_id: UUID) -> Receipt:
    """Of the charge of a hold, or of a deduction.

    Raises: Problem license_invalid, admin_forbidden, hold_not_found.
    """
    row = db.row(_RECEIPT, cause_id=cause_id, **reader._asdict())
    found = Receipt._make(row)
    return found._replace(refunded=int(found.refunded))


def due_rollups(
    db: Database, least: int = LEAST_ROLLED_UP, most: int = 100, *, within_s: int | None = None
) -> list[UUID]:
    """Licenses of which `least` entries or more are not rolled up; of all, or of those with an entry `within_s`."""
    return [license_id for (license_id,) in db.rows(_DUE, least=least, most=most, within_s=within_s)]


def roll_up(db: Database, license_id: UUID, most: int = MOST_ROLLED_UP) -> int:
    """Add the next entries of a license to its roll-up; how many that were, 0 when somebody else is at it."""
    (count,) = db.row(_ROLL_UP, license_id=license_id, most=most)
    return int(count)
