"""POST /api/v1/admin/verify: that the ledger agrees with itself."""

from typing import Any

from marshmallow import fields

from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.body import body as read_body
from ...http.fields import Answer
from ...http.services import services
from ...repository import ledger

MAX_FINDINGS = 1000


class FindingAnswer(Answer):
    license_id = fields.UUID()
    rule = fields.String()
    detail = fields.String()


class CheckedAnswer(Answer):
    licenses = fields.Integer()
    entries = fields.Integer()
    holds = fields.Integer()
    idempotency_keys = fields.Integer()


class VerifyAnswer(Answer):
    clean = fields.Boolean()
    checked = fields.Nested(CheckedAnswer)
    finding_count = fields.Integer()
    findings = fields.List(
        fields.Nested(FindingAnswer), metadata={"description": f"what disagrees, {MAX_FINDINGS} at most"}
    )


blueprint = AdminBlueprint("verify", description="That the ledger agrees with itself.")


@blueprint.post("/api/v1/admin/verify", scope="read")
@blueprint.problems("payload_too_large", "malformed_request")
@blueprint.response(
    200,
    VerifyAnswer,
    example={
        "clean": True,
        "checked": {"licenses": 12, "entries": 480, "holds": 64, "idempotency_keys": 30},
        "finding_count": 0,
        "findings": [],
    },
)
def verify() -> Any:
    """Check every invariant of the ledger in one snapshot. A large one takes longer than the `statement_timeout` of
    the service's login may allow; `obol verify` has no such limit."""
    read_body()  # none is needed, and one that is too large is refused here as anywhere
    found = ledger.verify_with_token(services().database, most=MAX_FINDINGS, actor=actor())
    return {"clean": found.finding_count == 0, **found._asdict()}
