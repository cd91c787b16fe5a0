"""POST /api/v1/deductions: take credits, now."""

from typing import Any
from uuid import uuid4

from ..repository import credits
from .access import note
from .requests import SECURITY, Blueprint, amount_in_range, fingerprint, license_auth, license_key, services
from .schemas import DeductionAnswer, DeductionRequest, IdempotencyHeaders

blueprint = Blueprint("deductions", license_auth)


@blueprint.post("/api/v1/deductions")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.arguments(DeductionRequest)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(200, DeductionAnswer)
def create_deduction(body: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Deduct credits from the license."""
    amount = amount_in_range(body["amount"])
    deduction_id = uuid4()
    deduction = credits.deduct(
        services().database,
        license_key(),
        deduction_id,
        amount,
        headers["idempotency_key"],
        fingerprint(),
        body["reference"],
    )
    replayed = deduction.deduction_id != deduction_id
    note(credits=0 if replayed else amount, replayed=replayed)
    return deduction
