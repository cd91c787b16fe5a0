"""Statements and receipts, as the console and the account show them."""

from uuid import UUID

from flask import Response

from .. import statements
from ..http.fields import MAX_MODEL
from ..http.services import services
from ..http.streaming import stream
from ..repository import usage
from ..repository.usage import KINDS, Filters, Reader
from . import forms
from .forms import Form
from .guarded import respond

_PAGE = 50


def respond_page(reader: Reader, base: str, title: str) -> Response:
    """A page of a statement, by kind, model and days."""
    asked = forms.query()
    filters = _filters(asked)
    found = usage.page(services().database, reader, filters, before=forms.numbered(asked.raw("cursor")), limit=_PAGE)
    kept = {name: asked.raw(name) for name in ("kind", "model", "from", "to") if asked.raw(name)}
    return respond(
        "statement.html",
        title=title,
        base=base,
        entries=found.entries,
        next_cursor=found.before,
        archived=found.archived,
        is_first=not asked.raw("cursor"),
        kinds=KINDS,
        kept=kept,
    )


def respond_csv(reader: Reader) -> Response:
    """All of a statement, of the same filters, as a file of any length."""
    database, filters = services().database, _filters(forms.query())
    batches = usage.batches(database, reader, filters, of=usage.span(database, reader, filters))
    response = stream(statements.as_csv(batches), "text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="statement-{reader.license_id}.csv"'
    return response


def respond_receipt(reader: Reader, cause_id: UUID, base: str) -> Response:
    """How a charge or a deduction is made up."""
    receipt = statements.receipt(services().database, reader, cause_id)
    return respond("receipt.html", receipt=receipt, base=base)


def _filters(asked: Form) -> Filters:
    kind = asked.choice("kind", KINDS) if asked.raw("kind") else None
    begin, end = asked.begin_of("from"), asked.end_of("to")
    if begin is not None and end is not None and begin >= end:
        raise forms.wrong("from", "must not be after the last day")
    return Filters(kind, asked.text("model", 0, MAX_MODEL) or None, None, begin, end)
