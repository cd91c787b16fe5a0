"""POST /api/v1/deductions: take credits, now."""

from typing import Any
from uuid import uuid4

from marshmallow import Schema, fields

from .. import metrics
from ..http.auth import SECURITY, license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.body import fingerprint
from ..http.fields import (
    MAX_REFERENCE,
    REQUIRED,
    IdempotencyHeaders,
    Request,
    Text,
    WholeNumber,
    check_amount,
    length,
)
from ..http.request_log import note
from ..http.services import services
from ..repository import ledger


class DeductionRequest(Request):
    amount = WholeNumber(required=True, error_messages=REQUIRED, metadata={"minimum": 1})
    reference = Text(allow_none=True, load_default=None, validate=length(0, MAX_REFERENCE))


class DeductionAnswer(Schema):
    id = fields.UUID(attribute="deduction_id")
    amount = fields.Integer()
    balance = fields.Integer()


blueprint = Blueprint("deductions", license_auth)


@blueprint.post("/api/v1/deductions")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.arguments(DeductionRequest)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(200, DeductionAnswer)
def create_deduction(body: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Deduct credits from the license."""
    amount = check_amount(body["amount"])
    deduction_id = uuid4()
    deduction = ledger.deduct(
        services().database,
        license_key(),
        deduction_id,
        amount=amount,
        idempotency_key=headers["idempotency_key"],
        fingerprint=fingerprint(),
        reference=body["reference"],
    )
    replayed = deduction.deduction_id != deduction_id
    metrics.CREDITS.labels("deduction").inc(0 if replayed else amount)
    note(credits=0 if replayed else amount, replayed=replayed)
    return deduction
