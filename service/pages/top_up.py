"""Top-up by card, of whoever holds a license key: what is sold, the way to Stripe, and what became of a payment."""

from urllib.parse import urlsplit
from uuid import UUID

from flask import Response, g, request

from .. import payments
from ..http.body import fingerprint
from ..http.services import cashier, services
from ..problems import Problem
from ..repository import licenses
from ..repository import payments as repository
from . import forms
from .account import blueprint
from .guarded import form, lead_on, license_key, redirect, respond

_PATH = "/account/top-up"
_PAGE = 20


@blueprint.get("/account/top-up")
def show_packages() -> Response:
    """What is sold, and what was paid."""
    database, key, asked = services().database, license_key(), forms.query()
    found = repository.list_payments(
        database, key.license_id, digest=key.digest, before=forms.place(asked.raw("cursor")), limit=_PAGE + 1
    )
    # Where cards are taken no more, there is what was paid.
    till = services().cashier if found else cashier()
    return respond(
        "account/top_up.html",
        # The way of its forms: here, and then to Stripe.
        forms_lead_to=None if till is None else _origin(till.checkouts),
        license=licenses.find(database, key),
        packages=[] if till is None else [package for package in repository.packages(database) if package.is_active],
        new_idempotency_key=forms.new_idempotency_key,
        payments=found[:_PAGE],
        next_cursor=forms.place_of(found[_PAGE - 1]) if len(found) > _PAGE else None,
    )


@blueprint.post("/account/top-up")
def begin_payment() -> Response:
    """Go on to Stripe, which asks before it takes money."""
    given, database, till = form(), services().database, cashier()
    checkout = payments.open_checkout(
        database,
        till,
        license_key(),
        package_id=given.text("package_id", 1),
        idempotency_key=given.idempotency_key,
        fingerprint=fingerprint(),
    )
    if _origin(checkout.checkout_url) != _origin(till.checkouts):
        # The account has a domain of its own there. No browser follows a form to it that was not announced, but a link.
        return redirect(f"{_PATH}/{checkout.payment_id}")
    return redirect(checkout.checkout_url)


@blueprint.get("/account/top-up/<uuid:payment_id>")
def show_payment(payment_id: UUID) -> Response:
    """What became of a payment, also while Stripe has not told yet."""
    database, key = services().database, license_key()
    found = repository.list_payments(database, key.license_id, digest=key.digest, only=payment_id, limit=1)
    if not found:
        cashier()
        raise Problem("payment_not_found", f"This license has no payment {payment_id}.")
    (payment,) = found
    if "HX-Request" in request.headers and payment.state == "pending" and payment.disagreement is None:
        # Nothing new: the page stays as it is, and whoever is at one of its links stays there.
        return Response(status=204)
    return respond("account/payment.html", payment=payment, license=licenses.find(database, key))


@blueprint.get("/account/top-up/back", is_open=True)
def come_back() -> Response:
    """Back from Stripe, without having paid."""
    return _come_back(_PATH)


@blueprint.get("/account/top-up/<uuid:payment_id>/back", is_open=True)
def come_back_from(payment_id: UUID) -> Response:
    """Back from Stripe, having paid."""
    return _come_back(f"{_PATH}/{payment_id}")


def _come_back(target: str) -> Response:
    return lead_on(target, "Back from Stripe") if g.session is None else redirect(target)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
