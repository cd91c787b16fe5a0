"""/api/v1/admin/licenses/{id}/grants, refunds and adjustments: what an operator gives, gives back and corrects."""

from typing import Any
from uuid import UUID

from marshmallow import fields, validate

from ... import operator
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    MAX_CREDITS,
    MAX_REASON,
    MAX_REFERENCE,
    REQUIRED,
    Answer,
    IdempotencyHeaders,
    Instant,
    PageQuery,
    Request,
    Text,
    WholeNumber,
    bounds,
    check_amount,
    length,
    next_page,
    page,
)
from ...http.request_log import note
from ...http.services import services
from ...repository import grants
from ...repository.grants import LASTING, Terms
from ..license import GrantAnswer

STATES = ("scheduled", "active", "used_up", "expired", "voided")


class GrantRequest(Request):
    amount = WholeNumber(required=True, error_messages=REQUIRED, metadata={"minimum": 1, "maximum": MAX_CREDITS})
    priority = WholeNumber(
        load_default=LASTING.priority,
        validate=bounds(0, 100),
        metadata={"description": "of two grants the lower one is used first"},
    )
    starts_at = Instant(load_default=None, allow_none=True, metadata={"description": "null: now"})
    expires_at = Instant(load_default=None, allow_none=True, metadata={"description": "null: never"})
    reason = Text(
        load_default="purchase",
        validate=length(1, MAX_REASON),
        metadata={"description": "purchase, promotion, adjustment, import, or words of your own"},
    )
    reference = Text(load_default=None, allow_none=True, validate=length(0, MAX_REFERENCE))


class AdminGrantAnswer(GrantAnswer):
    state = fields.String(validate=validate.OneOf(STATES))
    lapsed = fields.Integer(metadata={"description": "what expiry or void took of it"})
    reason = fields.String()
    reference = fields.String(allow_none=True)


class ChangedGrantAnswer(AdminGrantAnswer):
    balance = fields.Integer(metadata={"description": "of the license, after this"})


class GrantsAnswer(Answer):
    grants = fields.List(fields.Nested(AdminGrantAnswer))
    next_cursor = next_page()


class RefundRequest(Request):
    cause_id = fields.UUID(
        required=True, error_messages=REQUIRED | {"invalid_uuid": "must be the id of a hold or a deduction"}
    )
    amount = WholeNumber(
        load_default=None,
        allow_none=True,
        metadata={"description": "null: all that has not come back", "minimum": 1, "maximum": MAX_CREDITS},
    )
    reason = Text(required=True, error_messages=REQUIRED, validate=length(1, MAX_REFERENCE))


class RefundAnswer(Answer):
    id = fields.UUID(attribute="refund_id")
    cause_id = fields.UUID()
    amount = fields.Integer()
    balance = fields.Integer(metadata={"description": "after it"})
    lapsed = fields.Integer(
        metadata={"description": "of it came from grants that have ended since, and is gone again with them"}
    )


class AdjustmentRequest(Request):
    amount = WholeNumber(
        required=True,
        error_messages=REQUIRED,
        validate=[bounds(-MAX_CREDITS, MAX_CREDITS), validate.NoneOf([0], error="must not be 0")],
        metadata={"description": "above zero: added; below: taken, but never of what is held"},
    )
    reason = Text(required=True, error_messages=REQUIRED, validate=length(1, MAX_REFERENCE))


class AdjustmentAnswer(Answer):
    id = fields.UUID(attribute="adjustment_id")
    amount = fields.Integer()
    balance = fields.Integer()


blueprint = AdminBlueprint("grants", description="What an operator gives, gives back and corrects.")

_GRANT = {
    "id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
    "amount": 100000,
    "left": 100000,
    "priority": 50,
    "starts_at": "2026-11-22T16:08:41.270518Z",
    "expires_at": "2027-01-31T00:00:00Z",
    "state": "active",
    "lapsed": 0,
    "reason": "purchase",
    "reference": "order 12",
}


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/grants", scope="grant")
@blueprint.problems("license_not_found", "amount_invalid", "idempotency_key_reused")
@blueprint.arguments(
    GrantRequest, example={"amount": 100000, "expires_at": "2999-01-31T00:00:00Z", "reference": "order 12"}
)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(201, ChangedGrantAnswer, example={**_GRANT, "balance": 198517})
def grant_credits(body: dict[str, Any], headers: dict[str, Any], license_id: UUID) -> Any:
    """Give credits to a license, for good or for a time."""
    note(license_id=str(license_id))
    return operator.grant_credits(
        services().database,
        license_id,
        check_amount(body["amount"]),
        terms=Terms(body["priority"], body["starts_at"], body["expires_at"]),
        reason=body["reason"],
        reference=body["reference"],
        idempotency_key=headers["idempotency_key"],
        actor=actor(),
    )


@blueprint.get("/api/v1/admin/licenses/<uuid:license_id>/grants", scope="read")
@blueprint.problems("license_not_found")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, GrantsAnswer, example={"grants": [_GRANT], "next_cursor": None})
def list_grants(query: dict[str, Any], license_id: UUID) -> Any:
    """Every grant of a license, newest first."""
    note(license_id=str(license_id))
    limit = query["limit"]
    found = grants.list_of(services().database, license_id, before=query["cursor"], limit=limit + 1, actor=actor())
    rows, next_cursor = page(found, limit)
    return {"grants": rows, "next_cursor": next_cursor}


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/grants/<uuid:grant_id>/void", scope="grant")
@blueprint.problems("license_not_found", "grant_not_found", "grant_ended")
@blueprint.response(
    200, ChangedGrantAnswer, example={**_GRANT, "left": 0, "state": "voided", "lapsed": 100000, "balance": 98517}
)
def void_grant(license_id: UUID, grant_id: UUID) -> Any:
    """End a grant now: what it has left is taken, but for what holds cover until they end."""
    note(license_id=str(license_id))
    return operator.void_grant(services().database, license_id, grant_id, actor=actor())


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/refunds", scope="grant")
@blueprint.problems(
    "license_not_found", "hold_not_found", "amount_invalid", "refund_exceeds_charge", "idempotency_key_reused"
)
@blueprint.arguments(
    RefundRequest,
    example={"cause_id": "661fd0b6-db64-4522-bd48-222e4259ca01", "amount": 200, "reason": "the answer was late"},
)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(
    201,
    RefundAnswer,
    example={
        "id": "0b8ba42c-9d0c-4ac4-8a80-4d13a1f2e7dd",
        "cause_id": "661fd0b6-db64-4522-bd48-222e4259ca01",
        "amount": 200,
        "balance": 98717,
        "lapsed": 0,
    },
)
def refund(body: dict[str, Any], headers: dict[str, Any], license_id: UUID) -> Any:
    """Give back what a hold or a deduction was charged, whole or in parts, to the grants that it came from."""
    note(license_id=str(license_id))
    if body["amount"] is not None:
        check_amount(body["amount"])
    refunded = operator.refund(
        services().database,
        license_id,
        body["cause_id"],
        amount=body["amount"],
        reason=body["reason"],
        idempotency_key=headers["idempotency_key"],
        actor=actor(),
    )
    return {"cause_id": body["cause_id"], **refunded._asdict()}


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/adjustments", scope="grant")
@blueprint.problems("license_not_found", "amount_invalid", "insufficient_credits", "idempotency_key_reused")
@blueprint.arguments(AdjustmentRequest, example={"amount": -17, "reason": "counted twice"})
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(
    201, AdjustmentAnswer, example={"id": "3f1cbd26-4f0d-4a43-9be2-6d1a8a8cf1f7", "amount": -17, "balance": 98500}
)
def adjust_credits(body: dict[str, Any], headers: dict[str, Any], license_id: UUID) -> Any:
    """Correct a balance, up or down, with the reason for it."""
    note(license_id=str(license_id))
    return operator.adjust_credits(
        services().database,
        license_id,
        body["amount"],
        reason=body["reason"],
        idempotency_key=headers["idempotency_key"],
        actor=actor(),
    )
