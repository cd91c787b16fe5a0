"""Packages, payments by card, and what Stripe says of them."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from .admin import OWNER, Actor, Place

_PACKAGES = text("SELECT * FROM obol.list_packages()")
_SET_PACKAGE = text(
    "SELECT * FROM obol.set_package(:package_id, :name, :price, :currency, :credits, CAST(:lifetime_days AS bigint), "
    ":token_digest, :request_id)"
)
_END_PACKAGE = text("SELECT * FROM obol.end_package(:package_id, :token_digest, :request_id)")
_SET_PACKAGES = text(
    "SELECT * FROM obol.set_packages(CAST(:rows AS jsonb), :dry_run, :token_digest, :request_id) ORDER BY package_id"
)
_OPEN = text(
    "SELECT * FROM obol.open_payment(:license_id, :digest, :payment_id, :package_id, :success_url, :cancel_url, "
    ":idempotency_key, :fingerprint)"
)
_NOTE = text("SELECT obol.note_checkout(:license_id, :digest, :payment_id, :session_id, :checkout_url)")
_FIND = text("SELECT obol.find_stripe_intent(:payment_intent)")
_BOOK = text("SELECT * FROM obol.book_stripe_event(:license_id, :payload, :signature)")
_LIST = text(
    "SELECT * FROM obol.list_payments(:license_id, CAST(:digest AS bytea), CAST(:only AS uuid), "
    "CAST(:before_at AS timestamptz), CAST(:before_id AS uuid), :limit, :token_digest, :request_id)"
)
_LIST_ALL = text(
    "SELECT * FROM obol.list_all_payments(:only_owed, CAST(:before_at AS timestamptz), CAST(:before_id AS uuid), "
    ":limit, :token_digest, :request_id)"
)
_DUE_OWED = text("SELECT * FROM obol.due_owed()")
_TAKE_BACK = text("SELECT obol.take_back_owed(:license_id, :payment_id)")
_SECRET = text("SELECT obol.set_stripe_secret(:signing_secret, :overlap_s)")


class Package(NamedTuple):
    """Credits that are sold, for good or for `lifetime_days`, at `price` in the smallest unit of a currency."""

    package_id: str
    name: str
    price: int
    currency: str
    credits: int
    lifetime_days: int | None
    is_active: bool


class PackageChange(NamedTuple):
    """A package as it was, None where there was none, and as it is now."""

    package_id: str
    before: Package | None
    after: Package


class Pending(NamedTuple):
    """A payment that was begun, with the package as it was then. `checkout_url` is None until there is one."""

    payment_id: UUID
    package_id: str
    name: str
    price: int
    currency: str
    credits: int
    success_url: str
    cancel_url: str
    checkout_url: str | None
    expires_at: datetime


class Booked(NamedTuple):
    """What became of an event: `forged`, `ignored`, `unknown_intent`, `replayed`, `disagrees` or `booked`."""

    outcome: str
    payment_id: UUID | None


class DueOwed(NamedTuple):
    """A payment of which something is owed that may be taken by now."""

    license_id: UUID
    payment_id: UUID


class Payment(NamedTuple):
    """A payment as it is listed. `price`, `refunded` and `disputed` are money; `credits` and `owed` credits: what was
    to be taken back and could not be. `state` is pending, paid or expired. `checkout_url` is where it can be paid, or
    None."""

    license_id: UUID
    payment_id: UUID
    package_id: str
    name: str
    price: int
    currency: str
    credits: int
    lifetime_days: int | None
    state: str
    refunded: int
    disputed: int
    owed: int
    disagreement: str | None
    checkout_url: str | None
    created_at: datetime
    paid_at: datetime | None

    @property
    def place(self) -> Place:
        """In a list of all of them."""
        return Place(self.created_at, self.payment_id)


def packages(db: Database) -> list[Package]:
    """Every package that is or was sold, by currency and price."""
    return [Package._make(row) for row in db.rows(_PACKAGES)]


def set_package(
    db: Database,
    package_id: str,
    *,
    name: str,
    price: int,
    currency: str,
    credits: int,
    lifetime_days: int | None = None,
    actor: Actor = OWNER,
) -> Package:
    """Sell a package from now on, or change it. Raises: Problem admin_forbidden, amount_invalid."""
    row = db.row(
        _SET_PACKAGE,
        package_id=package_id,
        name=name,
        price=price,
        currency=currency,
        credits=credits,
        lifetime_days=lifetime_days,
        **actor._asdict(),
    )
    return Package._make(row)


def end_package(db: Database, package_id: str, *, actor: Actor = OWNER) -> Package:
    """Sell a package no more. Raises: Problem admin_forbidden, package_not_found."""
    return Package._make(db.row(_END_PACKAGE, package_id=package_id, **actor._asdict()))


def set_packages(
    db: Database, rows: Iterable[tuple[str, dict[str, Any] | None]], *, dry_run: bool = False, actor: Actor = OWNER
) -> list[PackageChange]:
    """Sell packages, change or end them (None), all or none. Returns what changes, by id.

    Args:
        rows: an id with `name`, `price`, `currency`, `credits` and `lifetime_days`, or with None.

    Raises: Problem admin_forbidden, package_not_found, for what cannot be ended, amount_invalid.
    """
    documents = [{"package_id": package_id, "terms": terms} for package_id, terms in rows]
    changed = db.rows(_SET_PACKAGES, rows=json.dumps(documents), dry_run=dry_run, **actor._asdict())
    return [
        PackageChange(
            package_id, None if before is None else Package(package_id, **before), Package(package_id, **after)
        )
        for package_id, before, after in changed
    ]


def begin(
    db: Database,
    key: KeyDigest,
    payment_id: UUID,
    *,
    package_id: str,
    success_url: str,
    cancel_url: str,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
) -> Pending:
    """Begin a payment; the same call again gives the first one's.

    Raises: Problem license_invalid, idempotency_key_reused, answer_gone, license_inactive, license_expired,
        package_not_found, limit_exceeded.
    """
    row = db.row(
        _OPEN,
        **key._asdict(),
        payment_id=payment_id,
        package_id=package_id,
        success_url=success_url,
        cancel_url=cancel_url,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )
    return Pending._make(row)


def note_checkout(db: Database, key: KeyDigest, payment_id: UUID, *, session_id: str, checkout_url: str) -> None:
    """Keep which checkout a payment has. Raises: Problem license_invalid."""
    db.row(_NOTE, **key._asdict(), payment_id=payment_id, session_id=session_id, checkout_url=checkout_url)


def license_of_intent(db: Database, payment_intent: str) -> UUID | None:
    """The license whose payment this is; None while nothing is known of it."""
    (license_id,) = db.row(_FIND, payment_intent=payment_intent)
    return license_id  # type: ignore[no-any-return]


def book_event(db: Database, license_id: UUID, *, payload: bytes, signature: str) -> Booked:
    """Book an event of Stripe: the database looks at the signature. Raises: Problem amount_invalid."""
    return Booked._make(db.row(_BOOK, license_id=license_id, payload=payload, signature=signature))


def list_payments(
    db: Database,
    license_id: UUID,
    *,
    digest: bytes | None = None,
    only: UUID | None = None,
    before: Place | None = None,
    limit: int,
    actor: Actor = OWNER,
) -> list[Payment]:
    """Payments of a license, newest first, or `only` one: for who has a key of it (`digest`), or for an operator.

    Raises: Problem license_invalid, admin_forbidden.
    """
    at, id = before or (None, None)
    rows = db.rows(
        _LIST,
        license_id=license_id,
        digest=digest,
        only=only,
        before_at=at,
        before_id=id,
        limit=limit,
        **actor._asdict(),
    )
    return [Payment._make(row) for row in rows]


def list_all_payments(
    db: Database, *, only_owed: bool = False, before: Place | None = None, limit: int, actor: Actor = OWNER
) -> list[Payment]:
    """Payments of all licenses, newest first; `only_owed`: those of which something is owed.

    Raises: Problem admin_forbidden.
    """
    at, id = before or (None, None)
    rows = db.rows(_LIST_ALL, only_owed=only_owed, before_at=at, before_id=id, limit=limit, **actor._asdict())
    return [Payment._make(row) for row in rows]


def due_owed(db: Database) -> list[DueOwed]:
    """Of what money has gone back and credits are left that may be held no more."""
    return [DueOwed._make(row) for row in db.rows(_DUE_OWED)]


def take_back(db: Database, due: DueOwed) -> bool:
    """Take what is owed of a payment, as far as it can be; whether there was anything.

    Raises: Problem license_invalid.
    """
    (is_taken,) = db.row(_TAKE_BACK, **due._asdict())
    return bool(is_taken)


def set_secret(db: Database, signing_secret: str, overlap_s: int) -> int:
    """Have Stripe's events known by this secret, and for `overlap_s` by those before it; how many are good then. Only
    the owner can."""
    (good,) = db.row(_SECRET, signing_secret=signing_secret.encode(), overlap_s=overlap_s)
    return int(good)
