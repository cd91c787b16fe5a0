"""POST /api/v1/admin/verify: that the ledger agrees with itself."""

from typing import Any

from marshmallow import Schema, fields

from ... import operator
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.body import body as read_body
from ...http.fields import Answer, Since
from ...http.services import services
from ...since import FORMS

MAX_FINDINGS = 1000


class VerifyQuery(Schema):
    error_messages = {"unknown": "is not a parameter of this request"}

    since = Since(
        load_default=None,
        metadata={
            "type": "string",
            "description": "only what was booked since then and what is open now, quick whatever the size of the "
            f"ledger; {FORMS}",
        },
    )


class FindingAnswer(Answer):
    license_id = fields.UUID(allow_none=True, metadata={"description": "null: of the audit trail or a token"})
    rule = fields.String()
    detail = fields.String()


class CheckedAnswer(Answer):
    licenses = fields.Integer()
    entries = fields.Integer()
    holds = fields.Integer()
    idempotency_keys = fields.Integer()
    acts = fields.Integer()


class VerifyAnswer(Answer):
    clean = fields.Boolean()
    checked = fields.Nested(CheckedAnswer)
    finding_count = fields.Integer()
    findings = fields.List(
        fields.Nested(FindingAnswer), metadata={"description": f"what disagrees, {MAX_FINDINGS} at most"}
    )


blueprint = AdminBlueprint("verify", description="That the ledger agrees with itself.")


@blueprint.post("/api/v1/admin/verify", scope="read")
@blueprint.arguments(VerifyQuery, location="query")
@blueprint.problems("payload_too_large", "malformed_request")
@blueprint.response(
    200,
    VerifyAnswer,
    example={
        "clean": True,
        "checked": {"licenses": 12, "entries": 480, "holds": 64, "idempotency_keys": 30, "acts": 25},
        "finding_count": 0,
        "findings": [],
    },
)
def verify(query: dict[str, Any]) -> Any:
    """Check every invariant of the ledger and of the audit trail in one snapshot. A large one takes longer than the
    `statement_timeout` of the service's login may allow; `since` does not, and `obol verify` has no such limit."""
    read_body()  # none is needed, and one that is too large is refused here as anywhere
    found = operator.verify(services().database, since=query["since"], most=MAX_FINDINGS, actor=actor())
    return {"clean": found.finding_count == 0, **found._asdict()}
