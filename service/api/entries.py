"""/api/v1/license/entries: the statement, in pages or as a file of any length."""

from typing import Any

from flask import Response, request
from marshmallow import fields, validate

from .. import statements
from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import MAX_MODEL, Answer, Instant, LimitQuery, Moment, Text, bounds, length
from ..http.services import services
from ..http.streaming import accepted_of, stream
from ..problems import Problem
from ..repository import usage
from ..repository.usage import KINDS, Filters, Reader

JSON, CSV, NDJSON = "application/json", "text/csv", "application/x-ndjson"

# For the description of a call that can also answer with a file.
FILES = {"content": {type: {"schema": {"type": "string"}} for type in (CSV, NDJSON)}}


class NumberedQuery(LimitQuery):
    """A page of what is numbered."""

    cursor = fields.Integer(
        load_default=None,
        validate=bounds(1, 2**63 - 1),
        error_messages={"invalid": "must be a next_cursor of an earlier page"},
    )


class EntriesQuery(NumberedQuery):
    kind = Text(load_default=None, validate=validate.OneOf(KINDS, error="must be one of {choices}"))
    model = Text(load_default=None, validate=length(1, MAX_MODEL), metadata={"description": "only charges have one"})
    key_id = fields.UUID(
        load_default=None,
        error_messages={"invalid_uuid": "must be the key_id of a license key"},
        metadata={"description": "only what that key was used for"},
    )
    from_at = Instant(data_key="from", load_default=None, metadata={"description": "of that time and later"})
    to_at = Instant(data_key="to", load_default=None, metadata={"description": "of before that time"})


class EntryAnswer(Answer):
    entry_no = fields.Integer()
    kind = fields.String(validate=validate.OneOf(KINDS))
    amount = fields.Integer(metadata={"description": "what the entry added to the balance; negative for charges"})
    balance_after = fields.Integer()
    id = fields.UUID(attribute="cause_id", metadata={"description": "of the grant, adjustment, deduction or hold"})
    reference = fields.String(allow_none=True)
    model = fields.String(allow_none=True, metadata={"description": "of a charge for an answer"})
    key_id = fields.UUID(
        allow_none=True,
        metadata={"description": "of the key that a charge or a deduction was made with; null: an operator made it"},
    )
    usage = fields.Dict(allow_none=True, metadata={"description": "the tokens of that answer, by class"})
    created_at = Moment()


class ArchivedAnswer(Answer):
    entries = fields.Integer(metadata={"description": "how many: those numbered up to this one"})
    until = Moment(metadata={"description": "when the newest of them was made"})


class EntriesAnswer(Answer):
    entries = fields.List(fields.Nested(EntryAnswer))
    next_cursor = fields.Integer(
        allow_none=True,
        metadata={"description": "null on the last page; where what is asked for is rare, others may be short, too"},
    )
    archived = fields.Nested(
        ArchivedAnswer,
        allow_none=True,
        metadata={
            "description": "on the last page, the older entries, which the operator has in an archive; null: there are "
            "none, or there is another page. Usage is of all entries, archived or not"
        },
    )


blueprint = Blueprint("entries", license_auth, description="The statement: every change of the balance.")

EXAMPLE = {
    "entries": [
        {
            "entry_no": 4,
            "kind": "charge",
            "amount": -1200,
            "balance_after": 98517,
            "id": "661fd0b6-db64-4522-bd48-222e4259ca01",
            "reference": None,
            "model": None,
            "key_id": "f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c",
            "usage": None,
            "created_at": "2026-11-22T16:09:29.079534Z",
        }
    ],
    "next_cursor": 4,
    "archived": None,
}


@blueprint.get("/api/v1/license/entries")
@blueprint.doc(responses={200: FILES})
@blueprint.arguments(EntriesQuery, location="query")
@blueprint.response(200, EntriesAnswer, example=EXAMPLE)
def list_entries(query: dict[str, Any]) -> Any:
    """The statement, newest first. `cursor` is the `next_cursor` of the page before. With `Accept: text/csv` or
    `application/x-ndjson` all of it, in one answer of any length."""
    return entries_of(Reader.with_key(license_key()), query)


def entries_of(reader: Reader, query: dict[str, Any]) -> Response | dict[str, Any]:
    """A page of a statement, or all of it where the request accepts a file."""
    database = services().database
    filters = Filters(query["kind"], query["model"], query["key_id"], query["from_at"], query["to_at"])
    if None not in (filters.from_at, filters.to_at) and query["from_at"] >= query["to_at"]:
        raise Problem("validation_failed", "from: it must be before `to`.")
    wanted = accepted_of((JSON, CSV, NDJSON))
    if wanted == JSON:
        found = usage.page(database, reader, filters, before=query["cursor"], limit=query["limit"])
        return {"entries": found.entries, "next_cursor": found.before, "archived": found.archived}
    if paged := request.args.keys() & {"cursor", "limit"}:
        names = " and ".join(sorted(paged))
        raise Problem("validation_failed", f"{names}: {wanted} is all of the statement; leave it out, or ask for JSON.")
    batches = usage.batches(database, reader, filters, of=usage.span(database, reader, filters))
    write = statements.as_csv if wanted == CSV else statements.as_ndjson
    return stream(write(batches), f"{wanted}; charset=utf-8")
