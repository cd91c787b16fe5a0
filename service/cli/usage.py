"""The commands for what a license used: its statement, its usage, its receipts."""

import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any
from uuid import UUID

import click

from .. import statements
from ..repository import usage
from ..repository.usage import BATCH, DIMENSIONS, FIGURES, KINDS, ArchivedEntries, Entry, Filters, Reader, Span
from .common import DayOf, Expiry, Id, Words, as_json, harmless, moment, owner, say, table

as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")

# Statements that are longer are worth to be told how far they are.
LONG = 10 * BATCH


class By(click.ParamType[tuple[str, ...]]):
    """Some of day, model and key, with commas between."""

    name = "NAMES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = tuple(value.split(","))
        if not set(names) <= set(DIMENSIONS) or len(set(names)) < len(names):
            self.fail(f"it must be one or more of {', '.join(DIMENSIONS)}, with commas between.", param, ctx)
        return names


@click.command()
@click.argument("license_id", type=Id())
@click.option("--kind", type=click.Choice(KINDS), help="Only those of this kind.")
@click.option("--model", type=Words(1, 200), help="Only charges for this model.")
@click.option("--key", "key_id", type=Id(), help="Only what this key (KEY_ID) was used for.")
@click.option("--from", "from_at", type=Expiry(), help="Only those of this time (UTC) and later, e.g. 2027-01-01.")
@click.option("--to", "to_at", type=Expiry(), help="Only those of before this time (UTC).")
@as_csv
@as_json
def entries(
    *,
    license_id: UUID,
    kind: str | None,
    model: str | None,
    key_id: UUID | None,
    from_at: datetime | None,
    to_at: datetime | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """The statement of a license, newest first: every entry, however many; --json prints a line for each."""
    filters = Filters(kind, model, key_id, from_at, to_at)
    with owner() as database:
        reader = Reader.operator(license_id)
        span = usage.span(database, reader, filters)
        batches = _with_progress(usage.batches(database, reader, filters, of=span), span)
        if as_csv or as_json:
            for chunk in statements.as_csv(batches) if as_csv else statements.as_ndjson(batches):
                click.echo(chunk, nl=False)
            _tell_archived(usage.archived(database, reader))
            return
        for number, batch in enumerate(batches):
            text = table(("NO", "AT", "KIND", "AMOUNT", "BALANCE", "ID", "MODEL", "REFERENCE"), map(_cells, batch))
            # The headings once; the widths of the columns are of each batch.
            click.echo(text if number == 0 else text.partition("\n")[2], nl=bool(batch) or number == 0)
        _tell_archived(usage.archived(database, reader))


def _tell_archived(archived: ArchivedEntries | None) -> None:
    # On stderr: what is printed is the entries, and may be a file.
    if archived is not None:
        click.echo(
            f"obol: {archived.entries} older entries, until {moment(archived.until)}, are in the archive.", err=True
        )


def _cells(entry: Entry) -> tuple[object, ...]:
    return (
        entry.entry_no,
        moment(entry.created_at),
        entry.kind,
        entry.amount,
        entry.balance_after,
        entry.cause_id,
        entry.model,
        entry.reference,
    )


def _with_progress(batches: Iterable[list[Entry]], span: Span) -> Iterator[list[Entry]]:
    """The same batches, with a bar on a terminal while a long statement goes into a file or a pipe."""
    length = span.through_no - span.after_no
    if length <= LONG or sys.stdout.isatty() or not sys.stderr.isatty():
        yield from batches
        return
    with click.progressbar(length=length, label="Entries", file=sys.stderr) as bar:
        for batch in batches:
            yield batch
            bar.update(BATCH)


@click.command(name="usage")
@click.argument("license_id", type=Id())
@click.option("--from", "first", type=DayOf(), help="The first day (UTC). Default: 29 days before the last.")
@click.option("--to", "last", type=DayOf(), help="The last day (UTC). Default: today.")
@click.option("--by", default=",".join(DIMENSIONS), type=By(), show_default=True, help="What rows are for.")
@as_csv
@as_json
def show_usage(
    *, license_id: UUID, first: date | None, last: date | None, by: tuple[str, ...], as_csv: bool, as_json: bool
) -> None:
    """What a license used, by day, model and key."""
    with owner() as database:
        found = statements.usage_of(database, Reader.operator(license_id), first=first, last=last, by=by)
    if as_csv:
        click.echo(b"".join(statements.usage_as_csv(found)), nl=False)
        return
    document = {
        "from": found.first.isoformat(),
        "to": found.last.isoformat(),
        "rows": [
            row._asdict() | {"day": row.day and row.day.isoformat(), "key_id": row.key_id and str(row.key_id)}
            for row in found.rows
        ],
        "total": found.total,
    }
    cells: list[tuple[object, ...]] = [*found.rows, ("total", None, None, *found.total.values())]
    headings = (*(name.upper() for name in DIMENSIONS), *(name.removesuffix("_tokens").upper() for name in FIGURES))
    say(document, table(headings, cells), as_json)


@click.command()
@click.argument("license_id", type=Id())
@click.argument("cause_id", type=Id())
@as_json
def receipt(license_id: UUID, cause_id: UUID, as_json: bool) -> None:
    """How a charge (CAUSE_ID: of its hold) or a deduction is made up, what it drew on, what came back."""
    with owner() as database:
        found = statements.receipt(database, Reader.operator(license_id), cause_id)
    say(found, "\n".join(_receipt_lines(found)), as_json)


def _receipt_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['kind']} {found['id']}, entry {found['entry_no']} at {found['created_at']}"
    yield f"Charged {found['charged']} credits; the balance was {found['balance_after']} after it."
    if found["shortfall"]:
        yield f"{found['shortfall']} more could not be paid."
    for name in ("model", "reference"):
        if found[name] is not None:
            yield harmless(f"{name.capitalize()}: {found[name]}")
    if found["calculation"] is not None:
        rows = [
            (line["class"], line["tokens"], line["credits_per_million_tokens"], line["millionths"], line["model"])
            for line in found["calculation"]["lines"]
        ]
        yield ""
        yield table(("CLASS", "TOKENS", "CREDITS A MILLION", "MILLIONTHS", "MODEL"), rows)
        sums = found["calculation"]
        yield f"{sums['millionths']} millionths of a credit, rounded up once: {sums['credits']}."
    yield ""
    if found["grants"] is None:
        yield "Taken before grants had lifetimes: what it drew on is not known."
    for draw in found["grants"] or ():
        yield f"{draw['amount']} from grant {draw['grant_id']}"
    for refund in found["refunds"]:
        yield f"{refund['amount']} refunded with entry {refund['entry_no']} at {refund['created_at']}"


COMMANDS = (entries, show_usage, receipt)
