"""GET /api/v1/admin/audit: who did what."""

from typing import Any

from marshmallow import fields

from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import Answer, Moment
from ...http.services import services
from ...repository import admin
from ..entries import NumberedQuery


class ActAnswer(Answer):
    act_no = fields.Integer()
    acted_at = Moment()
    actor = fields.String(metadata={"description": "token:NAME, or cli:LOGIN of the `obol` command"})
    act = fields.String()
    license_id = fields.UUID(allow_none=True)
    target = fields.String(allow_none=True, metadata={"description": "what it was done to, beside the license"})
    detail = fields.Raw(allow_none=True)
    request_id = fields.String(allow_none=True)


class ActsAnswer(Answer):
    acts = fields.List(fields.Nested(ActAnswer))
    next_cursor = fields.Integer(allow_none=True, metadata={"description": "null on the last page"})


blueprint = AdminBlueprint("audit", description="Who did what.")


@blueprint.get("/api/v1/admin/audit", scope="read")
@blueprint.arguments(NumberedQuery, location="query")
@blueprint.response(
    200,
    ActsAnswer,
    example={
        "acts": [
            {
                "act_no": 7,
                "acted_at": "2026-11-22T16:08:41.270518Z",
                "actor": "token:shop",
                "act": "grant_credits",
                "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7",
                "target": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
                "detail": {"amount": 100000, "reason": "purchase"},
                "request_id": "req_58a317c1853f40cbbc9a5a6648704173",
            }
        ],
        "next_cursor": None,
    },
)
def list_acts(query: dict[str, Any]) -> Any:
    """Every act of an operator, newest first: when, which token, what, on what, from which request."""
    limit = query["limit"]
    acts = admin.list_acts(services().database, before=query["cursor"], limit=limit + 1, actor=actor())
    page = acts[:limit]
    return {"acts": page, "next_cursor": page[-1].act_no if len(acts) > limit else None}
