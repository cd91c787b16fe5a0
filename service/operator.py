"""Acts of an operator, each safe to repeat with an idempotency key, whatever face asks for them."""

import hashlib
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4, uuid5

from . import keys, strict_json
from .db import Database
from .repository import grants, ledger, licenses
from .repository.grants import LASTING, ChangedGrant, Terms
from .repository.ledger import Adjustment, Refund

# With an idempotency key, a license's id is made from it: the same key can only make one.
_LICENSE_IDS = UUID("5b0c1d0e-6f6c-4f0a-9d3a-0b01c0de0001")


class NewLicense(NamedTuple):
    """A license that was made. `license_key` is None when an earlier call made it: the key was shown
    then, and is nowhere stored."""

    license_id: UUID
    license_key: str | None
    balance: int


class RotatedKey(NamedTuple):
    """A key that was added to a license, and when the ones before it end."""

    license_key: str
    older_keys_end_at: datetime


def create_license(
    db: Database,
    *,
    credits: int,
    name: str = "",
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> NewLicense:
    """Make a license with a key and a first grant.

    Raises: Problem amount_invalid, idempotency_key_reused.
    """
    license_id = uuid4() if idempotency_key is None else uuid5(_LICENSE_IDS, idempotency_key)
    new = keys.make(license_id)
    made = licenses.create(
        db,
        new.digest,
        name=name,
        expires_at=expires_at,
        credits=credits,
        fingerprint=_fingerprint(credits, name, _moment(expires_at)),
    )
    return NewLicense(license_id, new.license_key if made.created else None, made.balance)


def rotate_key(db: Database, license_id: UUID, overlap_s: int) -> RotatedKey:
    """Add a key to a license, and let the ones before it end after `overlap_s`.

    Raises: Problem license_invalid.
    """
    new = keys.make(license_id)
    return RotatedKey(new.license_key, licenses.rotate_key(db, new.digest, overlap_s))


def grant_credits(
    db: Database,
    license_id: UUID,
    amount: int,
    *,
    terms: Terms = LASTING,
    reason: str = "purchase",
    reference: str | None = None,
    idempotency_key: str | None = None,
) -> ChangedGrant:
    """Give credits to a license.

    Raises: Problem amount_invalid, license_invalid, idempotency_key_reused.
    """
    return grants.grant(
        db,
        license_id,
        uuid4(),
        amount=amount,
        terms=terms,
        reason=reason,
        reference=reference,
        idempotency_key=idempotency_key,
        fingerprint=_fingerprint(
            "grant", amount, terms.priority, _moment(terms.starts_at), _moment(terms.expires_at), reason, reference
        ),
    )


def adjust_credits(
    db: Database, license_id: UUID, amount: int, *, reason: str, idempotency_key: str | None = None
) -> Adjustment:
    """Correct the balance of a license by an amount of either sign, which may not take what is held.

    Raises: Problem amount_invalid, license_invalid, idempotency_key_reused, insufficient_credits.
    """
    return ledger.adjust(
        db,
        license_id,
        uuid4(),
        amount=amount,
        reason=reason,
        idempotency_key=idempotency_key,
        fingerprint=_fingerprint("adjustment", amount, reason),
    )


def void_grant(db: Database, license_id: UUID, grant_id: UUID) -> ChangedGrant:
    """End a grant now.

    Raises: Problem license_invalid, grant_not_found, grant_ended.
    """
    return grants.void(db, license_id, grant_id)


def refund(
    db: Database,
    license_id: UUID,
    cause_id: UUID,
    *,
    amount: int | None = None,
    reason: str,
    idempotency_key: str | None = None,
) -> Refund:
    """Give back what a hold or a deduction was charged: `amount` of it, or all that has not come back (None).

    Raises: Problem license_invalid, idempotency_key_reused, hold_not_found, amount_invalid, refund_exceeds_charge.
    """
    return ledger.refund(
        db,
        license_id,
        cause_id,
        refund_id=uuid4(),
        amount=amount,
        reason=reason,
        idempotency_key=idempotency_key,
        fingerprint=_fingerprint("refund", str(cause_id), amount, reason),
    )


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _fingerprint(*values: str | int | None) -> bytes:
    """What an idempotency key of the operator stands for."""
    return hashlib.sha256(strict_json.encode(values)).digest()
