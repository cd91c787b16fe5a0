"""Changes of a balance outside holds, and the check of all of them."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from ..db import Database
from ..keys import LicenseKey

_DEDUCT = text(
    "SELECT * FROM obol.deduct(:license_id, :digest, :deduction_id, :amount, "
    ":idempotency_key, :fingerprint, :reference)"
)
_GRANT = text(
    "SELECT * FROM obol.grant_credits(:license_id, :grant_id, :amount, :idempotency_key, :fingerprint, :reference)"
)
_REFUND = text("SELECT * FROM obol.refund(:license_id, :cause_id, :reference)")
_REFUND_WITHHELD = text("SELECT * FROM obol.refund_withheld(:license_id, :hold_id, :process_id)")
_VERIFY = text("SELECT * FROM obol.verify()")


def deduct(
    db: Database,
    key: LicenseKey,
    deduction_id: UUID,
    amount: int,
    idempotency_key: str | None,
    fingerprint: bytes,
    reference: str | None,
) -> Row[Any]:
    """Take `amount` credits: deduction_id, amount, balance (of the first call, when replayed).

    Raises: Problem amount_invalid, license_*, idempotency_key_reused, insufficient_credits.
    """
    return db.row(
        _DEDUCT,
        license_id=key.license_id,
        digest=key.digest,
        deduction_id=deduction_id,
        amount=amount,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        reference=reference,
    )


def grant(
    db: Database,
    license_id: UUID,
    grant_id: UUID,
    amount: int,
    idempotency_key: str | None,
    fingerprint: bytes,
    reference: str | None,
) -> Row[Any]:
    """Give `amount` credits: grant_id, amount, balance (of the first call, when replayed).

    Raises: Problem amount_invalid, license_invalid, idempotency_key_reused.
    """
    return db.row(
        _GRANT,
        license_id=license_id,
        grant_id=grant_id,
        amount=amount,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        reference=reference,
    )


def refund(db: Database, license_id: UUID, cause_id: UUID, reference: str) -> Row[Any]:
    """Give back what the hold or deduction `cause_id` took, once: amount, balance.

    Raises: Problem hold_not_found.
    """
    return db.row(_REFUND, license_id=license_id, cause_id=cause_id, reference=reference)


def refund_withheld(db: Database, license_id: UUID, hold_id: UUID, process_id: UUID) -> list[Row[Any]]:
    """Give back the charge for an answer that a process withheld, unless it is stored for a
    retry: amount and balance, or no row when there was nothing to give back."""
    return db.rows(_REFUND_WITHHELD, license_id=license_id, hold_id=hold_id, process_id=process_id)


def verify(db: Database) -> list[Row[Any]]:
    """One row (license_id, rule, detail) for each thing in the ledger that disagrees."""
    return db.rows(_VERIFY)
