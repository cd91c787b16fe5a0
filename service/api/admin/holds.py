"""/api/v1/admin/holds: what an operator should look at, and give back."""

from typing import Any
from uuid import UUID

from marshmallow import fields, validate

from ... import operator
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import MAX_REFERENCE, REQUIRED, Answer, Moment, PageQuery, Request, Text, length, next_page, page
from ...http.request_log import note
from ...http.services import services
from ...repository import holds
from ...repository.holds import ListedHold


class HoldsQuery(PageQuery):
    state = Text(
        required=True,
        error_messages=REQUIRED,
        validate=validate.OneOf(holds.LISTS, error="must be one of {choices}"),
        metadata={
            "description": "undelivered: charges whose answers may not have reached their clients; unpaid: what "
            "clients got of answers that broke off and nobody was charged for; held: those that are open"
        },
    )
    license_id = fields.UUID(load_default=None, error_messages={"invalid_uuid": "must be the id of a license"})


class UnpaidAnswer(Answer):
    reason = fields.String()
    events = fields.Integer()
    bytes = fields.Integer()
    tokens = fields.Integer(metadata={"description": "about"})


class ListedHoldAnswer(Answer):
    license_id = fields.UUID()
    hold_id = fields.UUID()
    amount = fields.Integer(allow_none=True, metadata={"description": "what is held, or was charged; null if unpaid"})
    model = fields.String(allow_none=True, metadata={"description": "null: a client's own hold"})
    at = Moment(metadata={"description": "when it was opened (held), charged (undelivered) or ended (unpaid)"})
    expires_at = Moment(allow_none=True, metadata={"description": "of a client's own hold"})
    answer = fields.String(
        allow_none=True,
        validate=validate.OneOf(["not_stored", "lost", "unknown"]),
        metadata={
            "description": "of an undelivered one: not_stored, or stored under a replay key that this service does not "
            "have (lost) or cannot tell, for want of any (unknown)"
        },
    )
    unpaid = fields.Nested(UnpaidAnswer, allow_none=True)


class ListedHoldsAnswer(Answer):
    holds = fields.List(fields.Nested(ListedHoldAnswer))
    next_cursor = next_page()


class HoldRefundRequest(Request):
    license_id = fields.UUID(
        required=True, error_messages=REQUIRED | {"invalid_uuid": "must be the id of the hold's license"}
    )
    reason = Text(load_default="refunded by the operator", validate=length(1, MAX_REFERENCE))


class HoldRefundAnswer(Answer):
    id = fields.UUID(metadata={"description": "of the hold or deduction"})
    refund_id = fields.UUID()
    amount = fields.Integer()
    balance = fields.Integer()
    lapsed = fields.Integer(metadata={"description": "of it came from grants that have ended since, and is gone again"})


blueprint = AdminBlueprint("holds", description="What an operator should look at, and give back.")


@blueprint.get("/api/v1/admin/holds", scope="read")
@blueprint.arguments(HoldsQuery, location="query")
@blueprint.response(
    200,
    ListedHoldsAnswer,
    example={
        "holds": [
            {
                "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7",
                "hold_id": "661fd0b6-db64-4522-bd48-222e4259ca01",
                "amount": 1200,
                "model": "claude-sonnet-5-5",
                "at": "2026-11-22T16:08:41.270518Z",
                "expires_at": None,
                "answer": "lost",
                "unpaid": None,
            }
        ],
        "next_cursor": None,
    },
)
def list_holds(query: dict[str, Any]) -> Any:
    """Holds that an operator should look at, oldest first."""
    limit, key_ids = query["limit"], services().replay_key_ids
    found = holds.list_holds(
        services().database,
        query["state"],
        license_id=query["license_id"],
        key_ids=key_ids,
        after=query["cursor"],
        limit=limit + 1,
        actor=actor(),
    )
    rows, next_cursor = page(found, limit)
    return {
        "holds": [row._asdict() | {"answer": answer(row, bool(key_ids))} for row in rows],
        "next_cursor": next_cursor,
    }


@blueprint.post("/api/v1/admin/holds/<uuid:hold_id>/refund", scope="grant")
@blueprint.problems("license_not_found", "hold_not_found", "amount_invalid")
@blueprint.arguments(HoldRefundRequest, example={"license_id": "549168a8-a341-43c8-83d9-e4789f508cf7"})
@blueprint.response(
    200,
    HoldRefundAnswer,
    example={
        "id": "661fd0b6-db64-4522-bd48-222e4259ca01",
        "refund_id": "0b8ba42c-9d0c-4ac4-8a80-4d13a1f2e7dd",
        "amount": 1200,
        "balance": 99717,
        "lapsed": 0,
    },
)
def refund_hold(body: dict[str, Any], hold_id: UUID) -> Any:
    """Give back what a hold or a deduction was charged and has not come back; the same again gives the same answer."""
    license_id = body["license_id"]
    note(license_id=str(license_id), hold_id=str(hold_id))
    refunded = operator.refund(services().database, license_id, hold_id, reason=body["reason"], actor=actor())
    return {"id": hold_id, **refunded._asdict()}


def answer(row: ListedHold, has_keys: bool) -> str | None:
    """What became of the answer that an undelivered charge was for."""
    if row.is_stored is None:
        return None
    return "not_stored" if not row.is_stored else "lost" if has_keys else "unknown"
