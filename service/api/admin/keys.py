"""/api/v1/admin/licenses/{id}/keys: the keys of a license, each with limits of its own if it is to have some."""

from typing import Any
from uuid import UUID

from marshmallow import fields

from ... import operator
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    MAX_NAME,
    Answer,
    Flag,
    IdempotencyHeaders,
    Instant,
    Moment,
    PageQuery,
    Request,
    Text,
    length,
    next_page,
    page,
)
from ...http.request_log import note
from ...http.services import services
from ...problems import Problem
from ...repository import limits
from .limits import LimitsAnswer, LimitsChange, changed_limits


class KeyRequest(Request):
    name = Text(load_default="", validate=length(0, MAX_NAME))
    expires_at = Instant(load_default=None, allow_none=True, metadata={"description": "null: never"})
    limits = LimitsChange(load_default=None)


class KeyChange(Request):
    name = Text(validate=length(0, MAX_NAME))
    expires_at = Instant(allow_none=True, metadata={"description": "null: never"})
    allow_past = Flag(load_default=False, metadata={"description": "take an expires_at that is past"})
    limits = LimitsChange()


class KeyAnswer(Answer):
    key_id = fields.UUID()
    name = fields.String()
    created_at = Moment()
    expires_at = Moment(allow_none=True)
    last_used_at = Moment(allow_none=True, metadata={"description": "right to the hour; null: never"})
    revoked_at = Moment(allow_none=True)
    limits = LimitsAnswer()


class NewKeyAnswer(KeyAnswer):
    license_key = fields.String(
        allow_none=True, metadata={"description": "shown only now; null when this call had made the key before"}
    )


class KeysAnswer(Answer):
    keys = fields.List(fields.Nested(KeyAnswer))
    next_cursor = next_page()


blueprint = AdminBlueprint("keys", description="The keys of a license, and what each of them may use.")

KEY = {
    "key_id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
    "name": "CI",
    "created_at": "2026-11-22T16:08:41.270518Z",
    "expires_at": None,
    "last_used_at": "2026-11-22T17:00:00Z",
    "revoked_at": None,
    "limits": {"requests_per_minute": 60, "models": ["claude-haiku-*"]},
}


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/keys", scope="manage")
@blueprint.problems("license_not_found", "amount_invalid", "idempotency_key_reused")
@blueprint.arguments(KeyRequest, example={"name": "CI", "limits": KEY["limits"]})
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(201, NewKeyAnswer, example=KEY | {"last_used_at": None, "license_key": "obol_…"})
def create_key(body: dict[str, Any], headers: dict[str, Any], license_id: UUID) -> Any:
    """Make another key of a license, which is shown only now."""
    new = operator.create_key(
        services().database, license_id, **body, idempotency_key=headers["idempotency_key"], actor=actor()
    )
    note(license_id=str(license_id), replayed=new.license_key is None)
    return {"license_key": new.license_key, **new.key._asdict()}


@blueprint.get("/api/v1/admin/licenses/<uuid:license_id>/keys", scope="read")
@blueprint.problems("license_not_found")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, KeysAnswer, example={"keys": [KEY], "next_cursor": None})
def list_keys(query: dict[str, Any], license_id: UUID) -> Any:
    """The keys of a license, oldest first, with those that have ended. None of them can be used: they are stored
    nowhere."""
    note(license_id=str(license_id))
    limit = query["limit"]
    found = limits.list_keys(services().database, license_id, after=query["cursor"], limit=limit + 1, actor=actor())
    rows, next_cursor = page(found, limit)
    return {"keys": rows, "next_cursor": next_cursor}


@blueprint.patch("/api/v1/admin/licenses/<uuid:license_id>/keys/<uuid:key_id>", scope="manage")
@blueprint.problems("license_not_found", "key_not_found", "amount_invalid")
@blueprint.arguments(KeyChange, example={"limits": {"requests_per_minute": 120, "models": None}})
@blueprint.response(200, KeyAnswer, example=KEY | {"limits": {"requests_per_minute": 120}})
def change_key(body: dict[str, Any], license_id: UUID, key_id: UUID) -> Any:
    """Rename a key, let it end at another time, or change its limits. What is not named stays as it is."""
    note(license_id=str(license_id))
    if not body.keys() - {"allow_past"}:
        raise Problem("validation_failed", "Say what to change: name, expires_at, limits, or several of them.")
    if body.get("expires_at", "") is None:
        body["expires_at"] = "never"
    changed_limits(body)
    return limits.set_key(services().database, license_id, key_id, **body, actor=actor())


@blueprint.delete("/api/v1/admin/licenses/<uuid:license_id>/keys/<uuid:key_id>", scope="manage")
@blueprint.problems("license_not_found", "key_not_found")
@blueprint.response(200, KeyAnswer, example=KEY | {"revoked_at": "2026-11-23T16:08:41.270518Z"})
def revoke_key(license_id: UUID, key_id: UUID) -> Any:
    """End a key for good: from now on it is refused as an unknown one is. Calls that run are finished and paid for."""
    note(license_id=str(license_id))
    return limits.revoke_key(services().database, license_id, key_id, actor=actor())
