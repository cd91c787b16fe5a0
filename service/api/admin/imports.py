"""POST /api/v1/admin/licenses/import: take licenses over from another system, with the keys that they have."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ... import imports
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    MAX_CREDITS,
    REQUIRED,
    Answer,
    Digest,
    Flag,
    Instant,
    Request,
    Text,
    WholeNumber,
    bounds,
    length,
)
from ...http.services import services
from ...importfile import MAX_EXTERNAL_ID, MAX_NAME, STATUSES, Line, key_digest, sha256_digest

MAX_LINES = 1000


class ImportedLine(Request):
    key = Digest(
        key_digest,
        metadata={"description": "the license key as clients send it; or key_sha256", "minLength": 8, "maxLength": 256},
    )
    key_sha256 = Digest(
        sha256_digest, metadata={"description": "the SHA-256 of the key", "pattern": "^[0-9a-fA-F]{64}$"}
    )
    credits = WholeNumber(
        required=True,
        error_messages=REQUIRED,
        validate=bounds(0, MAX_CREDITS),
        metadata={"description": "what is left of them; more than 0 needs the scope `grant` too"},
    )
    status = Text(load_default="active", validate=validate.OneOf(STATUSES, error="must be one of {choices}"))
    expires_at = Instant(load_default=None, allow_none=True, metadata={"description": "null: never; it may be past"})
    external_id = Text(
        load_default=None,
        allow_none=True,
        validate=length(1, MAX_EXTERNAL_ID),
        metadata={"description": "what you call it; no two licenses have the same"},
    )
    name = Text(load_default="", validate=length(0, MAX_NAME))

    @validates_schema
    def has_one_key(self, data: dict[str, Any], **_kwargs: Any) -> None:
        if ("key" in data) == ("key_sha256" in data):
            raise ValidationError("give the key, or its SHA-256 as key_sha256, and not both", "key")


class ImportRequest(Request):
    licenses = fields.List(
        fields.Nested(ImportedLine),
        required=True,
        error_messages=REQUIRED,
        validate=validate.Length(1, MAX_LINES, error="must have {min} to {max} licenses"),
    )
    dry_run = Flag(load_default=False, metadata={"description": "only say what would become of each"})


class ImportResult(Schema):
    result = fields.String(required=True, validate=validate.OneOf(["imported", "unchanged", "refused"]))
    license_id = fields.UUID(
        required=True,
        allow_none=True,
        metadata={"description": "null where it was refused, and where a dry run would have made one"},
    )
    code = fields.String(metadata={"description": "why it was refused"})
    field = fields.String()
    detail = fields.String()


class ImportAnswer(Answer):
    dry_run = fields.Boolean()
    imported = fields.Integer()
    unchanged = fields.Integer()
    refused = fields.Integer()
    results = fields.List(fields.Nested(ImportResult), metadata={"description": "in the order of the licenses"})


blueprint = AdminBlueprint("imports", description="Take licenses over from another system.")


@blueprint.post("/api/v1/admin/licenses/import", scope="manage")
@blueprint.arguments(
    ImportRequest,
    example={
        "licenses": [
            {"key": "LIC-7F3A-99B2-04C1", "credits": 4200, "external_id": "customer-12"},
            {"key_sha256": "5f" * 32, "credits": 0, "status": "suspended", "expires_at": "2027-01-31T00:00:00Z"},
            {"key": "LIC-11A8-40E7-7D20", "credits": 100, "external_id": "customer-7"},
        ]
    },
)
@blueprint.response(
    200,
    ImportAnswer,
    example={
        "dry_run": False,
        "imported": 1,
        "unchanged": 1,
        "refused": 1,
        "results": [
            {"result": "imported", "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7"},
            {"result": "unchanged", "license_id": "f627a3b7-e7b1-4c26-94c7-68f123a3e967"},
            {
                "result": "refused",
                "license_id": None,
                "code": "already_exists",
                "field": "external_id",
                "detail": "Another license has the external id customer-7. "
                "Look that license up by it, or use another one.",
            },
        ],
    },
)
def import_licenses(body: dict[str, Any]) -> Any:
    """Import licenses with their keys, each by itself. The same again changes nothing, whatever became of them since;
    so after an error all of it can be asked again."""
    lines = [_line(number, said) for number, said in enumerate(body["licenses"])]
    outcomes = imports.run(services().database, lines, dry_run=body["dry_run"], called="licenses.", actor=actor())
    results = [
        {"result": outcome.result, "license_id": outcome.license_id}
        | (
            {}
            if outcome.refusal is None
            else {"code": outcome.refusal.code, "field": outcome.refusal.field, "detail": outcome.refusal.message}
        )
        for outcome in outcomes
    ]
    counts = {name: sum(one["result"] == name for one in results) for name in ("imported", "unchanged", "refused")}
    return {"dry_run": body["dry_run"], **counts, "results": results}


def _line(number: int, said: dict[str, Any]) -> Line:
    digest = said.pop("key", None) or said.pop("key_sha256")
    return Line(number, digest, **said)
