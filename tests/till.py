"""A till: packages, payments and the events of Stripe that end them, as the database is told of them."""

from uuid import uuid4

from fake_stripe import SECRET, sign
from sqlalchemy import text

from service.repository import payments

PRICE, CREDITS = 1000, 500
_BALANCE = text("SELECT balance FROM obol.licenses WHERE license_id = :license_id")


class Till:
    """Begins payments and sends events, as the service's login."""

    def __init__(self, db, owner, stripe):
        self.db, self.owner, self.stripe = db, owner, stripe
        payments.set_secret(owner, SECRET, 0)
        self.package()

    def package(self, **values):
        values = {"name": "Pack", "price": PRICE, "currency": "eur", "credits": CREDITS} | values
        return payments.set_package(self.owner, "pack", **values)

    def begin(self, license):
        pending = payments.begin(
            self.db, license.key, uuid4(), package_id="pack", success_url="https://o/", cancel_url="https://o/"
        )
        session_id = self.stripe.add_session(
            metadata={
                "license_id": str(license.id), "payment_id": str(pending.payment_id), "package_id": "pack",
            },
            price=pending.price, currency=pending.currency,
        )  # fmt: skip
        payments.note_checkout(
            self.db, license.key, pending.payment_id, session_id=session_id, checkout_url="https://c/"
        )
        return session_id

    def send(self, license, event, **named):
        signature = sign(event, **named)
        return payments.book_event(self.db, license.id, payload=event, signature=signature).outcome

    def payment(self, license):
        (payment,) = payments.list_payments(self.db, license.id, digest=license.key.digest, limit=10)
        return payment

    def state(self, license):
        """balance and owed."""
        ((balance,),) = self.owner.rows(_BALANCE, license_id=license.id)
        return balance, self.payment(license).owed
