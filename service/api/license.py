"""/api/v1/license: the balance, and the grants that make it up."""

from typing import Any

from marshmallow import Schema, fields, validate

from ..http.auth import SECURITY, license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import Moment
from ..http.services import services
from ..repository import grants, licenses


class LicenseAnswer(Schema):
    license_id = fields.UUID()
    name = fields.String()
    status = fields.String(validate=validate.OneOf(["active", "suspended", "expired"]))
    expires_at = Moment(allow_none=True, metadata={"description": "null: never"})
    balance = fields.Integer()
    held = fields.Integer()
    available = fields.Integer()


class GrantAnswer(Schema):
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


blueprint = Blueprint("license", license_auth)


@blueprint.get("/api/v1/license")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.response(200, LicenseWithGrantsAnswer)
def show_license() -> Any:
    """The license's balance, what of it is held, its state, and the grants that make the balance up."""
    database, key = services().database, license_key()
    license = licenses.find(database, key)
    return license._asdict() | {"grants": grants.list_usable(database, key)}
