"""/api/v1/license: balance and statement."""

from typing import Any

from marshmallow import fields, validate

from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import Answer, LimitQuery, Moment, bounds
from ..http.services import services
from ..repository import grants, licenses

KINDS = ("grant", "deduction", "charge", "refund", "expiry", "void", "adjustment")


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


class EntriesQuery(LimitQuery):
    cursor = fields.Integer(
        load_default=None,
        validate=bounds(1, 2**63 - 1),
        error_messages={"invalid": "must be a next_cursor of an earlier page"},
    )


class EntryAnswer(Answer):
    entry_no = fields.Integer()
    kind = fields.String(validate=validate.OneOf(KINDS))
    amount = fields.Integer(metadata={"description": "what the entry added to the balance; negative for charges"})
    balance_after = fields.Integer()
    id = fields.UUID(attribute="cause_id", metadata={"description": "of the grant, adjustment, deduction or hold"})
    reference = fields.String(allow_none=True)
    model = fields.String(allow_none=True, metadata={"description": "of a charge for an answer"})
    usage = fields.Dict(allow_none=True, metadata={"description": "the tokens of that answer, by class"})
    created_at = Moment()


class EntriesAnswer(Answer):
    entries = fields.List(fields.Nested(EntryAnswer))
    next_cursor = fields.Integer(allow_none=True, metadata={"description": "null on the last page"})


blueprint = Blueprint("license", license_auth, description="What is there, and where the credits went.")


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


@blueprint.get("/api/v1/license/entries")
@blueprint.arguments(EntriesQuery, location="query")
@blueprint.response(
    200,
    EntriesAnswer,
    example={
        "entries": [
            {
                "entry_no": 4,
                "kind": "charge",
                "amount": -1200,
                "balance_after": 98517,
                "id": "661fd0b6-db64-4522-bd48-222e4259ca01",
                "reference": None,
                "model": None,
                "usage": None,
                "created_at": "2026-11-22T16:09:29.079534Z",
            }
        ],
        "next_cursor": 4,
    },
)
def list_entries(query: dict[str, Any]) -> Any:
    """The statement, newest first. `cursor` is the `next_cursor` of the page before."""
    limit = query["limit"]
    # One more than asked for tells whether there is another page.
    entries = licenses.list_entries(services().database, license_key(), before=query["cursor"], limit=limit + 1)
    page = entries[:limit]
    return {"entries": page, "next_cursor": page[-1].entry_no if len(entries) > limit else None}
