"""POST /api/v1/deductions/batch: take credits from many licenses, for a program that sells something of its own."""

from typing import Any

from marshmallow import Schema, fields, validate

from ... import operator
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    MAX_CREDITS,
    MAX_IDEMPOTENCY_KEY,
    MAX_REFERENCE,
    REQUIRED,
    Answer,
    Request,
    Text,
    WholeNumber,
    length,
)
from ...http.services import services
from ...operator import BatchItem
from ...problems import Problem

MAX_ITEMS = 1000


class BatchItemRequest(Request):
    license_id = fields.UUID(required=True, error_messages=REQUIRED | {"invalid_uuid": "must be the id of a license"})
    amount = WholeNumber(
        required=True,
        error_messages=REQUIRED,
        validate=validate.Range(-(2**63), MAX_CREDITS, error="must be from 1 to {max}"),
        # Each item is on its own: what is too little for one refuses that one, and not the batch.
        metadata={"description": "below 1 this item is refused as amount_invalid"},
    )
    idempotency_key = Text(
        required=True,
        error_messages=REQUIRED,
        validate=validate.Regexp(
            f"^[!-~]{{1,{MAX_IDEMPOTENCY_KEY}}}$",
            error=f"must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters without spaces",
        ),
    )
    reference = Text(allow_none=True, load_default=None, validate=length(0, MAX_REFERENCE))


class BatchRequest(Request):
    items = fields.List(
        fields.Nested(BatchItemRequest),
        required=True,
        error_messages=REQUIRED,
        validate=validate.Length(1, MAX_ITEMS, error="must have {min} to {max} items"),
    )


class BatchResult(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["deducted", "refused"]))
    id = fields.UUID(metadata={"description": "of the deduction"})
    balance = fields.Integer()
    code = fields.String(metadata={"description": "why it was refused"})
    detail = fields.String()


class BatchAnswer(Answer):
    results = fields.List(fields.Nested(BatchResult), metadata={"description": "in the order of the items"})


blueprint = AdminBlueprint("deductions", description="Take credits from many licenses at once.")


@blueprint.post("/api/v1/deductions/batch", scope="grant")
@blueprint.arguments(
    BatchRequest,
    example={
        "items": [
            {"license_id": "549168a8-a341-43c8-83d9-e4789f508cf7", "amount": 250, "idempotency_key": "invoice-7"},
            {"license_id": "549168a8-a341-43c8-83d9-e4789f508cf7", "amount": 999999, "idempotency_key": "invoice-8"},
        ]
    },
)
@blueprint.response(
    200,
    BatchAnswer,
    example={
        "results": [
            {"status": "deducted", "id": "f627a3b7-e7b1-4c26-94c7-68f123a3e967", "balance": 99717},
            {
                "status": "refused",
                "code": "insufficient_credits",
                "detail": "999999 credits are needed and 99717 are available. Have credits granted, or ask for less.",
            },
        ]
    },
)
def deduct_batch(body: dict[str, Any]) -> Any:
    """Deduct credits from licenses, each item on its own. After an error all of it can be asked again: what was
    deducted is not deducted twice."""
    items = [BatchItem(**item) for item in body["items"]]
    done = operator.deduct_batch(services().database, items, actor=actor())
    return {
        "results": [
            {"status": "refused", "code": result.code, "detail": result.detail}
            if isinstance(result, Problem)
            else {"status": "deducted", "id": result.deduction_id, "balance": result.balance}
            for result in done
        ]
    }
