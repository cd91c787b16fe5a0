"""/api/v1/admin/webhooks: where events go."""

from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, validate

from ... import webhooks
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    REQUIRED,
    Answer,
    Flag,
    Moment,
    PageQuery,
    Request,
    Text,
    WholeNumber,
    bounds,
    length,
    next_page,
    page,
)
from ...http.services import services
from ...outbound import LONGEST_URL
from ...repository import webhooks as room

MAX_NAME = 200
MAX_OVERLAP_S = 30 * 24 * 3600


def _type() -> Text:
    return Text(validate=validate.OneOf(room.TYPES, error="must be one of {choices}"))


def _each_once(types: list[str]) -> None:
    if len(set(types)) < len(types):
        raise ValidationError("must have each type once")


class WebhookRequest(Request):
    url = Text(required=True, error_messages=REQUIRED, validate=length(1, LONGEST_URL))
    name = Text(load_default="", validate=length(0, MAX_NAME))
    types = fields.List(
        _type(),
        load_default=None,
        allow_none=True,
        validate=[validate.Length(1, len(room.TYPES), error="must have {min} to {max} types"), _each_once],
        metadata={"description": "null: all, and those that there will be"},
    )


class WebhookChange(Request):
    paused = Flag(required=True, error_messages=REQUIRED, metadata={"description": "its events wait meanwhile"})


class SecretRotationRequest(Request):
    overlap_s = WholeNumber(
        load_default=webhooks.OVERLAP_S,
        validate=bounds(0, MAX_OVERLAP_S),
        metadata={"description": "how long what is sent is signed with the secret before, too"},
    )


class ReplayRequest(Request):
    event_id = fields.UUID(
        load_default=None,
        allow_none=True,
        error_messages={"invalid_uuid": "must be the id of an event"},
        metadata={"description": "null: all events that were given up"},
    )


class WebhookAnswer(Answer):
    webhook_id = fields.UUID()
    name = fields.String()
    url = fields.String()
    types = fields.List(fields.String(), allow_none=True)
    status = fields.String(validate=validate.OneOf(["active", "failing", "paused"]))
    created_at = Moment()
    paused_at = Moment(allow_none=True)
    paused_because = fields.String(
        allow_none=True,
        metadata={"description": "operator; failing, for three days; gone, as it answered with status 410"},
    )
    failing_since = Moment(allow_none=True)
    last_error = fields.String(allow_none=True)
    old_secret_until = Moment(allow_none=True, metadata={"description": "until then there are two signatures"})
    waiting = fields.Integer(metadata={"description": "events that are to be delivered"})
    failed = fields.Integer(metadata={"description": "events that were given up; replay them by hand"})


class SecretAnswer(WebhookAnswer):
    secret = fields.String(metadata={"description": "shown only now"})


class WebhooksAnswer(Answer):
    webhooks = fields.List(fields.Nested(WebhookAnswer))
    next_cursor = next_page()


class ReplayAnswer(Answer):
    replayed = fields.Integer()


blueprint = AdminBlueprint("webhooks", description="Where events go.")

_WEBHOOK = {
    "webhook_id": "7c1c1c3e-7a05-4b8e-9a64-5f4d7c6f2d11",
    "name": "shop",
    "url": "https://shop.example.com/obol",
    "types": ["license.low_balance", "license.exhausted"],
    "status": "active",
    "created_at": "2026-11-22T16:08:41.270518Z",
    "paused_at": None,
    "paused_because": None,
    "failing_since": None,
    "last_error": None,
    "old_secret_until": None,
    "waiting": 0,
    "failed": 0,
}


@blueprint.post("/api/v1/admin/webhooks", scope="manage")
@blueprint.problems("amount_invalid", "not_found")
@blueprint.arguments(WebhookRequest, example={name: _WEBHOOK[name] for name in ("url", "name", "types")})
@blueprint.response(201, SecretAnswer, example=_WEBHOOK | {"secret": "whsec_…"})
def create_webhook(body: dict[str, Any]) -> Any:
    """Have events delivered to a URL from now on; the secret that they are signed with is shown only now."""
    return _with_secret(webhooks.create(services().database, services().webhook_settings, **body, actor=actor()))


@blueprint.get("/api/v1/admin/webhooks", scope="read")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, WebhooksAnswer, example={"webhooks": [_WEBHOOK], "next_cursor": None})
def list_webhooks(query: dict[str, Any]) -> Any:
    """Webhooks, oldest first."""
    limit = query["limit"]
    found = room.list_webhooks(services().database, after=query["cursor"], limit=limit + 1, actor=actor())
    rows, next_cursor = page(found, limit)
    return {"webhooks": rows, "next_cursor": next_cursor}


@blueprint.get("/api/v1/admin/webhooks/<uuid:webhook_id>", scope="read")
@blueprint.response(200, WebhookAnswer, example=_WEBHOOK)
def show_webhook(webhook_id: UUID) -> Any:
    """One webhook."""
    return webhooks.show(services().database, webhook_id, actor=actor())


@blueprint.patch("/api/v1/admin/webhooks/<uuid:webhook_id>", scope="manage")
@blueprint.arguments(WebhookChange, example={"paused": False})
@blueprint.response(200, WebhookAnswer, example=_WEBHOOK)
def change_webhook(body: dict[str, Any], webhook_id: UUID) -> Any:
    """Pause a webhook, or resume it: what waits is tried at once."""
    return webhooks.pause(services().database, webhook_id, body["paused"], actor=actor())


@blueprint.post("/api/v1/admin/webhooks/<uuid:webhook_id>/rotate", scope="manage")
@blueprint.arguments(SecretRotationRequest, example={"overlap_s": 86400})
@blueprint.response(201, SecretAnswer, example=_WEBHOOK | {"secret": "whsec_…"})
def rotate_webhook_secret(body: dict[str, Any], webhook_id: UUID) -> Any:
    """Make a new secret, which is shown only now; the one before signs, too, for the overlap."""
    return _with_secret(
        webhooks.rotate(
            services().database,
            services().webhook_settings,
            webhook_id,
            overlap_s=body["overlap_s"],
            actor=actor(),
        )
    )


@blueprint.delete("/api/v1/admin/webhooks/<uuid:webhook_id>", scope="manage")
@blueprint.response(204)
def delete_webhook(webhook_id: UUID) -> None:
    """End a webhook for good, with all that waits for it; the same again changes nothing."""
    webhooks.delete(services().database, webhook_id, actor=actor())


@blueprint.post("/api/v1/admin/webhooks/<uuid:webhook_id>/replay", scope="manage")
@blueprint.arguments(ReplayRequest, example={"event_id": "c2a3a4c4-2f7c-4f0e-8d8e-2b7d2b1f5a35"})
@blueprint.response(200, ReplayAnswer, example={"replayed": 1})
def replay_events(body: dict[str, Any], webhook_id: UUID) -> Any:
    """Deliver an event once more, or all that were given up."""
    return {"replayed": webhooks.replay(services().database, webhook_id, body["event_id"], actor=actor())}


def _with_secret(new: webhooks.NewSecret) -> dict[str, Any]:
    return {"secret": new.secret, **new.webhook._asdict()}
