"""Holds: credits set aside for a call in flight, and their ends."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from ..db import Database
from ..keys import LicenseKey
from ..pricing import HoldSize, Price, Usage

_OPEN = text(
    "SELECT * FROM obol.open_hold(:license_id, :digest, :hold_id, :process_id, :amount, :min_amount, "
    ":expires_in_s, :model, CAST(:price AS jsonb), :idempotency_key, :fingerprint, :reference)"
)
_CHECK = text(
    "SELECT * FROM obol.check_admission(:license_id, :digest, :hold_id, :model, CAST(:price AS jsonb), "
    ":idempotency_key, :fingerprint)"
)
_SETTLE = text(
    "SELECT * FROM obol.settle_within(:license_id, :digest, :hold_id, :process_id, :amount, "
    "CAST(:usage AS jsonb), :answer, :answer_ttl_s, :limit)"
)
_RELEASE = text("SELECT * FROM obol.release_hold(:license_id, :digest, :hold_id, :process_id)")
_RELEASE_EXPIRED = text(
    "SELECT obol.release_expired_holds(:batch_size, CAST(:process_id AS uuid), "
    "CAST(:live_holds AS uuid[]), CAST(:orphans_before AS timestamptz))"
)
_NOTE_DELIVERIES = text("SELECT obol.note_deliveries(CAST(:license_ids AS uuid[]), CAST(:hold_ids AS uuid[]))")
_UNDELIVERED = text("SELECT * FROM obol.undelivered_holds ORDER BY settled_at, hold_id")

_BATCH_SIZE = 100


def open_for_client(
    db: Database,
    key: LicenseKey,
    hold_id: UUID,
    amount: int,
    expires_in_s: int,
    idempotency_key: str | None,
    fingerprint: bytes,
    reference: str | None,
) -> Row[Any]:
    """Open a client's own hold: hold_id, amount, expires_at, available (as they were, when replayed).

    Raises: Problem amount_invalid, license_*, idempotency_key_reused, insufficient_credits.
    """
    return db.row(
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
    )


def open_for_process(
    db: Database,
    key: LicenseKey,
    hold_id: UUID,
    process_id: UUID,
    size: HoldSize,
    model: str,
    price: Price | None,
    idempotency_key: str | None,
    fingerprint: bytes,
) -> Row[Any]:
    """Open a hold for a generation: outcome (opened, replayed), hold_id, amount, available and,
    when replayed, charge, balance and the sealed answer.

    Raises: Problem license_*, idempotency_*, answer_gone, model_not_priced, insufficient_credits.
    """
    return db.row(
        _OPEN,
        license_id=key.license_id,
        digest=key.digest,
        hold_id=hold_id,
        process_id=process_id,
        amount=size.amount,
        min_amount=size.min_amount,
        expires_in_s=None,
        model=model,
        price=None if price is None else json.dumps(dict(price)),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        reference=None,
    )


def check_admission(
    db: Database,
    key: LicenseKey,
    hold_id: UUID,
    model: str,
    price: Price | None,
    idempotency_key: str | None,
    fingerprint: bytes,
) -> Row[Any]:
    """Everything that open_for_process checks but the credits, without a hold: outcome (checked,
    replayed), available and, when replayed, what open_for_process gives.

    Raises: Problem license_*, idempotency_*, answer_gone, model_not_priced.
    """
    return db.row(
        _CHECK,
        license_id=key.license_id,
        digest=key.digest,
        hold_id=hold_id,
        model=model,
        price=None if price is None else json.dumps(dict(price)),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )


def settle(
    db: Database,
    key: LicenseKey,
    hold_id: UUID,
    amount: int,
    process_id: UUID | None = None,
    usage: Usage | None = None,
    answer: bytes | None = None,
    answer_ttl_s: int | None = None,
    limit: int | None = None,
) -> Row[Any]:
    """End a hold at `amount`: charge, shortfall, balance, and the hold's amount and expires_at.

    `limit` is what the client pays at most; the rest is shortfall.

    The same again gives the same.

    Raises: Problem license_invalid, hold_not_found, hold_not_open, settle_exceeds_hold.
    """
    return db.row(
        _SETTLE,
        license_id=key.license_id,
        digest=key.digest,
        hold_id=hold_id,
        process_id=process_id,
        amount=amount,
        usage=None if usage is None else json.dumps(dict(usage)),
        answer=answer,
        answer_ttl_s=answer_ttl_s,
        limit=limit,
    )


def release(db: Database, key: LicenseKey, hold_id: UUID, process_id: UUID | None = None) -> Row[Any]:
    """End a hold at nothing: amount, state, expires_at. The same again gives the same.

    Raises: Problem license_invalid, hold_not_found, hold_not_open.
    """
    return db.row(_RELEASE, license_id=key.license_id, digest=key.digest, hold_id=hold_id, process_id=process_id)


def release_expired(
    db: Database,
    process_id: UUID | None = None,
    live_holds: Sequence[UUID] = (),
    orphans_before: datetime | None = None,
) -> int:
    """Give back one batch of expired holds, the dead processes' holds and this process's
    orphans; returns how many. Ask again until it is 0."""
    (released,) = db.row(
        _RELEASE_EXPIRED,
        batch_size=_BATCH_SIZE,
        process_id=process_id,
        live_holds=[str(hold_id) for hold_id in live_holds],
        orphans_before=orphans_before,
    )
    return int(released)


def note_deliveries(db: Database, delivered: Sequence[tuple[UUID, UUID]]) -> None:
    """Note (license id, hold id) pairs whose answers were written to the client to the end."""
    db.row(
        _NOTE_DELIVERIES,
        license_ids=[str(license_id) for license_id, _ in delivered],
        hold_ids=[str(hold_id) for _, hold_id in delivered],
    )


def undelivered(db: Database) -> list[Row[Any]]:
    """Settled, keyless and never noted as delivered: license_id, hold_id, charge, model, settled_at."""
    return db.rows(_UNDELIVERED)
