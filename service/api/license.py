"""/api/v1/license: the balance, the grants that make it up, and what is used of the limits."""

from typing import Any

from marshmallow import fields, validate

from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import Answer, Moment
from ..http.services import services
from ..repository import grants, licenses, limits


class LicenseAnswer(Answer):
    license_id = fields.UUID()
    name = fields.String()
    status = fields.String(validate=validate.OneOf(["active", "suspended", "expired"]))
    expires_at = Moment(allow_none=True, metadata={"description": "null: never"})
    balance = fields.Integer()
    held = fields.Integer()
    available = fields.Integer()


class GrantAnswer(Answer):
    id = fields.UUID(attribute="grant_id")
    amount = fields.Integer()
    left = fields.Integer(attribute="credits_left", metadata={"description": "what of it can still be used"})
    priority = fields.Integer(metadata={"description": "of two grants the lower one is used first"})
    starts_at = Moment()
    expires_at = Moment(allow_none=True, metadata={"description": "null: never"})
    state = fields.String(validate=validate.OneOf(["active", "scheduled"]))


class UsedLimitAnswer(Answer):
    limit = fields.String(attribute="limit_name", validate=validate.OneOf(list(limits.MOST)))
    limit_of = fields.String(validate=validate.OneOf(["key", "license"]))
    limit_value = fields.Integer()
    used = fields.Integer(metadata={"description": "now, or since the day or month (UTC) began"})


class LicenseWithGrantsAnswer(LicenseAnswer):
    grants = fields.List(
        fields.Nested(GrantAnswer), metadata={"description": "active or scheduled, in the order in which they are used"}
    )
    limits = fields.List(
        fields.Nested(UsedLimitAnswer),
        metadata={"description": "those of numbers that a call with this key has to keep; none: there are none"},
    )


blueprint = Blueprint(
    "license",
    license_auth,
    description="What is there of the credits, which grants they are from, and what limits leave.",
)


@blueprint.get("/api/v1/license")
@blueprint.response(
    200,
    LicenseWithGrantsAnswer,
    example={
        "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7",
        "name": "",
        "status": "active",
        "expires_at": None,
        "balance": 98517,
        "held": 0,
        "available": 98517,
        "grants": [
            {
                "id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
                "amount": 100000,
                "left": 98517,
                "priority": 50,
                "starts_at": "2026-11-22T16:08:41.270518Z",
                "expires_at": None,
                "state": "active",
            }
        ],
        "limits": [{"limit": "credits_per_day", "limit_of": "key", "limit_value": 5000, "used": 1483}],
    },
)
def show_license() -> Any:
    """The license's balance, what of it is held, its state, the grants that make the balance up, and of each limit
    of the key and the license what is used."""
    database, key = services().database, license_key()
    license = licenses.find(database, key)
    return license._asdict() | {
        "grants": grants.list_usable(database, key),
        "limits": limits.show_own_limits(database, key),
    }
