"""/api/v1/license/keys: the keys that whoever holds a license makes, where its operator allows it."""

from typing import Any
from uuid import UUID

from marshmallow import fields

from .. import operator
from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import Answer, IdempotencyHeaders
from ..http.request_log import note
from ..http.services import services
from ..problems import Problem
from ..repository import own_keys
from .admin.keys import KEY, KeyAnswer, KeyChange, KeyRequest, NewKeyAnswer
from .admin.limits import changed_limits


class OwnKeyChange(KeyChange):
    class Meta:
        exclude = ("expires_at", "allow_past")


class OwnKeysAnswer(Answer):
    keys = fields.List(fields.Nested(KeyAnswer), metadata={"description": "oldest first, with those that have ended"})


blueprint = Blueprint(
    "own keys", license_auth, description="Keys that whoever holds a license makes, where its operator allows it."
)


@blueprint.get("/api/v1/license/keys")
@blueprint.problems("keys_not_allowed")
@blueprint.response(200, OwnKeysAnswer, example={"keys": [KEY]})
def list_own_keys() -> Any:
    """The keys that were made here. None of them can be used: they are stored nowhere."""
    return {"keys": own_keys.list_keys(services().database, license_key())}


@blueprint.post("/api/v1/license/keys")
@blueprint.problems(
    "license_inactive", "license_expired", "keys_not_allowed", "amount_invalid", "idempotency_key_reused"
)
@blueprint.arguments(KeyRequest, example={"name": "CI", "limits": KEY["limits"]})
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(201, NewKeyAnswer, example=KEY | {"last_used_at": None, "license_key": "obol_…"})
def create_own_key(body: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Make another key of the license, which is shown only now."""
    new = operator.create_own_key(
        services().database, license_key(), **body, idempotency_key=headers["idempotency_key"]
    )
    note(replayed=new.license_key is None)
    return {"license_key": new.license_key, **new.key._asdict()}


@blueprint.patch("/api/v1/license/keys/<uuid:key_id>")
@blueprint.problems("license_inactive", "license_expired", "keys_not_allowed", "key_not_found", "amount_invalid")
@blueprint.arguments(OwnKeyChange, example={"limits": {"requests_per_minute": 120, "models": None}})
@blueprint.response(200, KeyAnswer, example=KEY | {"limits": {"requests_per_minute": 120}})
def change_own_key(body: dict[str, Any], key_id: UUID) -> Any:
    """Rename a key that was made here, or change its limits. What is not named stays as it is."""
    if not body:
        raise Problem("validation_failed", "Say what to change: name, limits, or both.")
    changed_limits(body)
    return own_keys.change(services().database, license_key(), key_id, **body)


@blueprint.delete("/api/v1/license/keys/<uuid:key_id>")
@blueprint.problems("keys_not_allowed", "key_not_found")
@blueprint.response(200, KeyAnswer, example=KEY | {"revoked_at": "2026-11-23T16:08:41.270518Z"})
def revoke_own_key(key_id: UUID) -> Any:
    """End a key that was made here, for good. Calls that run are finished and paid for."""
    return own_keys.revoke(services().database, license_key(), key_id)
