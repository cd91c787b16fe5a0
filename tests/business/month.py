"""A month of made-up business through the real functions, and a plain log of it.

What is logged is known before the database is asked: from the ledger in plain Python of days.py, which puts nothing
off, and from what the driver itself has made up. Nothing of the log is read from the database.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from days import Grant, Ledger

CLASSES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


def figures(*credits_per_million: int) -> dict[str, Any]:
    return dict(zip(CLASSES, credits_per_million, strict=True))


HAIKU = figures(110_000, 550_000, 137_500, 220_000, 11_000)
# Dearer above so many tokens of a prompt, and one that can fall back to another.
SONNET = figures(330_000, 1_650_000, 412_500, 660_000, 33_000) | {
    "tiers": [{"above_input_tokens": 2_000} | figures(660_000, 2_475_000, 825_000, 1_320_000, 66_000)]
}
OPUS = figures(550_000, 2_750_000, 687_500, 1_100_000, 55_000) | {"models": {"claude-haiku-5": HAIKU}}
PRICES = {"claude-haiku-5": HAIKU, "claude-sonnet-5": SONNET, "claude-opus-5": OPUS, "free": figures(0, 0, 0, 0, 0)}


def cost(price: dict[str, Any], usage: dict[str, Any]) -> int:
    """What a usage costs, by hand: everything multiplied out, rounded up once."""
    millionths = 0
    for attempt in usage.get("attempts", [usage]):
        own = price.get("models", {}).get(attempt.get("model"), price)
        prompt = sum(tokens for name, tokens in attempt.items() if name not in ("model", "output"))
        for tier in own.get("tiers", []):
            if prompt > tier["above_input_tokens"]:
                own = tier
        millionths += sum(own[name] * attempt.get(name, 0) for name in CLASSES)
    return (millionths + 999_999) // 1_000_000


def tokens_of(usage: dict[str, Any] | None) -> Counter[str]:
    """The tokens of each class, of all attempts together."""
    tokens: Counter[str] = Counter()
    for attempt in [] if usage is None else usage.get("attempts", [usage]):
        for name in CLASSES:
            tokens[name] += attempt.get(name, 0)
    return tokens


@dataclass(frozen=True)
class Booked:
    """A line of the log: what must be an entry. `day` counts from the first day of the month."""

    day: int
    kind: str
    amount: int
    cause: UUID
    reference: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    key_id: UUID | None = None
    shortfall: int = 0


@dataclass
class Book(Ledger):
    """The ledger of one license, with a log of what it books."""

    entries: list[Booked] = field(default_factory=list)
    # By the place of a grant: its id, how it came, and what was said of it.
    origins: list[tuple[UUID, str, str | None]] = field(default_factory=list)

    def write(self, kind: str, amount: int, cause: UUID, **more: Any) -> None:
        self.entries.append(Booked(self.day, kind, amount, cause, **more))

    def give(
        self,
        grant_id: UUID,
        amount: int,
        *,
        priority: int = 50,
        starts_in: int = 0,
        lasts: int | None = None,
        kind: str = "grant",
        reference: str | None = None,
    ) -> Grant:
        self.origins.append((grant_id, kind, reference))
        return self.grant(amount, priority, starts_in, lasts)

    def id_of(self, grant: Grant) -> UUID:
        return self.origins[grant.place][0]

    def _catch_up(self) -> None:
        waiting = [grant for grant in self.grants if not grant.has_started]
        super()._catch_up()
        for grant in waiting:
            if grant.has_started:
                grant_id, kind, reference = self.origins[grant.place]
                self.write(kind, grant.amount, grant_id, reference=reference)

    def _lapse(self) -> None:
        before = [grant.lapsed for grant in self.grants]
        super()._lapse()
        for grant, lapsed in zip(self.grants, before, strict=True):
            if grant.lapsed > lapsed:
                self.write("void" if grant.is_voided else "expiry", lapsed - grant.lapsed, self.id_of(grant))


@dataclass
class Key:
    """A key of a license. `models`: None, or what the names that it may use begin with."""

    key_id: UUID
    digest: Any
    raw: str
    models: str | None = None
    most_holds: int | None = None
    ends_on: float = float("inf")
    open_holds: int = 0

    def may_use(self, model: str) -> bool:
        return self.models is None or model.startswith(self.models)


@dataclass
class Open:
    """A hold that has not ended."""

    hold_id: UUID
    held: int
    key: Key
    process_id: UUID | None
    model: str | None = None
    usage: dict[str, Any] | None = None
    reference: str | None = None
    is_stored: bool = False
    due_on: int | None = None


@dataclass
class Taken:
    """A charge or a deduction."""

    cause: UUID
    kind: str
    charge: int
    shortfall: int
    day: int
    key: Key | None
    hold: Open | None
    reference: str | None = None

    @property
    def model(self) -> str | None:
        return self.hold and self.hold.model


@dataclass
class Customer:
    """A license, and what was done with it."""

    license_id: UUID
    dice: Random
    # How much it uses, against the others.
    appetite: float
    has_roll_ups: bool
    most_holds: int | None
    keys: list[Key] = field(default_factory=list)
    book: Book = field(default_factory=Book)
    open: list[Open] = field(default_factory=list)
    expired: list[Open] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    # By cause; and of answers that broke off, the tokens by day.
    undelivered: dict[UUID, Taken] = field(default_factory=dict)
    losses: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)

    def new_id(self) -> UUID:
        return UUID(int=self.dice.getrandbits(128), version=4)

    def living_keys(self) -> list[Key]:
        return [key for key in self.keys if key.ends_on > self.book.day]


class Days:
    """The month in the calendar. Its last day, `count`, is today, on which nothing is begun."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.today = datetime.now(UTC).date()

    def date_of(self, day: int) -> date:
        return self.today - timedelta(days=self.count - day)


# The clock is moved by moving everything else: what ended on the day goes to where it stays, the rest a day back.
NEXT_DAY = """
    UPDATE obol.ledger_entries SET created_at = created_at - {back} WHERE created_at >= '{today}T00:00Z';
    UPDATE obol.holds SET opened_at = opened_at - {back}, expires_at = expires_at - {back},
                          ended_at = ended_at - {back}, delivered_at = delivered_at - {back}
     WHERE ended_at >= '{today}T00:00Z';
    UPDATE obol.holds SET opened_at = opened_at - {day}, expires_at = expires_at - {day} WHERE state = 'held';
    UPDATE obol.grants SET starts_at = starts_at - {day}, expires_at = expires_at - {day},
                           voided_at = voided_at - {day}, created_at = created_at - {day};
    UPDATE obol.licenses SET next_change_at = next_change_at - {day}, created_at = created_at - {day};
    UPDATE obol.license_keys SET created_at = created_at - {day}, expires_at = expires_at - {day},
                                 revoked_at = revoked_at - {day}, last_used_at = last_used_at - {day};
    UPDATE obol.idempotency_keys SET claimed_at = claimed_at - {day};
    UPDATE obol.limit_states s
       SET day = s.day - 1, next_call_at = s.next_call_at - {day},
           -- A calendar month has no day before it: what is left in it is what its holds say.
           month_credits = COALESCE((SELECT sum(CASE h.state WHEN 'held' THEN h.amount
                                                             WHEN 'settled' THEN -e.amount END)
                                       FROM obol.holds h
                                       LEFT JOIN obol.ledger_entries e ON e.license_id = h.license_id
                                            AND e.kind = 'charge' AND e.cause_id = h.hold_id
                                      WHERE h.license_id = s.license_id AND h.limited_by @> ARRAY[s.subject_id]
                                        AND h.opened_at >= s.month::timestamp AT TIME ZONE 'UTC'), 0)
"""


def next_day(days: Days, day: int) -> str:
    return NEXT_DAY.format(back=f"interval '{days.count - day} days'", day="interval '1 day'", today=days.today)
