"""GET /api/v1/admin/audit: who did what."""

from typing import Any

from marshmallow import Schema, fields

from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import Moment
from ...http.services import services
from ...repository import admin
from ..entries import NumberedQuery


class ActAnswer(Schema):
    act_no = fields.Integer()
    acted_at = Moment()
    actor = fields.String(metadata={"description": "token:NAME, or cli:LOGIN of the `obol` command"})
    act = fields.String()
    license_id = fields.UUID(allow_none=True)
    target = fields.String(allow_none=True, metadata={"description": "what it was done to, beside the license"})
    detail = fields.Raw(allow_none=True)
    request_id = fields.String(allow_none=True)


class ActsAnswer(Schema):
    acts = fields.List(fields.Nested(ActAnswer))
    next_cursor = fields.Integer(allow_none=True, metadata={"description": "null on the last page"})


blueprint = AdminBlueprint("audit")


@blueprint.get("/api/v1/admin/audit", scope="read")
@blueprint.arguments(NumberedQuery, location="query")
@blueprint.response(200, ActsAnswer)
def list_acts(query: dict[str, Any]) -> Any:
    """Every act of an operator, newest first: when, which token, what, on what, from which request."""
    limit = query["limit"]
    acts = admin.list_acts(services().database, before=query["cursor"], limit=limit + 1, actor=actor())
    page = acts[:limit]
    return {"acts": page, "next_cursor": page[-1].act_no if len(acts) > limit else None}
