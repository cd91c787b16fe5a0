"""Acts of an operator, each safe to repeat with an idempotency key, whatever face asks for them."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4, uuid5

from . import keys, statements, strict_json
from .db import Database
from .keys import KeyDigest
from .problems import Problem
from .repository import admin, grants, ledger, licenses, own_keys, sharding
from .repository import limits as key_room
from .repository.admin import OWNER as OWNER
from .repository.admin import Actor as Actor
from .repository.admin import Day, Expiring
from .repository.grants import LASTING, ChangedGrant, Terms
from .repository.ledger import Adjustment, Deduction, Refund, Verification
from .repository.limits import LicenseKey, Limits

# How far an overview looks for grants that end.
EXPIRING_DAYS = 7
# Licenses for which who reads of all of them waits: a tenth of a second.
MOST_CAUGHT_UP = 50

_one_check = threading.Lock()

# With an idempotency key, a license's id is made from it: the same key can only make one.
_LICENSE_IDS = UUID("5b0c1d0e-6f6c-4f0a-9d3a-0b01c0de0001")


class NewLicense(NamedTuple):
    """A license that was made. `license_key` is None when an earlier call made it: the key was shown
    then, and is nowhere stored."""

    license_id: UUID
    license_key: str | None
    balance: int
    key_id: UUID


class NewToken(NamedTuple):
    """A token of the admin API that was made. This is the only copy of it."""

    token_id: UUID
    token: str


class BatchItem(NamedTuple):
    """A deduction from a license whose key the caller has not."""

    license_id: UUID
    amount: int
    idempotency_key: str
    reference: str | None


class Overview(NamedTuple):
    """The business by day. `total` sums the days up; its `outstanding` is that of the last one, and `held` of now.
    `expiring` is what ends unused in the next `EXPIRING_DAYS` days."""

    first: date
    last: date
    days: list[Day]
    total: dict[str, int]
    expiring: Expiring


class RotatedKey(NamedTuple):
    """A key that was added to a license, and when the ones before it end."""

    license_key: str
    older_keys_end_at: datetime
    key_id: UUID


class NewKey(NamedTuple):
    """A key that was added to a license. This is the only copy of it; None when an earlier call made it, and showed
    it then."""

    license_key: str | None
    key: LicenseKey


def create_license(
    db: Database,
    *,
    credits: int,
    name: str = "",
    expires_at: datetime | None = None,
    external_id: str | None = None,
    limits: Limits | None = None,
    idempotency_key: str | None = None,
    actor: Actor = OWNER,
) -> NewLicense:
    """Make a license with a key and a first grant.

    Raises: Problem admin_forbidden, amount_invalid, idempotency_key_reused, already_exists (the external id).
    """
    license_id = uuid4() if idempotency_key is None else uuid5(_LICENSE_IDS, idempotency_key)
    new = keys.make(license_id)
    said: list[str | int | None] = [credits, name, _moment(expires_at)]
    if external_id is not None:
        # Not where there is none: keys that were used before there were any stand for what they stood for.
        said.append(external_id)
    if limits:
        said.append(json.dumps(dict(limits), sort_keys=True))
    made = licenses.create(
        db,
        new.digest,
        name=name,
        expires_at=expires_at,
        credits=credits,
        external_id=external_id,
        limits=limits,
        fingerprint=_fingerprint(*said),
        actor=actor,
    )
    return NewLicense(license_id, new.license_key if made.created else None, made.balance, made.key_id)


def rotate_key(
    db: Database,
    license_id: UUID,
    overlap_s: int,
    *,
    key_id: UUID | None = None,
    only_key_id: UUID | None = None,
    actor: Actor = OWNER,
) -> RotatedKey:
    """Add a key to a license, and let the ones before it end after `overlap_s`; with `only_key_id` that one alone,
    whose name, limits and expiry the new one has.

    Raises: Problem admin_forbidden, license_invalid, key_not_found.
    """
    new, key_id = keys.make(license_id), key_id or uuid4()
    ends_at = licenses.rotate_key(db, new.digest, overlap_s, key_id=key_id, only_key_id=only_key_id, actor=actor)
    return RotatedKey(new.license_key, ends_at, key_id)


def create_key(
    db: Database,
    license_id: UUID,
    *,
    name: str = "",
    expires_at: datetime | None = None,
    limits: Limits | None = None,
    idempotency_key: str | None = None,
    actor: Actor = OWNER,
) -> NewKey:
    """Add a key to a license, beside those that it has.

    Raises: Problem admin_forbidden, license_invalid, idempotency_key_reused, amount_invalid (a time that is past, a
        limit that is none).
    """
    new, key_id = keys.make(license_id), uuid4()
    made = key_room.create_key(
        db,
        new.digest,
        key_id,
        name=name,
        expires_at=expires_at,
        limits=limits,
        idempotency_key=idempotency_key,
        fingerprint=_fingerprint("key", name, _moment(expires_at), json.dumps(dict(limits or {}), sort_keys=True)),
        actor=actor,
    )
    return NewKey(new.license_key if made.key_id == key_id else None, made)


def create_own_key(
    db: Database,
    key: KeyDigest,
    *,
    name: str = "",
    expires_at: datetime | None = None,
    limits: Limits | None = None,
    idempotency_key: str | None = None,
) -> NewKey:
    """Add a key to a license for whoever holds `key` of it, where its operator allows it.

    Raises: Problem license_*, keys_not_allowed, idempotency_key_reused, amount_invalid.
    """
    new = keys.make(key.license_id)
    key_id = uuid4() if idempotency_key is None else uuid5(key.license_id, f"key {idempotency_key}")
    made = own_keys.create(db, key, new.digest, key_id=key_id, name=name, expires_at=expires_at, limits=limits)
    is_new, *said = made
    return NewKey(new.license_key if is_new else None, LicenseKey._make(said))


def create_token(
    db: Database, *, name: str, scopes: Sequence[str], expires_at: datetime | None = None, actor: Actor = OWNER
) -> NewToken:
    """Make a token of the admin API, with scopes that the actor has.

    Raises: Problem admin_forbidden, amount_invalid (the expiry is past), already_exists (the name).
    """
    new = keys.make_token()
    token_id = uuid4()
    admin.create_token(db, token_id, digest=new.digest, name=name, scopes=scopes, expires_at=expires_at, actor=actor)
    return NewToken(token_id, new.token)


def revoke_token(db: Database, token_id: UUID, *, actor: Actor = OWNER) -> None:
    """End a token of the admin API for good. Raises: Problem admin_forbidden, not_found."""
    if not admin.revoke_token(db, token_id, actor=actor):
        raise Problem("not_found", f"There is no token {token_id}.")


def overview(db: Database, first: date | None = None, last: date | None = None, *, actor: Actor = OWNER) -> Overview:
    """The business from a day (UTC) to another, by default the thirty days up to today.

    Raises: Problem admin_forbidden, validation_failed.
    """
    first, last = statements.days(first, last)
    catch_up(db)
    days = admin.overview(db, first, last, actor=actor)
    sums = {name: sum(getattr(day, name) for day in days) for name in Day._fields if name != "day"}
    sums |= {"outstanding": days[-1].outstanding, "held": days[-1].held}
    soon = datetime.now(UTC) + timedelta(days=EXPIRING_DAYS)
    return Overview(first, last, days, sums, admin.sum_expiring(db, soon, actor=actor))


def verify(db: Database, *, since: datetime | None = None, most: int, actor: Actor = OWNER) -> Verification:
    """Check the ledger, all of it or what is new `since` a time, and note that it was; `most` findings of it.

    Raises: Problem admin_forbidden; over_capacity: this process does so already.
    """
    began_at = datetime.now(UTC)
    # One of a large ledger takes minutes. Many at once would take all connections from the calls that pay.
    if not _one_check.acquire(blocking=False):
        raise Problem("over_capacity", "The ledger is being checked already. Ask again when that has ended.")
    try:
        found = ledger.verify_with_token(db, since=since, most=most, actor=actor)
    finally:
        _one_check.release()
    note_verification(db, began_at, since=since, finding_count=found.finding_count, actor=actor)
    return found


def note_verification(
    db: Database, began_at: datetime, *, since: datetime | None, finding_count: int, actor: Actor = OWNER
) -> None:
    """Note a check for whoever looks at the health of the service. One of a database that only reads is not noted:
    what it found counts."""
    with contextlib.suppress(Problem):
        ledger.note_verification(db, began_at, is_whole=since is None, finding_count=finding_count, actor=actor)


def catch_up(db: Database) -> None:
    """Book what has started and ended of grants by itself, before many licenses are read at once. Where that is of more
    than MOST_CAUGHT_UP, as at the end of a month, the workers book the rest within seconds, and nobody waits for it."""
    for license_id in grants.due(db, MOST_CAUGHT_UP):
        grants.bring_up_to_date(db, license_id)


def deduct_batch(db: Database, items: Iterable[BatchItem], *, actor: Actor = OWNER) -> list[Deduction | Problem]:
    """Take credits from licenses, each item on its own: what it took, or why it was refused, in the same order.

    Raises: Problem admin_forbidden, and over_capacity or database_error, when nobody knows of an item what became
        of it: with the same idempotency keys all of it can be asked again.
    """
    prepared = [
        ledger.BatchItem(
            item.license_id,
            uuid4(),
            item.amount,
            item.idempotency_key,
            _fingerprint("deduction", item.amount, item.reference),
            item.reference,
        )
        for item in items
    ]
    if sharding.is_sharded(db):
        return [_deduct_item(db, item, actor) for item in prepared]
    return ledger.deduct_batch(db, prepared, actor=actor)


def _deduct_item(db: Database, item: ledger.BatchItem, actor: Actor) -> Deduction | Problem:
    """One item, where each license may be on another node."""
    try:
        return ledger.deduct_by_id(db, actor=actor, **item._asdict())
    except Problem as problem:
        if problem.code in ("admin_forbidden", "over_capacity", "database_error"):
            raise
        return problem


def grant_credits(
    db: Database,
    license_id: UUID,
    amount: int,
    *,
    terms: Terms = LASTING,
    reason: str = "purchase",
    reference: str | None = None,
    idempotency_key: str | None = None,
    actor: Actor = OWNER,
) -> ChangedGrant:
    """Give credits to a license.

    Raises: Problem admin_forbidden, amount_invalid, license_invalid, idempotency_key_reused.
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
        actor=actor,
    )


def adjust_credits(
    db: Database,
    license_id: UUID,
    amount: int,
    *,
    reason: str,
    idempotency_key: str | None = None,
    actor: Actor = OWNER,
) -> Adjustment:
    """Correct the balance of a license by an amount of either sign, which may not take what is held.

    Raises: Problem admin_forbidden, amount_invalid, license_invalid, idempotency_key_reused, insufficient_credits.
    """
    return ledger.adjust(
        db,
        license_id,
        uuid4(),
        amount=amount,
        reason=reason,
        idempotency_key=idempotency_key,
        fingerprint=_fingerprint("adjustment", amount, reason),
        actor=actor,
    )


def void_grant(db: Database, license_id: UUID, grant_id: UUID, *, actor: Actor = OWNER) -> ChangedGrant:
    """End a grant now.

    Raises: Problem admin_forbidden, license_invalid, grant_not_found, grant_ended.
    """
    return grants.void(db, license_id, grant_id, actor=actor)


def refund(
    db: Database,
    license_id: UUID,
    cause_id: UUID,
    *,
    amount: int | None = None,
    reason: str,
    idempotency_key: str | None = None,
    actor: Actor = OWNER,
) -> Refund:
    """Give back what a hold or a deduction was charged: `amount` of it, or all that has not come back (None).

    Raises: Problem admin_forbidden, license_invalid, idempotency_key_reused, hold_not_found, amount_invalid,
        refund_exceeds_charge.
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
        actor=actor,
    )


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _fingerprint(*values: str | int | None) -> bytes:
    """What an idempotency key of the operator stands for."""
    return hashlib.sha256(strict_json.encode(values)).digest()
