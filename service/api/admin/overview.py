"""GET /api/v1/admin/overview: the business by day."""

from typing import Any

from marshmallow import Schema, fields, validate

from ... import operator, statements
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import Answer
from ...http.services import services


def _day(name: str, description: str) -> fields.Date:
    return fields.Date(
        data_key=name,
        load_default=None,
        error_messages={"invalid": "must be a day such as 2027-01-31"},
        validate=validate.Range(statements.FIRST_DAY, statements.LAST_DAY, error="must be from {min} to {max}"),
        metadata={"description": description},
    )


class OverviewQuery(Schema):
    error_messages = {"unknown": "is not a parameter of this request"}

    first = _day("from", "the first day (UTC); default: 29 days before the last")
    last = _day("to", "the last day (UTC); default: today")


class SumsAnswer(Answer):
    granted = fields.Integer()
    charged = fields.Integer(metadata={"description": "charges and deductions"})
    refunded = fields.Integer()
    expired = fields.Integer()
    voided = fields.Integer()
    adjusted = fields.Integer(metadata={"description": "of either sign"})
    shortfall = fields.Integer(metadata={"description": "of charges, what licenses could not pay"})
    outstanding = fields.Integer(metadata={"description": "owed to clients at the end of the day"})
    undelivered = fields.Integer(metadata={"description": "charges whose answers are not known to have arrived"})
    operator_loss_answers = fields.Integer(metadata={"description": "answers that broke off, paid by nobody"})
    operator_loss_tokens = fields.Integer(metadata={"description": "what clients got of those, about"})


class DayAnswer(SumsAnswer):
    day = fields.Date()


class TotalAnswer(SumsAnswer):
    held = fields.Integer(metadata={"description": "set aside in open holds, now"})


class ExpiringAnswer(Answer):
    credits = fields.Integer(metadata={"description": "left of grants that end, if nobody uses more"})
    licenses = fields.Integer()


class OverviewAnswer(Answer):
    first = fields.Date(data_key="from")
    last = fields.Date(data_key="to")
    days = fields.List(fields.Nested(DayAnswer))
    total = fields.Nested(TotalAnswer)
    expiring = fields.Nested(ExpiringAnswer, metadata={"description": f"in the next {operator.EXPIRING_DAYS} days"})


blueprint = AdminBlueprint("overview", description="The business by day.")

_SUMS = {
    "granted": 100000,
    "charged": 1483,
    "refunded": 0,
    "expired": 0,
    "voided": 0,
    "adjusted": 0,
    "shortfall": 0,
    "outstanding": 98517,
    "undelivered": 0,
    "operator_loss_answers": 0,
    "operator_loss_tokens": 0,
}


@blueprint.get("/api/v1/admin/overview", scope="read")
@blueprint.arguments(OverviewQuery, location="query")
@blueprint.response(
    200,
    OverviewAnswer,
    example={
        "from": "2026-11-22",
        "to": "2026-11-22",
        "days": [{**_SUMS, "day": "2026-11-22"}],
        "total": {**_SUMS, "held": 0},
        "expiring": {"credits": 20000, "licenses": 3},
    },
)
def show_overview(query: dict[str, Any]) -> Any:
    """What was granted, charged and given back, by day, and what is owed to clients; computed from the ledger."""
    return operator.overview(services().database, query["first"], query["last"], actor=actor())
