"""/api/v1/admin/licenses/{id}/grants, refunds and adjustments: what an operator gives, gives back and corrects."""

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields, validate

from ... import operator
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    MAX_CREDITS,
    MAX_REFERENCE,
    REQUIRED,
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

MAX_REASON = 200
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


class GrantsAnswer(Schema):
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


class RefundAnswer(Schema):
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


class AdjustmentAnswer(Schema):
    id = fields.UUID(attribute="adjustment_id")
    amount = fields.Integer()
    balance = fields.Integer()


blueprint = AdminBlueprint("grants")


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/grants", scope="grant")
@blueprint.arguments(GrantRequest)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(201, ChangedGrantAnswer)
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
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, GrantsAnswer)
def list_grants(query: dict[str, Any], license_id: UUID) -> Any:
    """Every grant of a license, newest first."""
    note(license_id=str(license_id))
    limit = query["limit"]
    found = grants.list_of(services().database, license_id, before=query["cursor"], limit=limit + 1, actor=actor())
    rows, next_cursor = page(found, limit)
    return {"grants": rows, "next_cursor": next_cursor}


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/grants/<uuid:grant_id>/void", scope="grant")
@blueprint.response(200, ChangedGrantAnswer)
def void_grant(license_id: UUID, grant_id: UUID) -> Any:
    """End a grant now: what it has left is taken, but for what holds cover until they end."""
    note(license_id=str(license_id))
    return operator.void_grant(services().database, license_id, grant_id, actor=actor())


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/refunds", scope="grant")
@blueprint.arguments(RefundRequest)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(201, RefundAnswer)
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
@blueprint.arguments(AdjustmentRequest)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(201, AdjustmentAnswer)
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
