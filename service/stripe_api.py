"""What Obol asks Stripe for, through its SDK: a checkout, and whose payment an intent is."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import stripe
from stripe import RequestsClient, StripeClient

from .logs import log
from .problems import Problem

# Where its checkouts are, unless an account has a domain of its own for them.
CHECKOUTS = "https://checkout.stripe.com"

TIMEOUT_S = 20
# Each with the same idempotency key, so none of them can make a second checkout.
_RETRIES = 2


class Session(NamedTuple):
    """A checkout: Stripe's id of it, and the page to pay at."""

    id: str
    url: str


class StripeApi:
    """Args:
    secret_key: of the Stripe account.
    base_url: where its API is; None: the SDK's.
    """

    def __init__(self, secret_key: str, base_url: str | None = None) -> None:
        self._client = StripeClient(
            secret_key,
            base_addresses=None if base_url is None else {"api": base_url},
            max_network_retries=_RETRIES,
            http_client=RequestsClient(timeout=TIMEOUT_S),
        )

    def make_checkout(
        self,
        idempotency_key: str,
        *,
        name: str,
        price: int,
        currency: str,
        success_url: str,
        cancel_url: str,
        expires_at: datetime,
        metadata: Mapping[str, str],
    ) -> Session:
        """A checkout for one thing; with the same idempotency key the same one, for a day.

        Raises: Problem stripe_error.
        """
        product: Any = {"currency": currency, "unit_amount": price, "product_data": {"name": name}}
        params: Any = {
            "mode": "payment",
            # With its wallets. A bank's debit is under way for days, and nobody here would know that it is.
            "payment_method_types": ["card"],
            "line_items": [{"price_data": product, "quantity": 1}],
            "success_url": success_url,
            "cancel_url": cancel_url,
            "expires_at": int(expires_at.timestamp()),
            "metadata": dict(metadata),
            # Charges get it from there, and refunds speak of charges.
            "payment_intent_data": {"metadata": dict(metadata)},
        }
        try:
            session = self._client.v1.checkout.sessions.create(params, {"idempotency_key": idempotency_key})
        except stripe.StripeError as error:
            raise _problem(error, "Stripe did not make a checkout. Nothing was paid.") from error
        return Session(session.id, str(session.url))

    def metadata_of(self, payment_intent: str) -> dict[str, str]:
        """What a payment was said to be for. Raises: Problem stripe_error."""
        try:
            return dict(self._client.v1.payment_intents.retrieve(payment_intent).metadata.to_dict())
        except stripe.StripeError as error:
            raise _problem(error, "Stripe did not say what the payment is for.") from error


def _problem(error: stripe.StripeError, detail: str) -> Problem:
    """The operator is told by the log what Stripe said; its words can name keys and amounts."""
    log.warning("stripe_refused", error=type(error).__name__, status=error.http_status, code=error.code)
    can_pass = error.http_status is None or error.http_status == 429 or error.http_status >= 500
    return Problem("stripe_error", detail, retry_after_s=1 if can_pass else None)
