"""/api/v1/admin/tokens: who may use this API, and for what."""

from typing import Any
from uuid import UUID

from marshmallow import fields, validate

from ... import operator
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    MAX_NAME,
    REQUIRED,
    Answer,
    Instant,
    Moment,
    PageQuery,
    Request,
    Text,
    length,
    next_page,
    page,
)
from ...http.services import services
from ...repository import admin


class NewTokenRequest(Request):
    name = Text(
        required=True,
        error_messages=REQUIRED,
        validate=length(1, MAX_NAME),
        metadata={"description": "the audit trail has it; no two tokens that are good have the same"},
    )
    scopes = fields.List(
        Text(validate=validate.OneOf(admin.SCOPES, error="must be one of {choices}")),
        required=True,
        error_messages=REQUIRED,
        validate=validate.Length(1, len(admin.SCOPES), error="must have {min} to {max} scopes"),
    )
    expires_at = Instant(load_default=None, allow_none=True, metadata={"description": "null: never"})


class TokenAnswer(Answer):
    token_id = fields.UUID()
    name = fields.String()
    scopes = fields.List(fields.String(validate=validate.OneOf(admin.SCOPES)))
    expires_at = Moment(allow_none=True)


class NewTokenAnswer(TokenAnswer):
    token = fields.String(metadata={"description": "shown only now"})


class ListedTokenAnswer(TokenAnswer):
    created_at = Moment()
    revoked_at = Moment(allow_none=True)


class TokensAnswer(Answer):
    tokens = fields.List(fields.Nested(ListedTokenAnswer))
    next_cursor = next_page()


blueprint = AdminBlueprint("tokens", description="Who may use this API, and for what.")

_TOKEN = {
    "token_id": "c2a3a4c4-2f7c-4f0e-8d8e-2b7d2b1f5a35",
    "name": "shop",
    "scopes": ["read", "manage"],
    "expires_at": None,
}


@blueprint.post("/api/v1/admin/tokens", scope="tokens")
@blueprint.problems("amount_invalid", "already_exists")
@blueprint.arguments(NewTokenRequest, example={"name": "shop", "scopes": ["read", "manage"]})
@blueprint.response(201, NewTokenAnswer, example={**_TOKEN, "token": "obol_admin_…"})
def create_token(body: dict[str, Any]) -> Any:
    """Make a token, which is shown only now. It may have scopes that yours has."""
    body["scopes"] = [scope for scope in admin.SCOPES if scope in body["scopes"]]
    new = operator.create_token(services().database, **body, actor=actor())
    return {**body, **new._asdict()}


@blueprint.get("/api/v1/admin/tokens", scope="tokens")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(
    200,
    TokensAnswer,
    example={
        "tokens": [{**_TOKEN, "created_at": "2026-11-22T16:08:41.270518Z", "revoked_at": None}],
        "next_cursor": None,
    },
)
def list_tokens(query: dict[str, Any]) -> Any:
    """Tokens, oldest first, also those that are revoked."""
    limit = query["limit"]
    found = admin.list_tokens(services().database, after=query["cursor"], limit=limit + 1, actor=actor())
    rows, next_cursor = page(found, limit)
    return {"tokens": rows, "next_cursor": next_cursor}


@blueprint.delete("/api/v1/admin/tokens/<uuid:token_id>", scope="tokens")
@blueprint.response(204)
def revoke_token(token_id: UUID) -> None:
    """End a token, from the next call on and for good; the same again changes nothing."""
    operator.revoke_token(services().database, token_id, actor=actor())
