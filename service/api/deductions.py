"""POST /api/v1/deductions: take credits, now."""

from typing import Any
from uuid import uuid4

from marshmallow import fields

from .. import metrics
from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.body import fingerprint
from ..http.fields import (
    MAX_CREDITS,
    MAX_REFERENCE,
    REQUIRED,
    Answer,
    IdempotencyHeaders,
    Request,
    Text,
    WholeNumber,
    check_amount,
    length,
)
from ..http.request_log import note
from ..http.services import services
from ..repository.ledger import DeductionItem


class DeductionRequest(Request):
    amount = WholeNumber(required=True, error_messages=REQUIRED, metadata={"minimum": 1, "maximum": MAX_CREDITS})
    reference = Text(allow_none=True, load_default=None, validate=length(0, MAX_REFERENCE))


class DeductionAnswer(Answer):
    id = fields.UUID(attribute="deduction_id")
    amount = fields.Integer()
    balance = fields.Integer()


blueprint = Blueprint("deductions", license_auth, description="Take credits, now.")


@blueprint.post("/api/v1/deductions")
@blueprint.problems("amount_invalid", "insufficient_credits", "idempotency_key_reused", "answer_gone")
@blueprint.arguments(DeductionRequest, example={"amount": 250, "reference": "invoice 7"})
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(
    200, DeductionAnswer, example={"id": "f627a3b7-e7b1-4c26-94c7-68f123a3e967", "amount": 250, "balance": 99717}
)
def create_deduction(body: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Deduct credits from the license."""
    amount = check_amount(body["amount"])
    deduction_id = uuid4()
    item = DeductionItem(deduction_id, amount, headers["idempotency_key"], fingerprint(), body["reference"])
    deduction = services().deductions.deduct(license_key(), item)
    replayed = deduction.deduction_id != deduction_id
    metrics.CREDITS.labels("deduction").inc(0 if replayed else amount)
    note(credits=0 if replayed else amount, replayed=replayed)
    return deduction
