"""/api/v1/holds: set credits aside, then settle or release them."""

from typing import Any
from uuid import UUID, uuid4

from ..repository import holds
from . import requests
from .access import note
from .requests import SECURITY, Blueprint, amount_in_range, fingerprint, license_auth, license_key, services
from .schemas import (
    HoldAnswer,
    HoldRequest,
    IdempotencyHeaders,
    OpenHoldAnswer,
    SettledHoldAnswer,
    SettleRequest,
)

blueprint = Blueprint("holds", license_auth)


@blueprint.post("/api/v1/holds")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.arguments(HoldRequest)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(201, OpenHoldAnswer)
def open_hold(body: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Set credits aside until they are settled, released, or their time is over."""
    amount = amount_in_range(body["amount"])
    hold = holds.open_for_client(
        services().database,
        license_key(),
        uuid4(),
        amount,
        body["expires_in_s"],
        headers["idempotency_key"],
        fingerprint(),
        body["reference"],
    )
    return {
        "id": hold.hold_id,
        "amount": hold.amount,
        "state": "held",
        "expires_at": hold.expires_at,
        "available": hold.available,
    }


@blueprint.post("/api/v1/holds/<uuid:hold_id>/settle")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.arguments(SettleRequest)
@blueprint.response(200, SettledHoldAnswer)
def settle_hold(body: dict[str, Any], hold_id: UUID) -> Any:
    """Charge what was used, up to the amount held, and give the rest back.

    The same call again gives the same answer, so it needs no idempotency key."""
    amount = amount_in_range(body["amount"])
    settled = holds.settle(services().database, license_key(), hold_id, amount)
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
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.response(200, HoldAnswer)
def release_hold(hold_id: UUID) -> Any:
    """Give all of the hold back. The same call again gives the same answer."""
    requests.body()  # none is needed, and one that is too large is refused here as anywhere
    released = holds.release(services().database, license_key(), hold_id)
    return {"id": hold_id, "amount": released.amount, "state": released.state, "expires_at": released.expires_at}
