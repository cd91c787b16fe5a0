"""/api/v1/holds: set credits aside, then settle or release them."""

from typing import Any
from uuid import UUID, uuid4

from marshmallow import fields, validate

from .. import metrics, tracing
from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.body import body as read_body
from ..http.body import fingerprint
from ..http.fields import (
    MAX_CREDITS,
    REQUIRED,
    Answer,
    IdempotencyHeaders,
    Moment,
    Request,
    WholeNumber,
    bounds,
    check_amount,
)
from ..http.request_log import note
from ..http.services import services
from ..repository import holds
from .deductions import DeductionRequest

MAX_HOLD_S = 24 * 3600
DEFAULT_HOLD_S = 300


class HoldRequest(DeductionRequest):
    expires_in_s = WholeNumber(
        load_default=DEFAULT_HOLD_S,
        validate=bounds(1, MAX_HOLD_S),
        error_messages=REQUIRED,
        metadata={"description": "when it can no longer be settled; its credits are back a heartbeat (10 s) later"},
    )


class SettleRequest(Request):
    amount = WholeNumber(
        required=True,
        error_messages=REQUIRED,
        metadata={"minimum": 1, "maximum": MAX_CREDITS, "description": "to charge nothing, release the hold"},
    )


class HoldAnswer(Answer):
    id = fields.UUID()
    amount = fields.Integer()
    state = fields.String(
        validate=validate.OneOf(["held", "settled", "released", "expired"]),
        metadata={"description": "as it is now: a call that is replayed may find its hold ended"},
    )
    expires_at = Moment()


class OpenHoldAnswer(HoldAnswer):
    available = fields.Integer(metadata={"description": "credits not set aside, after this hold"})


class SettledHoldAnswer(HoldAnswer):
    charged = fields.Integer()
    balance = fields.Integer()


blueprint = Blueprint(
    "holds", license_auth, description="Set credits aside before the work, and settle what it took or give them back."
)

_HELD = {
    "id": "661fd0b6-db64-4522-bd48-222e4259ca01",
    "amount": 5000,
    "state": "held",
    "expires_at": "2026-11-22T16:19:29.090409Z",
}


@blueprint.post("/api/v1/holds")
@blueprint.problems("amount_invalid", "insufficient_credits", "idempotency_key_reused", "hold_not_open")
@blueprint.arguments(HoldRequest, example={"amount": 5000, "expires_in_s": 600})
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(201, OpenHoldAnswer, example={**_HELD, "available": 94717})
def open_hold(body: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Set credits aside until they are settled, released, or their time is over."""
    amount = check_amount(body["amount"])
    services().lease.check_revision()
    with tracing.span("open_hold"):
        hold = holds.open_for_client(
            services().database,
            license_key(),
            uuid4(),
            amount=amount,
            expires_in_s=body["expires_in_s"],
            idempotency_key=headers["idempotency_key"],
            fingerprint=fingerprint(),
            reference=body["reference"],
        )
    return {
        "id": hold.hold_id,
        "amount": hold.amount,
        "state": hold.state,
        "expires_at": hold.expires_at,
        "available": hold.available,
    }


@blueprint.post("/api/v1/holds/<uuid:hold_id>/settle")
@blueprint.problems("amount_invalid", "hold_not_found", "hold_not_open", "settle_exceeds_hold")
@blueprint.arguments(SettleRequest, example={"amount": 1200})
@blueprint.response(200, SettledHoldAnswer, example={**_HELD, "state": "settled", "charged": 1200, "balance": 98517})
def settle_hold(body: dict[str, Any], hold_id: UUID) -> Any:
    """Charge what was used, up to the amount held, and give the rest back.

    The same call again gives the same answer, so it needs no idempotency key."""
    amount = check_amount(body["amount"])
    with tracing.span("settle_hold"):
        settled = holds.settle(services().database, license_key(), hold_id, amount=amount)
    # The same call again is not told apart, and counts again.
    metrics.CREDITS.labels("charge").inc(settled.charge)
    note(credits=amount)
    return {
        "id": hold_id,
        "amount": settled.amount,
        "state": "settled",
        "expires_at": settled.expires_at,
        "charged": settled.charge,
        "balance": settled.balance,
    }


@blueprint.post("/api/v1/holds/<uuid:hold_id>/release")
@blueprint.problems("hold_not_found", "hold_not_open", "payload_too_large", "malformed_request")
@blueprint.response(200, HoldAnswer, example={**_HELD, "state": "released"})
def release_hold(hold_id: UUID) -> Any:
    """Give all of the hold back. The same call again gives the same answer."""
    read_body()  # none is needed, and one that is too large is refused here as anywhere
    released = holds.release(services().database, license_key(), hold_id)
    return {"id": hold_id, "amount": released.amount, "state": released.state, "expires_at": released.expires_at}
