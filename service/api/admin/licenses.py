"""/api/v1/admin/licenses: make, find, renew, suspend; and new keys."""

from typing import Any
from uuid import UUID

from marshmallow import fields, validate

from ... import operator
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    MAX_CREDITS,
    MAX_EXTERNAL_ID,
    MAX_NAME,
    REQUIRED,
    Answer,
    Flag,
    IdempotencyHeaders,
    Instant,
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
from ...http.request_log import note
from ...http.services import services
from ...problems import Problem
from ...repository import licenses, webhooks
from ...repository import limits as key_room
from ...repository.limits import MOST_OWN_KEYS
from ..license import LicenseAnswer
from .alerts import AlertsAnswer, alerts_field, email_field, taken_out
from .limits import LimitsAnswer, LimitsChange, changed_limits

# A hundred years: times are added up, and there is an end to what PostgreSQL can.
MAX_OVERLAP_S = 2**31 - 1


class NewLicenseRequest(Request):
    name = Text(load_default="", validate=length(0, MAX_NAME))
    credits = WholeNumber(
        load_default=0,
        validate=bounds(0, MAX_CREDITS),
        metadata={"description": "the opening grant; more than 0 needs the scope `grant` too"},
    )
    expires_at = Instant(load_default=None, allow_none=True, metadata={"description": "null: never"})
    external_id = Text(
        load_default=None,
        allow_none=True,
        validate=length(1, MAX_EXTERNAL_ID),
        metadata={"description": "what you call it; no two licenses have the same"},
    )
    limits = LimitsChange(load_default=None)


class NewLicenseAnswer(Answer):
    license_id = fields.UUID()
    key_id = fields.UUID(metadata={"description": "of its first key"})
    license_key = fields.String(
        allow_none=True, metadata={"description": "shown only now; null when this call had made the license before"}
    )
    balance = fields.Integer()


class LicenseChange(Request):
    name = Text(validate=length(0, MAX_NAME))
    status = Text(validate=validate.OneOf(["active", "suspended"], error="must be one of {choices}"))
    expires_at = Instant(allow_none=True, metadata={"description": "null: never"})
    allow_past = Flag(load_default=False, metadata={"description": "take an expires_at that is past"})
    limits = LimitsChange()
    alerts = alerts_field()
    email = email_field()
    own_keys = WholeNumber(
        validate=bounds(0, MOST_OWN_KEYS),
        metadata={"description": "how many good keys whoever holds the license may have made at once; 0: none"},
    )


class LicensesQuery(PageQuery):
    query = Text(
        load_default=None,
        validate=length(0, MAX_NAME),
        metadata={"description": "a part of the name, or how the id or the external id begins"},
    )
    status = Text(
        load_default=None,
        validate=validate.OneOf(["active", "suspended", "expired"], error="must be one of {choices}"),
    )


class AdminLicenseAnswer(LicenseAnswer):
    external_id = fields.String(allow_none=True)
    created_at = Moment()
    limits = LimitsAnswer()


class ShownLicenseAnswer(AdminLicenseAnswer):
    alerts = fields.Nested(AlertsAnswer, allow_none=True)
    email = fields.String(allow_none=True)
    own_keys = fields.Integer(metadata={"description": "how many good keys its holder may have made at once"})


class LicensesAnswer(Answer):
    licenses = fields.List(fields.Nested(AdminLicenseAnswer))
    next_cursor = next_page()


class RotationRequest(Request):
    overlap_s = WholeNumber(
        required=True,
        error_messages=REQUIRED,
        validate=bounds(0, MAX_OVERLAP_S),
        metadata={"description": "how long older keys stay good; 0 ends them now"},
    )
    key_id = fields.UUID(
        load_default=None,
        allow_none=True,
        error_messages={"invalid_uuid": "must be the id of a key"},
        metadata={"description": "only this one ends, and the new one has its name, limits and expiry; null: all end"},
    )


class RotationAnswer(Answer):
    license_id = fields.UUID()
    key_id = fields.UUID()
    license_key = fields.String(metadata={"description": "shown only now"})
    older_keys_end_at = Moment()


blueprint = AdminBlueprint("licenses", description="Make, find, renew and suspend licenses; and new keys.")

_LICENSE = {
    "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7",
    "name": "Ada",
    "status": "active",
    "expires_at": None,
    "balance": 98517,
    "held": 0,
    "available": 98517,
    "external_id": "customer-12",
    "created_at": "2026-11-22T16:08:41.270518Z",
    "limits": {"credits_per_month": 100000},
}


_ALERTS = {"alerts": {"credits": [10000], "percent": [20]}, "email": "ada@example.com", "own_keys": 0}


@blueprint.post("/api/v1/admin/licenses", scope="manage")
@blueprint.problems("amount_invalid", "idempotency_key_reused", "already_exists")
@blueprint.arguments(NewLicenseRequest, example={"name": "Ada", "credits": 100000, "external_id": "customer-12"})
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.response(
    201,
    NewLicenseAnswer,
    example={
        "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7",
        "key_id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
        "license_key": "obol_…",
        "balance": 100000,
    },
)
def create_license(body: dict[str, Any], headers: dict[str, Any]) -> Any:
    """Make a license with a key, which is shown only now."""
    made = operator.create_license(
        services().database, **body, idempotency_key=headers["idempotency_key"], actor=actor()
    )
    note(license_id=str(made.license_id), replayed=made.license_key is None)
    return made


@blueprint.get("/api/v1/admin/licenses", scope="read")
@blueprint.arguments(LicensesQuery, location="query")
@blueprint.response(200, LicensesAnswer, example={"licenses": [_LICENSE], "next_cursor": None})
def list_licenses(query: dict[str, Any]) -> Any:
    """Licenses, oldest first."""
    limit = query["limit"]
    found = licenses.list_licenses(
        services().database,
        query=query["query"],
        status=query["status"],
        after=query["cursor"],
        limit=limit + 1,
        actor=actor(),
    )
    rows, next_cursor = page(found, limit)
    return {"licenses": rows, "next_cursor": next_cursor}


@blueprint.get("/api/v1/admin/licenses/<uuid:license_id>", scope="read")
@blueprint.problems("license_not_found")
@blueprint.response(200, ShownLicenseAnswer, example=_LICENSE | _ALERTS)
def show_admin_license(license_id: UUID) -> Any:
    """One license."""
    note(license_id=str(license_id))
    shown = licenses.show(services().database, license_id, actor=actor())
    told = webhooks.show_alerts(services().database, license_id, actor=actor())
    own_keys = key_room.set_own_keys(services().database, license_id, actor=actor())
    return shown._asdict() | told._asdict() | {"own_keys": own_keys}


@blueprint.patch("/api/v1/admin/licenses/<uuid:license_id>", scope="manage")
@blueprint.problems("license_not_found", "amount_invalid")
@blueprint.arguments(LicenseChange, example={"status": "suspended"})
@blueprint.response(200, ShownLicenseAnswer, example=_LICENSE | _ALERTS | {"status": "suspended"})
def change_license(body: dict[str, Any], license_id: UUID) -> Any:
    """Rename a license, renew it or let it end, suspend or resume it. What is not named stays as it is."""
    note(license_id=str(license_id))
    if not body.keys() - {"allow_past"}:
        raise Problem(
            "validation_failed",
            "Say what to change: name, status, expires_at, limits, alerts, email, own_keys, or several of them.",
        )
    if body.get("expires_at", "") is None:
        body["expires_at"] = "never"
    changed_limits(body)
    alerts, own_keys = taken_out(body), body.pop("own_keys", None)
    # First what can be refused for what it says.
    license = licenses.set_license(services().database, license_id, **body, actor=actor())
    told = webhooks.set_alerts(services().database, license_id, **alerts, actor=actor())
    own_keys = key_room.set_own_keys(services().database, license_id, own_keys, actor=actor())
    return license._asdict() | told._asdict() | {"own_keys": own_keys}


@blueprint.post("/api/v1/admin/licenses/<uuid:license_id>/rotate", scope="manage")
@blueprint.problems("license_not_found", "key_not_found")
@blueprint.arguments(RotationRequest, example={"overlap_s": 86400})
@blueprint.response(
    201,
    RotationAnswer,
    example={
        "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7",
        "key_id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
        "license_key": "obol_…",
        "older_keys_end_at": "2026-11-23T16:08:41.270518Z",
    },
)
def rotate_license_key(body: dict[str, Any], license_id: UUID) -> Any:
    """Make a new key, which is shown only now, and let the older ones end."""
    note(license_id=str(license_id))
    new = operator.rotate_key(
        services().database, license_id, body["overlap_s"], only_key_id=body["key_id"], actor=actor()
    )
    return {"license_id": license_id, **new._asdict()}
