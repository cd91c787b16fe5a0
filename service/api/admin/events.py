"""GET /api/v1/admin/events: what happened, and who has been told."""

from typing import Any

from marshmallow import fields, validate

from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import Answer, Moment, PageQuery, Text, next_page, page
from ...http.services import services
from ...repository import webhooks


class EventsQuery(PageQuery):
    license_id = fields.UUID(load_default=None, error_messages={"invalid_uuid": "must be the id of a license"})
    type = Text(load_default=None, validate=validate.OneOf(webhooks.TYPES, error="must be one of {choices}"))


class DeliveryAnswer(Answer):
    webhook_id = fields.UUID(allow_none=True, metadata={"description": "null: the e-mail to the license's address"})
    state = fields.String(validate=validate.OneOf(["waiting", "delivered", "failed"]))
    attempts = fields.Integer()
    last_attempt_at = fields.String(allow_none=True)
    last_status = fields.Integer(allow_none=True)
    last_error = fields.String(allow_none=True)


class EventAnswer(Answer):
    event_id = fields.UUID(metadata={"description": "webhook-id is evt_ and this, without its dashes"})
    license_id = fields.UUID(allow_none=True, metadata={"description": "null: it is about no license"})
    type = fields.String()
    created_at = Moment()
    data = fields.Raw(metadata={"type": "object"})
    deliveries = fields.List(fields.Nested(DeliveryAnswer))


class EventsAnswer(Answer):
    events = fields.List(fields.Nested(EventAnswer))
    next_cursor = next_page()


blueprint = AdminBlueprint("events", description="What happened, and who has been told.")


@blueprint.get("/api/v1/admin/events", scope="read")
@blueprint.arguments(EventsQuery, location="query")
@blueprint.response(
    200,
    EventsAnswer,
    example={
        "events": [
            {
                "event_id": "c2a3a4c4-2f7c-4f0e-8d8e-2b7d2b1f5a35",
                "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7",
                "type": "license.low_balance",
                "created_at": "2026-11-22T16:08:41.270518Z",
                "data": {
                    "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7",
                    "external_id": "customer-12",
                    "balance": 9821,
                    "threshold": 10000,
                    "percent": None,
                },
                "deliveries": [
                    {
                        "webhook_id": "7c1c1c3e-7a05-4b8e-9a64-5f4d7c6f2d11",
                        "state": "delivered",
                        "attempts": 1,
                        "last_attempt_at": "2026-11-22T16:08:42.013377Z",
                        "last_status": 204,
                        "last_error": None,
                    }
                ],
            }
        ],
        "next_cursor": None,
    },
)
def list_events(query: dict[str, Any]) -> Any:
    """Events of the last thirty days, newest first, with what became of their deliveries."""
    limit = query["limit"]
    found = webhooks.list_events(
        services().database,
        only=query["license_id"],
        type=query["type"],
        after=query["cursor"],
        limit=limit + 1,
        actor=actor(),
    )
    rows, next_cursor = page(found, limit)
    return {"events": rows, "next_cursor": next_cursor}
