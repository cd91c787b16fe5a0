"""Who operates: tokens of the admin API, the audit trail, and the overview of the business."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import text

from ..db import Database

_ACTOR = ":token_digest, :request_id"
_CHECK = text("SELECT obol.check_token(:token_digest, :scope)")
_REGISTER = text("SELECT obol.register_first_token(:token_digest)")
_CREATE = text(
    "SELECT obol.create_token(:token_id, :new_digest, :name, CAST(:scopes AS text[]), "
    f"CAST(:expires_at AS timestamptz), {_ACTOR})"
)
_LIST_TOKENS = text(
    f"SELECT * FROM obol.list_tokens(CAST(:after_at AS timestamptz), CAST(:after_id AS uuid), :limit, {_ACTOR})"
)
_REVOKE = text(f"SELECT obol.revoke_token(:token_id, {_ACTOR})")
_LIST_ACTS = text(f"SELECT * FROM obol.list_acts(:before, :limit, {_ACTOR})")
_ROLL_UP = text("SELECT obol.roll_up_business()")
_EXPIRING = text(f"SELECT * FROM obol.sum_expiring(CAST(:before AS timestamptz), {_ACTOR})")
_OVERVIEW = text(f"SELECT * FROM obol.overview(CAST(:first AS date), CAST(:last AS date), {_ACTOR})")

SCOPES = ("read", "grant", "manage", "tokens")

# How many rows at once where all of a list is read.
PAGE = 1000


class Actor(NamedTuple):
    """Who does something, as the database is told: the digest of a token, and the request that it came in.
    Without a token it is the database login itself, which then has to be the owner's."""

    token_digest: bytes | None
    request_id: str | None


# Whoever logs in as the owner: the `obol` command.
OWNER = Actor(None, None)


class Place(NamedTuple):
    """A row's place in a list that is sorted by time, then id: the next page begins after it."""

    at: datetime
    id: UUID


class Placed(Protocol):
    @property
    def place(self) -> Place: ...


class Token(NamedTuple):
    """A token of the admin API, without what opens anything."""

    token_id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def place(self) -> Place:
        return Place(self.created_at, self.token_id)


class Act(NamedTuple):
    """A line of the audit trail."""

    act_no: int
    acted_at: datetime
    actor: str
    act: str
    license_id: UUID | None
    target: str | None
    detail: Any
    request_id: str | None


class Day(NamedTuple):
    """A day of the business (UTC), in credits; `adjusted` is of either sign, `outstanding` is what was owed at the
    day's end, `held` is of now, and the same for each day."""

    day: date
    granted: int
    charged: int
    refunded: int
    expired: int
    voided: int
    adjusted: int
    shortfall: int
    outstanding: int
    undelivered: int
    operator_loss_answers: int
    operator_loss_tokens: int
    held: int


class Expiring(NamedTuple):
    """Credits that end unused, and of how many licenses."""

    credits: int
    licenses: int


R = TypeVar("R", bound=Placed)


def pages(read: Callable[[Place | None, int], list[R]]) -> Iterator[R]:
    """Every row of a list, which `read(after, limit)` gives a page of."""
    after = None
    while True:
        rows = read(after, PAGE)
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].place


def check(db: Database, actor: Actor, scope: str) -> str:
    """The name that the audit trail has for an actor. Raises: Problem admin_forbidden."""
    (name,) = db.row(_CHECK, token_digest=actor.token_digest, scope=scope)
    return str(name)


def register_first_token(db: Database, token_digest: bytes) -> str:
    """Make a token the first one, in place of the one that was it; only the owner can. Returns "registered",
    "known", or "revoked": a token that was revoked or replaced before stays so."""
    (outcome,) = db.row(_REGISTER, token_digest=token_digest)
    return str(outcome)


def create_token(
    db: Database,
    token_id: UUID,
    *,
    digest: bytes,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    actor: Actor = OWNER,
) -> None:
    """Add a token, once an id. Raises: Problem admin_forbidden, amount_invalid (the expiry is past), already_exists."""
    db.row(
        _CREATE,
        token_id=token_id,
        new_digest=digest,
        name=name,
        scopes=list(scopes),
        expires_at=expires_at,
        **actor._asdict(),
    )


def list_tokens(db: Database, *, after: Place | None = None, limit: int = PAGE, actor: Actor = OWNER) -> list[Token]:
    """Tokens, oldest first. Raises: Problem admin_forbidden."""
    rows = db.rows(_LIST_TOKENS, limit=limit, **after_place(after), **actor._asdict())
    return [Token._make(row) for row in rows]


def revoke_token(db: Database, token_id: UUID, *, actor: Actor = OWNER) -> bool:
    """End a token for good; whether there is such a token. Raises: Problem admin_forbidden."""
    (exists,) = db.row(_REVOKE, token_id=token_id, **actor._asdict())
    return bool(exists)


def list_acts(db: Database, *, before: int | None = None, limit: int = PAGE, actor: Actor = OWNER) -> list[Act]:
    """Acts numbered below `before`, newest first. Raises: Problem admin_forbidden."""
    return [Act._make(row) for row in db.rows(_LIST_ACTS, before=before, limit=limit, **actor._asdict())]


def overview(db: Database, first: date, last: date, *, actor: Actor = OWNER) -> list[Day]:
    """The business by day, oldest first. Raises: Problem admin_forbidden."""
    rows = db.rows(_OVERVIEW, first=first, last=last, **actor._asdict())
    return [Day(row[0], *map(int, row[1:])) for row in rows]


def roll_up_business(db: Database) -> int:
    """Count a part of what makes the overview cheap to read; returns how much, and 0 when nothing is due."""
    (count,) = db.row(_ROLL_UP)
    return int(count)


def sum_expiring(db: Database, before: datetime, *, actor: Actor = OWNER) -> Expiring:
    """The credits that end before a time if nobody uses more. Raises: Problem admin_forbidden."""
    credits, licenses = db.row(_EXPIRING, before=before, **actor._asdict())
    return Expiring(int(credits), int(licenses))


def after_place(after: Place | None) -> dict[str, Any]:
    """The parameters of a page."""
    return {"after_at": None, "after_id": None} if after is None else {"after_at": after.at, "after_id": after.id}
