"""/api/v1/license: the balance, and the grants that make it up."""

from typing import Any

from marshmallow import fields, validate

from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import Answer, Moment
from ..http.services import services
from ..repository import grants, licenses


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


class LicenseWithGrantsAnswer(LicenseAnswer):
    grants = fields.List(
        fields.Nested(GrantAnswer), metadata={"description": "active or scheduled, in the order in which they are used"}
    )


blueprint = Blueprint(
    "license", license_auth, description="What is there of the credits, and which grants they are from."
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
    },
)
def show_license() -> Any:
    """The license's balance, what of it is held, its state, and the grants that make the balance up."""
    database, key = services().database, license_key()
    license = licenses.find(database, key)
    return license._asdict() | {"grants": grants.list_usable(database, key)}
