"""/api/v1/license/usage and receipts: where the credits went."""

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields, validate

from .. import statements
from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import Answer, Names
from ..http.services import services
from ..repository.usage import DIMENSIONS, Reader


def _day(name: str, description: str) -> fields.Date:
    return fields.Date(
        data_key=name,
        load_default=None,
        error_messages={"invalid": "must be a day such as 2027-01-31"},
        validate=validate.Range(statements.FIRST_DAY, statements.LAST_DAY, error="must be from {min} to {max}"),
        metadata={"description": description},
    )


class UsageQuery(Schema):
    error_messages = {"unknown": "is not a parameter of this request"}

    first = _day("from", "the first day (UTC); default: 29 days before the last")
    last = _day("to", "the last day (UTC); default: today")
    by = Names(
        DIMENSIONS,
        load_default=DIMENSIONS,
        metadata={
            "type": "string",
            "default": ",".join(DIMENSIONS),
            "description": "what rows are for: day, model, key, or several with commas between. Default: all three",
        },
    )


class FiguresOfUsageAnswer(Answer):
    calls = fields.Integer(metadata={"description": "charges and deductions"})
    credits = fields.Integer(metadata={"description": "what these took"})
    input_tokens = fields.Integer()
    output_tokens = fields.Integer()
    cache_write_5m_tokens = fields.Integer()
    cache_write_1h_tokens = fields.Integer()
    cache_read_tokens = fields.Integer()
    refunded = fields.Integer(metadata={"description": "what came back on the day, whenever it was taken"})


class UsageRowAnswer(FiguresOfUsageAnswer):
    day = fields.Date(allow_none=True, metadata={"description": "in UTC; null: rows are not by day"})
    model = fields.String(allow_none=True, metadata={"description": "null: none, or rows are not by model"})
    key_id = fields.UUID(
        allow_none=True, metadata={"description": "null: an operator's deductions, or rows are not by key"}
    )


class UsageAnswer(Answer):
    first = fields.Date(data_key="from")
    last = fields.Date(data_key="to")
    rows = fields.List(fields.Nested(UsageRowAnswer))
    total = fields.Nested(FiguresOfUsageAnswer)


class UsedTokensAnswer(Answer):
    input = fields.Integer()
    output = fields.Integer()
    cache_write_5m = fields.Integer()
    cache_write_1h = fields.Integer()
    cache_read = fields.Integer()


class LineAnswer(Answer):
    model = fields.String(allow_none=True)
    above_input_tokens = fields.Integer(allow_none=True, metadata={"description": "of the price's tier; null: none"})
    token_class = fields.String(data_key="class", attribute="class")
    tokens = fields.Integer()
    credits_per_million_tokens = fields.Integer()
    millionths = fields.Integer(metadata={"description": "tokens times price, in millionths of a credit"})


class CalculationAnswer(Answer):
    lines = fields.List(fields.Nested(LineAnswer))
    millionths = fields.Integer(metadata={"description": "the sum of the lines"})
    credits = fields.Integer(metadata={"description": "the same rounded up, once: `charged` and `shortfall` together"})


class ReceiptHoldAnswer(Answer):
    amount = fields.Integer(metadata={"description": "what was set aside"})
    opened_at = fields.String()
    delivered_at = fields.String(allow_none=True, metadata={"description": "null: not known to have been delivered"})


class DrawAnswer(Answer):
    grant_id = fields.UUID()
    amount = fields.Integer()


class ReceiptRefundAnswer(Answer):
    refund_id = fields.UUID(allow_none=True)
    entry_no = fields.Integer()
    amount = fields.Integer()
    reference = fields.String(allow_none=True)
    created_at = fields.String()


class ReceiptAnswer(Answer):
    id = fields.UUID()
    kind = fields.String(validate=validate.OneOf(["charge", "deduction"]))
    entry_no = fields.Integer()
    created_at = fields.String()
    charged = fields.Integer()
    shortfall = fields.Integer(metadata={"description": "what the license could not pay and was not charged"})
    refunded = fields.Integer(metadata={"description": "what of it has come back so far"})
    balance_after = fields.Integer()
    reference = fields.String(allow_none=True)
    model = fields.String(allow_none=True)
    key_id = fields.UUID(allow_none=True, metadata={"description": "of the key it was made with; null: by an operator"})
    tokens = fields.Nested(UsedTokensAnswer, allow_none=True, metadata={"description": "of all attempts together"})
    price = fields.Dict(allow_none=True, metadata={"description": "as it was frozen when the hold was opened"})
    calculation = fields.Nested(CalculationAnswer, allow_none=True, metadata={"description": "null: not by tokens"})
    hold = fields.Nested(ReceiptHoldAnswer, allow_none=True, metadata={"description": "null for a deduction"})
    grants = fields.List(
        fields.Nested(DrawAnswer),
        allow_none=True,
        metadata={"description": "what it drew on, in that order; null for what was taken before grants had lifetimes"},
    )
    refunds = fields.List(fields.Nested(ReceiptRefundAnswer))


blueprint = Blueprint("usage", license_auth, description="Where the credits went, by day and call by call.")

_FIGURES = {
    "calls": 1,
    "credits": 33,
    "input_tokens": 23,
    "output_tokens": 10,
    "cache_write_5m_tokens": 0,
    "cache_write_1h_tokens": 0,
    "cache_read_tokens": 0,
    "refunded": 0,
}
USAGE = {
    "from": "2026-11-22",
    "to": "2026-11-22",
    "rows": [
        {
            "day": "2026-11-22",
            "model": "claude-sonnet-5-5",
            "key_id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
            **_FIGURES,
        }
    ],
    "total": _FIGURES,
}
RECEIPT = {
    "id": "661fd0b6-db64-4522-bd48-222e4259ca01",
    "kind": "deduction",
    "entry_no": 4,
    "created_at": "2026-11-22T16:09:29.079534Z",
    "charged": 1200,
    "shortfall": 0,
    "refunded": 200,
    "balance_after": 98517,
    "reference": "order 12",
    "model": None,
    "key_id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
    "tokens": None,
    "price": None,
    "calculation": None,
    "hold": None,
    "grants": [{"grant_id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c", "amount": 1200}],
    "refunds": [
        {
            "refund_id": "0b8ba42c-9d0c-4ac4-8a80-4d13a1f2e7dd",
            "entry_no": 5,
            "amount": 200,
            "reference": "the answer was late",
            "created_at": "2026-11-23T16:09:29.079534Z",
        }
    ],
}


@blueprint.get("/api/v1/license/usage")
@blueprint.arguments(UsageQuery, location="query")
@blueprint.response(200, UsageAnswer, example=USAGE)
def show_usage(query: dict[str, Any]) -> Any:
    """What was used by day, model and key; what was charged a moment ago is in it."""
    return statements.usage_of(services().database, Reader.with_key(license_key()), **query)


@blueprint.get("/api/v1/license/receipts/<uuid:cause_id>")
@blueprint.problems("hold_not_found")
@blueprint.response(200, ReceiptAnswer, example=RECEIPT)
def show_receipt(cause_id: UUID) -> Any:
    """How a charge (by the id of its hold) or a deduction is made up, what it drew on, and what of it came back."""
    return statements.receipt(services().database, Reader.with_key(license_key()), cause_id)
