"""Holds: credits set aside for a call in flight, and their ends."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from ..pricing import Price, Usage
from .admin import OWNER, PAGE, Actor, Place, after_place, pages

_OPEN = text(
    "SELECT * FROM obol.open_hold(:license_id, :digest, :hold_id, :process_id, :amount, :min_amount, "
    ":expires_in_s, :model, CAST(:price AS jsonb), :idempotency_key, :fingerprint, :reference, "
    ":max_unpaid_tokens)"
)
_CHECK = text(
    "SELECT * FROM obol.check_admission(:license_id, :digest, :hold_id, :model, CAST(:price AS jsonb), "
    ":idempotency_key, :fingerprint, :max_unpaid_tokens)"
)
_SETTLE = text(
    "SELECT * FROM obol.settle_hold(:license_id, :digest, :hold_id, :process_id, :amount, "
    "CAST(:usage AS jsonb), :answer, :answer_ttl_s, :max_credits)"
)
_RELEASE = text("SELECT * FROM obol.release_hold(:license_id, :digest, :hold_id, :process_id, CAST(:unpaid AS jsonb))")
_DUE = text(
    "SELECT * FROM obol.due_holds(CAST(:process_id AS uuid), CAST(:live_holds AS uuid[]), "
    "CAST(:orphans_before AS timestamptz))"
)
_EXPIRE = text("SELECT * FROM obol.expire_holds_v2(:license_id, CAST(:hold_ids AS uuid[]), CAST(:process_id AS uuid))")
_NOTE_DELIVERIES = text("SELECT * FROM obol.note_deliveries(:license_id, CAST(:hold_ids AS uuid[]), :process_id)")
_LIST = text(
    "SELECT * FROM obol.list_holds(:state, CAST(:license_id AS uuid), CAST(:key_ids AS bytea[]), "
    "CAST(:after_at AS timestamptz), CAST(:after_id AS uuid), :limit, :token_digest, :request_id)"
)

# What an operator can list of holds.
LISTS = ("undelivered", "unpaid", "held")


class HoldAmounts(NamedTuple):
    """Credits to set aside for a call, and the least with which it is worth making."""

    amount: int
    min_amount: int


class Admission(NamedTuple):
    """What admission found. `outcome` is "opened", "checked" or "replayed"; the hold's fields are
    None where none was opened, and `charge`, `balance` and the sealed `answer` are those of a replay.
    `state` is the hold's by now: "held", or of a replay also "settled", "released" or "expired"."""

    outcome: str
    hold_id: UUID | None
    amount: int | None
    state: str | None
    expires_at: datetime | None
    available: int | None
    charge: int | None
    balance: int | None
    answer: bytes | None


class SettledHold(NamedTuple):
    """What a hold was charged, the balance after that, and the hold as it was opened."""

    charge: int
    shortfall: int
    balance: int
    amount: int
    expires_at: datetime | None


class ReleasedHold(NamedTuple):
    """A hold that ended at nothing."""

    amount: int
    state: str
    expires_at: datetime | None


class Unpaid(NamedTuple):
    """What a client got of an answer that broke off and is not charged; `tokens` is an estimate."""

    reason: str
    events: int
    bytes: int
    tokens: int


class DueHolds(NamedTuple):
    """Holds of one license that are to be given back."""

    license_id: UUID
    hold_ids: list[UUID]


class ListedHold(NamedTuple):
    """A hold that an operator should look at. `amount` is what an open one sets aside, or the charge for an answer
    that may not have arrived; `at` is when that was. `is_stored`, of such a charge: whether the answer is kept for a
    retry, if the service still has the replay key. `unpaid` has the fields of `Unpaid`."""

    license_id: UUID
    hold_id: UUID
    amount: int | None
    model: str | None
    at: datetime
    expires_at: datetime | None
    is_stored: bool | None
    unpaid: dict[str, Any] | None

    @property
    def place(self) -> Place:
        return Place(self.at, self.hold_id)


def open_for_client(
    db: Database,
    key: KeyDigest,
    hold_id: UUID,
    *,
    amount: int,
    expires_in_s: int,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
    reference: str | None = None,
) -> Admission:
    """Open a client's own hold; replayed, its fields are as they were, but for its state.

    Raises: Problem amount_invalid, license_*, idempotency_key_reused, insufficient_credits.
    """
    row = db.row(
        _OPEN,
        license_id=key.license_id,
        digest=key.digest,
        hold_id=hold_id,
        process_id=None,
        amount=amount,
        min_amount=amount,
        expires_in_s=expires_in_s,
        model=None,
        price=None,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        reference=reference,
        max_unpaid_tokens=None,
    )
    return Admission._make(row)


def open_for_process(
    db: Database,
    key: KeyDigest,
    hold_id: UUID,
    *,
    process_id: UUID,
    amounts: HoldAmounts,
    model: str,
    price: Price | None,
    max_unpaid_tokens: int | None = None,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
) -> Admission:
    """Open a hold for a generation, or find the answer that the idempotency key names.

    `max_unpaid_tokens`: what the license may get in an hour of answers that broke off; None: no limit.

    Raises: Problem license_*, idempotency_*, answer_gone, limit_exceeded, model_not_priced,
    insufficient_credits.
    """
    row = db.row(
        _OPEN,
        license_id=key.license_id,
        digest=key.digest,
        hold_id=hold_id,
        process_id=process_id,
        amount=amounts.amount,
        min_amount=amounts.min_amount,
        expires_in_s=None,
        model=model,
        price=None if price is None else json.dumps(dict(price)),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        reference=None,
        max_unpaid_tokens=max_unpaid_tokens,
    )
    return Admission._make(row)


def check_admission(
    db: Database,
    key: KeyDigest,
    hold_id: UUID,
    *,
    model: str,
    price: Price | None,
    max_unpaid_tokens: int | None = None,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
) -> Admission:
    """Everything that open_for_process checks but the credits, without a hold.

    Raises: Problem license_*, idempotency_*, answer_gone, limit_exceeded, model_not_priced.
    """
    row = db.row(
        _CHECK,
        license_id=key.license_id,
        digest=key.digest,
        hold_id=hold_id,
        model=model,
        price=None if price is None else json.dumps(dict(price)),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        max_unpaid_tokens=max_unpaid_tokens,
    )
    return Admission._make(row)


def settle(
    db: Database,
    key: KeyDigest,
    hold_id: UUID,
    *,
    amount: int,
    process_id: UUID | None = None,
    usage: Usage | None = None,
    answer: bytes | None = None,
    answer_ttl_s: int | None = None,
    max_credits: int | None = None,
) -> SettledHold:
    """End a hold at `amount`; what is above `max_credits` is shortfall. The same again gives the same.

    Raises: Problem license_invalid, hold_not_found, hold_not_open, settle_exceeds_hold.
    """
    row = db.row(
        _SETTLE,
        license_id=key.license_id,
        digest=key.digest,
        hold_id=hold_id,
        process_id=process_id,
        amount=amount,
        usage=None if usage is None else json.dumps(dict(usage)),
        answer=answer,
        answer_ttl_s=answer_ttl_s,
        max_credits=max_credits,
    )
    return SettledHold._make(row)


def release(
    db: Database, key: KeyDigest, hold_id: UUID, *, process_id: UUID | None = None, unpaid: Unpaid | None = None
) -> ReleasedHold:
    """End a hold at nothing. The same again gives the same. `unpaid`: what its client got all the same.

    Raises: Problem license_invalid, hold_not_found, hold_not_open.
    """
    row = db.row(
        _RELEASE,
        license_id=key.license_id,
        digest=key.digest,
        hold_id=hold_id,
        process_id=process_id,
        unpaid=None if unpaid is None else json.dumps(unpaid._asdict()),
    )
    return ReleasedHold._make(row)


def due(
    db: Database,
    process_id: UUID | None = None,
    live_holds: Sequence[UUID] = (),
    *,
    orphans_before: datetime | None = None,
) -> list[DueHolds]:
    """Holds to be given back, by license, a thousand at most: clients' whose time has come, dead
    processes', and this process's orphans, which are not among `live_holds`."""
    rows = db.rows(
        _DUE,
        process_id=process_id,
        live_holds=[str(hold_id) for hold_id in live_holds],
        orphans_before=orphans_before,
    )
    return [DueHolds._make(row) for row in rows]


def expire(db: Database, license_id: UUID, hold_ids: Sequence[UUID], *, process_id: UUID | None = None) -> int:
    """Give holds of a license back that are due, or that are of the calling process; returns how many that were, of
    those that had not ended before.

    Raises: Problem database_error, when the license is busy for long.
    """
    ids = [str(hold_id) for hold_id in hold_ids]
    (count,) = db.row(_EXPIRE, license_id=license_id, hold_ids=ids, process_id=process_id)
    return int(count)


def note_deliveries(db: Database, license_id: UUID, hold_ids: Sequence[UUID], *, process_id: UUID) -> None:
    """Note that a process wrote the answers of these holds, which it opened, to their client to the end."""
    ids = [str(hold_id) for hold_id in hold_ids]
    db.row(_NOTE_DELIVERIES, license_id=license_id, hold_ids=ids, process_id=process_id)


def list_holds(
    db: Database,
    state: str,
    *,
    license_id: UUID | None = None,
    key_ids: Sequence[bytes] | None = None,
    after: Place | None = None,
    limit: int = PAGE,
    actor: Actor = OWNER,
) -> list[ListedHold]:
    """Holds of one of LISTS, oldest first.

    Args:
        key_ids: of the replay keys that the service has: an undelivered answer under another one is listed too.
            None: whatever is stored counts as one that a retry gets.

    Raises: Problem admin_forbidden.
    """
    rows = db.rows(
        _LIST,
        state=state,
        license_id=license_id,
        key_ids=None if key_ids is None else list(key_ids),
        limit=limit,
        **after_place(after),
        **actor._asdict(),
    )
    return [ListedHold._make(row) for row in rows]


def every(
    db: Database, state: str, *, license_id: UUID | None = None, key_ids: Sequence[bytes] | None = None
) -> list[ListedHold]:
    """All that `list_holds` has, whatever the number."""
    return list(
        pages(
            lambda after, limit: list_holds(db, state, license_id=license_id, key_ids=key_ids, after=after, limit=limit)
        )
    )
