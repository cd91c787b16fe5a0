"""Top-up by card: a checkout of Stripe for a package, and the events in which Stripe says what became of it.

Who pays is asked by Stripe, and what was paid is believed to nobody but Stripe: the database itself looks at the
signature of an event, with a secret that this process has not. So neither the service nor its login can make credits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from .db import Database
from .keys import KeyDigest
from .logs import log
from .problems import Problem
from .repository import payments
from .repository.payments import Booked

if TYPE_CHECKING:
    from .stripe_api import StripeApi

MOST_URL = 2000

# No license: of an event that names none, so that its signature is looked at all the same.
_NOBODY = UUID(int=0)
_SIGNATURE = re.compile("(?=.*(?:^|,)t=[0-9]{1,12}(?:,|$))(?=.*(?:^|,)v1=[0-9a-f]{64}(?:,|$))[!-~]{1,2000}")
# They do not say more of what they are of.
_OF_AN_INTENT = (
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.closed",
    "refund.failed",
    "refund.updated",
    "charge.refund.updated",
)


class Cashier(NamedTuple):
    """What there is where payments are configured: Stripe, the address at which clients see this service, and the
    origin at which Stripe's checkouts are to be expected."""

    stripe: StripeApi
    public_url: str
    checkouts: str


class Checkout(NamedTuple):
    """Where to pay, and until when."""

    payment_id: UUID
    checkout_url: str
    expires_at: datetime


def check_url(public_url: str, field: str, url: str) -> str:
    """A page to come back to from Stripe. Only of this service's own address, or whoever gives somebody a link to a
    checkout could send them anywhere after it.

    Raises: Problem validation_failed.
    """
    try:
        parts = urlsplit(url) if re.fullmatch(r"[!-\[\]-~]+", url) else urlsplit("")
    except ValueError:
        parts = urlsplit("")
    own = urlsplit(public_url)
    if (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
        message = f"must be a URL that begins with {own.scheme}://{own.netloc}"
        raise Problem("validation_failed", f"{field}: {message}", {"errors": [{"field": field, "message": message}]})
    return url


def open_checkout(
    db: Database,
    cashier: Cashier,
    key: KeyDigest,
    *,
    package_id: str,
    success_url: str | None = None,
    cancel_url: str | None = None,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
) -> Checkout:
    """A page of Stripe at which to pay for a package. The payment is written down first, and its id is the idempotency
    key at Stripe: whatever is lost on the way, the same call again finds the same page. The pages to come back to are
    the account's, where none are named: one says what became of the payment, the other what is sold.

    Raises: Problem validation_failed, license_*, idempotency_key_reused, answer_gone, package_not_found,
        limit_exceeded, stripe_error.
    """
    payment_id, account = uuid4(), cashier.public_url.rstrip("/") + "/account"
    pending = payments.begin(
        db,
        key,
        payment_id,
        package_id=package_id,
        success_url=check_url(cashier.public_url, "success_url", success_url or f"{account}/top-up/{payment_id}/back"),
        cancel_url=check_url(cashier.public_url, "cancel_url", cancel_url or f"{account}/top-up/back"),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )
    url = pending.checkout_url
    if url is None:
        session = cashier.stripe.make_checkout(
            str(pending.payment_id),
            name=pending.name,
            price=pending.price,
            currency=pending.currency,
            success_url=pending.success_url,
            cancel_url=pending.cancel_url,
            expires_at=pending.expires_at,
            metadata={
                "license_id": str(key.license_id),
                "payment_id": str(pending.payment_id),
                "package_id": pending.package_id,
            },
        )
        url = session.url
        payments.note_checkout(db, key, pending.payment_id, session_id=session.id, checkout_url=url)
    return Checkout(pending.payment_id, url, pending.expires_at)


def receive(db: Database, cashier: Cashier, event: Mapping[str, Any], *, payload: bytes, signature: str) -> Booked:
    """Book an event, which came as `payload`. Other events than those of our payments are ignored.

    Raises: Problem signature_invalid; payment_not_found for a dispute, or a refund that failed, of a payment that
        nothing is known of yet: Stripe sends it again; stripe_error.
    """
    if _SIGNATURE.fullmatch(signature) is None:
        raise _forged()
    said = _object(_object(event, "data"), "object")
    intent = said.get("payment_intent")
    if event.get("type") in _OF_AN_INTENT and isinstance(intent, str):
        license_id = payments.license_of_intent(db, intent)
    else:
        license_id = _id(_object(said, "metadata").get("license_id"))
    booked = payments.book_event(db, license_id or _NOBODY, payload=payload, signature=signature)
    if booked.outcome == "forged":
        raise _forged()
    if booked.outcome == "unknown_intent":
        # It can be of another shop on the same account, or have come before all that we know of the payment.
        if isinstance(intent, str) and _id(cashier.stripe.metadata_of(intent).get("license_id")) is not None:
            raise Problem("payment_not_found", "Nothing is known of this payment yet. Send the event again later.")
        return Booked("ignored", None)
    if booked.outcome == "disagrees":
        log.warning(
            "stripe_event_disagrees",
            license_id=str(license_id),
            payment_id=str(booked.payment_id),
            event_id=event.get("id"),
            hint="nothing was booked; `obol payments` says how it differs from what the payment was begun with",
        )
    return booked


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _id(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _forged() -> Problem:
    return Problem(
        "signature_invalid",
        "The Stripe-Signature is not one of this payload, or is too old. `obol stripe secret set` tells the database "
        "the signing secret.",
    )
