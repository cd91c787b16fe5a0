"""Changes of a balance outside holds, and the check of all of them."""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database, refusal
from ..keys import KeyDigest
from ..problems import Problem
from .admin import OWNER, Actor

_DEDUCT = text(
    "SELECT * FROM obol.deduct(:license_id, :digest, :deduction_id, :amount, "
    ":idempotency_key, :fingerprint, :reference)"
)
_ADJUST = text(
    "SELECT * FROM obol.adjust_credits_v2(:license_id, :adjustment_id, :amount, :reason, "
    ":idempotency_key, :fingerprint, :token_digest, :request_id)"
)
_REFUND = text(
    "SELECT * FROM obol.refund_v2(:license_id, :cause_id, :refund_id, CAST(:amount AS bigint), :reason, "
    ":idempotency_key, :fingerprint, :token_digest, :request_id)"
)
_DEDUCT_V2 = text(
    "SELECT * FROM obol.deduct_v2(:license_id, :deduction_id, :amount, :idempotency_key, :fingerprint, :reference, "
    ":token_digest, :request_id)"
)
_DEDUCT_BATCH = text(
    "SELECT * FROM obol.deduct_batch(CAST(:license_ids AS uuid[]), CAST(:deduction_ids AS uuid[]), "
    "CAST(:amounts AS bigint[]), CAST(:idempotency_keys AS text[]), CAST(:fingerprints AS bytea[]), "
    "CAST(:references AS text[]), :token_digest, :request_id)"
)
_DEDUCT_SEVERAL = text(
    "SELECT * FROM obol.deduct_several(:license_id, :digest, CAST(:deduction_ids AS uuid[]), "
    "CAST(:amounts AS bigint[]), CAST(:idempotency_keys AS text[]), CAST(:fingerprints AS bytea[]), "
    "CAST(:references AS text[]))"
)
_REFUND_WITHHELD = text("SELECT * FROM obol.refund_withheld(:license_id, :hold_id, :process_id)")
_VERIFY = text("SELECT * FROM obol.verify()")
_VERIFY_SINCE = text("SELECT * FROM obol.verify_since(:since)")
_VERIFY_V2 = text("SELECT * FROM obol.verify_v2(CAST(:since AS timestamptz), :most, :token_digest, :request_id)")

_NOTE_VERIFICATION = text(
    "SELECT obol.note_verification(:is_whole, CAST(:began_at AS timestamptz), :finding_count, :token_digest, "
    ":request_id)"
)
_VERIFICATIONS = text("SELECT * FROM obol.list_verifications(:token_digest, :request_id)")


class Deduction(NamedTuple):
    """Credits that were taken; `balance` is the one after that."""

    deduction_id: UUID
    amount: int
    balance: int


class DeductionItem(NamedTuple):
    """A deduction of several with one key: what `deduct` takes."""

    deduction_id: UUID
    amount: int
    idempotency_key: str | None
    fingerprint: bytes
    reference: str | None


class BatchItem(NamedTuple):
    """A deduction of several: what `deduct_by_id` takes."""

    license_id: UUID
    deduction_id: UUID
    amount: int
    idempotency_key: str
    fingerprint: bytes
    reference: str | None


class BatchRow(NamedTuple):
    """What became of the item `item_no`, from 1 on: the deduction; or, with a balance of None, its refusal."""

    item_no: int
    deduction_id: UUID
    amount: int
    balance: int | None
    refusal: list[str] | None


class Adjustment(NamedTuple):
    """A correction by `amount`, of either sign; `balance` is the one after that."""

    adjustment_id: UUID
    amount: int
    balance: int


class Refund(NamedTuple):
    """Credits that were given back; `balance` is the one after that. `lapsed` of them are gone again: the grants that
    they came from have ended since."""

    refund_id: UUID
    amount: int
    balance: int
    lapsed: int


class WithheldRefund(NamedTuple):
    """The charge for an answer that was withheld, given back; `balance` is the one after that."""

    amount: int
    balance: int


class Verification(NamedTuple):
    """How many rows were checked, by what they are; how many things disagree; and the first of these."""

    checked: dict[str, int]
    finding_count: int
    findings: list[dict[str, str]]


class PastVerification(NamedTuple):
    """When and by whom all of the ledger, or what was new of it, was checked the last time, and what came of it."""

    is_whole: bool
    began_at: datetime
    ended_at: datetime
    actor: str
    finding_count: int


class Finding(NamedTuple):
    """Something in the ledger, or in the audit trail (of no license, then), that disagrees with a rule."""

    license_id: UUID | None
    rule: str
    detail: str


def deduct(
    db: Database,
    key: KeyDigest,
    deduction_id: UUID,
    *,
    amount: int,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
    reference: str | None = None,
) -> Deduction:
    """Take `amount` credits; the same call again gives the first one's result.

    Raises: Problem amount_invalid, license_*, idempotency_key_reused, answer_gone (refunded since),
    insufficient_credits.
    """
    row = db.row(
        _DEDUCT,
        license_id=key.license_id,
        digest=key.digest,
        deduction_id=deduction_id,
        amount=amount,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        reference=reference,
    )
    return Deduction._make(row)


def deduct_several(db: Database, key: KeyDigest, items: Sequence[DeductionItem]) -> list[Deduction | Problem]:
    """As `deduct` for each item, one after the other in one transaction: what it took, or why it was refused."""
    deduction_ids, amounts, idempotency_keys, fingerprints, references = map(list, zip(*items, strict=True))
    rows = db.rows(
        _DEDUCT_SEVERAL,
        license_id=key.license_id,
        digest=key.digest,
        deduction_ids=[str(deduction_id) for deduction_id in deduction_ids],
        amounts=amounts,
        idempotency_keys=idempotency_keys,
        fingerprints=fingerprints,
        references=references,
    )
    return [_result(BatchRow._make(row)) for row in rows]


def deduct_by_id(
    db: Database,
    license_id: UUID,
    deduction_id: UUID,
    *,
    amount: int,
    idempotency_key: str,
    fingerprint: bytes,
    reference: str | None = None,
    actor: Actor = OWNER,
) -> Deduction:
    """Take `amount` credits without the license's key; the same call again gives the first one's result.

    Raises: Problem admin_forbidden, and what `deduct` raises.
    """
    row = db.row(
        _DEDUCT_V2,
        license_id=license_id,
        deduction_id=deduction_id,
        amount=amount,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        reference=reference,
        **actor._asdict(),
    )
    return Deduction._make(row)


def deduct_batch(db: Database, items: Sequence[BatchItem], *, actor: Actor = OWNER) -> list[Deduction | Problem]:
    """As `deduct_by_id` for each item, in one transaction: what it took, or why it was refused, in the same order.
    Not for licenses that are spread over nodes.

    Raises: Problem admin_forbidden.
    """
    columns = zip(*items, strict=True)
    license_ids, deduction_ids, amounts, idempotency_keys, fingerprints, references = map(list, columns)
    rows = db.rows(
        _DEDUCT_BATCH,
        license_ids=[str(license_id) for license_id in license_ids],
        deduction_ids=[str(deduction_id) for deduction_id in deduction_ids],
        amounts=amounts,
        idempotency_keys=idempotency_keys,
        fingerprints=fingerprints,
        references=references,
        **actor._asdict(),
    )
    return [_result(BatchRow._make(row)) for row in sorted(rows, key=itemgetter(0))]


def _result(row: BatchRow) -> Deduction | Problem:
    if row.balance is not None:
        return Deduction(row.deduction_id, row.amount, row.balance)
    assert row.refusal is not None
    sqlstate, message, detail, hint = row.refusal
    return refusal(sqlstate, message, detail=detail, hint=hint)


def adjust(
    db: Database,
    license_id: UUID,
    adjustment_id: UUID,
    *,
    amount: int,
    reason: str,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
    actor: Actor = OWNER,
) -> Adjustment:
    """Correct the balance by `amount`; the same call again gives the first one's result.

    Raises: Problem amount_invalid, admin_forbidden, license_invalid, idempotency_key_reused, insufficient_credits.
    """
    row = db.row(
        _ADJUST,
        license_id=license_id,
        adjustment_id=adjustment_id,
        amount=amount,
        reason=reason,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        **actor._asdict(),
    )
    return Adjustment._make(row)


def refund(
    db: Database,
    license_id: UUID,
    cause_id: UUID,
    *,
    refund_id: UUID,
    amount: int | None = None,
    reason: str,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
    actor: Actor = OWNER,
) -> Refund:
    """Give back `amount` of what the hold or deduction `cause_id` took, or all that has not come back yet (None).
    The same call again gives the first one's result.

    Raises: Problem admin_forbidden, license_invalid, idempotency_key_reused, hold_not_found, amount_invalid,
    refund_exceeds_charge.
    """
    row = db.row(
        _REFUND,
        license_id=license_id,
        cause_id=cause_id,
        refund_id=refund_id,
        amount=amount,
        reason=reason,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        **actor._asdict(),
    )
    return Refund._make(row)


def refund_withheld(db: Database, license_id: UUID, hold_id: UUID, *, process_id: UUID) -> WithheldRefund | None:
    """Give back the charge for an answer that a process withheld, unless it is stored for a retry;
    None when there was nothing to give back."""
    for row in db.rows(_REFUND_WITHHELD, license_id=license_id, hold_id=hold_id, process_id=process_id):
        return WithheldRefund._make(row)
    return None


def verify(db: Database, since: datetime | None = None) -> list[Finding]:
    """Everything in the ledger that disagrees, or of what was booked since a time; nothing when all is well."""
    rows = db.rows(_VERIFY) if since is None else db.rows(_VERIFY_SINCE, since=since)
    return [Finding._make(row) for row in rows]


def verify_with_token(db: Database, *, since: datetime | None = None, most: int, actor: Actor = OWNER) -> Verification:
    """The same for who has a token, `most` findings of it. Raises: Problem admin_forbidden."""
    return Verification._make(db.row(_VERIFY_V2, since=since, most=most, **actor._asdict()))


def note_verification(
    db: Database, began_at: datetime, *, is_whole: bool, finding_count: int, actor: Actor = OWNER
) -> None:
    """Note that the ledger was checked. Raises: Problem admin_forbidden."""
    db.row(_NOTE_VERIFICATION, is_whole=is_whole, began_at=began_at, finding_count=finding_count, **actor._asdict())


def list_verifications(db: Database, *, actor: Actor = OWNER) -> list[PastVerification]:
    """The last checks of all of the ledger and of what was new. Raises: Problem admin_forbidden."""
    return [PastVerification._make(row) for row in db.rows(_VERIFICATIONS, **actor._asdict())]
