"""/api/v1/license/packages, /checkout and /payments, and /webhooks/stripe: top-up by card."""

from typing import Any

from marshmallow import EXCLUDE, Schema, fields, validate

from .. import payments
from ..http.auth import license_auth, license_key, no_auth
from ..http.blueprint import Blueprint
from ..http.body import body as read_body
from ..http.body import fingerprint
from ..http.fields import (
    REQUIRED,
    Answer,
    AnyObject,
    IdempotencyHeaders,
    Moment,
    PageQuery,
    Request,
    Text,
    length,
    next_page,
    page,
)
from ..http.request_log import note
from ..http.services import cashier, services
from ..payments import MOST_URL
from ..repository import licenses
from ..repository import payments as repository

# Events have a few thousand bytes.
MOST_EVENT = 256 * 1024
MOST_ID = 64


class PackageAnswer(Answer):
    id = fields.String(attribute="package_id")
    name = fields.String()
    price = fields.Integer(metadata={"description": "in the smallest unit of the currency, such as cents"})
    currency = fields.String()
    credits = fields.Integer()
    lifetime_days = fields.Integer(allow_none=True, metadata={"description": "null: they never expire"})


class PackagesAnswer(Answer):
    packages = fields.List(fields.Nested(PackageAnswer))


class CheckoutRequest(Request):
    package_id = Text(required=True, error_messages=REQUIRED, validate=length(1, MOST_ID))
    success_url = Text(allow_none=True, load_default=None, validate=length(1, MOST_URL))
    cancel_url = Text(allow_none=True, load_default=None, validate=length(1, MOST_URL))


class CheckoutAnswer(Answer):
    payment_id = fields.UUID()
    checkout_url = fields.String(metadata={"description": "the page of Stripe to pay at"})
    expires_at = Moment(metadata={"description": "until when it can be paid"})


class PaymentAnswer(Answer):
    id = fields.UUID(attribute="payment_id")
    package_id = fields.String()
    name = fields.String()
    price = fields.Integer(metadata={"description": "in the smallest unit of the currency, such as cents"})
    currency = fields.String()
    credits = fields.Integer()
    state = fields.String(validate=validate.OneOf(["pending", "paid", "expired"]))
    refunded = fields.Integer(metadata={"description": "money that was paid back"})
    disputed = fields.Integer(metadata={"description": "money that disputes hold back, open or lost"})
    owed = fields.Integer(
        metadata={"description": "credits that were to be taken back for it, and were used or are held"}
    )
    checkout_url = fields.String(
        allow_none=True, metadata={"description": "the page of Stripe to pay at; null: it cannot be paid, or no longer"}
    )
    created_at = Moment()
    paid_at = Moment(allow_none=True)


class PaymentsAnswer(Answer):
    payments = fields.List(fields.Nested(PaymentAnswer))
    next_cursor = next_page()


class StripeEventHeaders(Schema):
    class Meta:
        unknown = EXCLUDE

    signature = fields.String(
        data_key="Stripe-Signature", load_default=None, metadata={"description": "`t=…,v1=…`, as Stripe signs it"}
    )


class StripeEventAnswer(Answer):
    outcome = fields.String(validate=validate.OneOf(["booked", "replayed", "disagrees", "ignored"]))


PACKAGE = {
    "id": "starter",
    "name": "Starter",
    "price": 1000,
    "currency": "eur",
    "credits": 100000,
    "lifetime_days": 365,
}
PAYMENT = {
    "id": "0b8ba42c-9d0c-4ac4-8a80-4d13a1f2e7dd",
    "package_id": "starter",
    "name": "Starter",
    "price": 1000,
    "currency": "eur",
    "credits": 100000,
    "state": "paid",
    "refunded": 0,
    "disputed": 0,
    "owed": 0,
    "checkout_url": None,
    "created_at": "2026-11-22T16:08:41.270518Z",
    "paid_at": "2026-11-22T16:09:29.079534Z",
}

blueprint = Blueprint("payments", license_auth, description="Top-up by card.")
webhook = Blueprint("stripe", no_auth, MOST_EVENT, description="What Stripe says of payments.")


@blueprint.get("/api/v1/license/packages")
@blueprint.problems("payments_not_configured")
@blueprint.response(200, PackagesAnswer, example={"packages": [PACKAGE]})
def list_packages() -> Any:
    """The packages that can be bought by card, cheapest first."""
    database = services().database
    licenses.find(database, license_key())
    cashier()
    return {"packages": [package for package in repository.packages(database) if package.is_active]}


@blueprint.post("/api/v1/license/checkout")
@blueprint.problems(
    "payments_not_configured",
    "package_not_found",
    "license_inactive",
    "license_expired",
    "idempotency_key_reused",
    "answer_gone",
    "stripe_error",
)
@blueprint.arguments(CheckoutRequest, example={"package_id": "starter"})
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(
    201,
    CheckoutAnswer,
    example={
        "payment_id": "0b8ba42c-9d0c-4ac4-8a80-4d13a1f2e7dd",
        "checkout_url": "https://checkout.stripe.com/c/pay/cs_test_a1b2",
        "expires_at": "2026-11-23T04:08:41Z",
    },
)
def create_checkout(body: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Begin to pay for a package. The credits are there once Stripe has said that it was paid; `success_url` and
    `cancel_url` are pages of this service to come back to, by default those of the account."""
    database = services().database
    # Before all else, as everywhere: who has no key learns nothing of what there is.
    licenses.find(database, license_key())
    return payments.open_checkout(
        database,
        cashier(),
        license_key(),
        **body,
        idempotency_key=headers["idempotency_key"],
        fingerprint=fingerprint(),
    )


@blueprint.get("/api/v1/license/payments")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, PaymentsAnswer, example={"payments": [PAYMENT], "next_cursor": None})
def list_payments(query: dict[str, Any]) -> Any:
    """The license's payments by card, newest first."""
    key, limit = license_key(), query["limit"]
    found = repository.list_payments(
        services().database, key.license_id, digest=key.digest, before=query["cursor"], limit=limit + 1
    )
    rows, next_cursor = page(found, limit)
    return {"payments": rows, "next_cursor": next_cursor}


@webhook.post("/webhooks/stripe")
@webhook.problems(
    "payments_not_configured",
    "signature_invalid",
    "payment_not_found",
    "amount_invalid",
    "stripe_error",
    "over_capacity",
    "database_error",
)
@webhook.arguments(AnyObject, example={"id": "evt_1", "type": "checkout.session.completed", "data": {"object": {}}})
@webhook.arguments(StripeEventHeaders, location="headers")
@webhook.response(200, StripeEventAnswer, example={"outcome": "booked"})
def receive_stripe_event(event: dict[str, Any], headers: dict[str, Any]) -> Any:
    """An event of Stripe. It is booked once, however often it is sent; what is not of a payment of ours is ignored."""
    booked = payments.receive(
        services().database, cashier(), event, payload=read_body(), signature=headers["signature"] or ""
    )
    note(stripe_event=str(event.get("id"))[:100], outcome=booked.outcome)
    return booked
