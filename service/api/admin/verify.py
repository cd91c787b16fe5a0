"""POST /api/v1/admin/verify: that the ledger agrees with itself."""

from typing import Any

from marshmallow import Schema, fields

from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.body import body as read_body
from ...http.services import services
from ...repository import ledger

MAX_FINDINGS = 1000


class FindingAnswer(Schema):
    license_id = fields.UUID()
    rule = fields.String()
    detail = fields.String()


class CheckedAnswer(Schema):
    licenses = fields.Integer()
    entries = fields.Integer()
    holds = fields.Integer()
    idempotency_keys = fields.Integer()


class VerifyAnswer(Schema):
    clean = fields.Boolean()
    checked = fields.Nested(CheckedAnswer)
    finding_count = fields.Integer()
    findings = fields.List(
        fields.Nested(FindingAnswer), metadata={"description": f"what disagrees, {MAX_FINDINGS} at most"}
    )


blueprint = AdminBlueprint("verify")


@blueprint.post("/api/v1/admin/verify", scope="read")
@blueprint.response(200, VerifyAnswer)
def verify() -> Any:
    """Check every invariant of the ledger in one snapshot. A large one takes longer than the `statement_timeout` of
    the service's login may allow; `obol verify` has no such limit."""
    read_body()  # none is needed, and one that is too large is refused here as anywhere
    found = ledger.verify_with_token(services().database, most=MAX_FINDINGS, actor=actor())
    return {"clean": found.finding_count == 0, **found._asdict()}
