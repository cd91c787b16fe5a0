"""The commands for who checks: verify, the audit trail, and heads."""

import json
import sys
from datetime import UTC, datetime
from typing import Any, BinaryIO

import click

from .. import archivecheck, operator
from .. import audit as heads
from .. import since as times
from ..archivefile import ArchiveError, Folder
from ..audit import HeadError
from ..operator import OWNER
from ..repository import admin, ledger
from ..repository.admin import Act
from .common import REFUSED, WRONG_USAGE, Whole, as_json, fail, harmless, moment, owner, say, table
from .progress import Progress


class Since(click.ParamType[datetime]):
    """A time, or how long ago it was: see `service.since`."""

    name = "DURATION|ISO8601"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return times.parse(value)
        except ValueError as error:
            self.fail(f"it {error}.", param, ctx)


class ArchiveFolder(click.ParamType[Folder]):
    """A folder of `obol archive`."""

    name = "FOLDER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Folder:
        try:
            return Folder(value)
        except ArchiveError as error:
            self.fail(f"{error}.", param, ctx)


archive_option = click.option(
    "--archive", "folder", type=ArchiveFolder(), help="The folder of `obol archive`, where older entries are."
)


@click.command()
@click.option(
    "--since",
    type=Since(),
    help="Only what was booked since then and what is open now, e.g. 5m, or 2027-01-31T00:00:00Z: quick, whatever the "
    "size of the ledger, and trusting what was before.",
)
@archive_option
@as_json
def verify(since: datetime | None, folder: Folder | None, as_json: bool) -> None:
    """Check every invariant of the ledger and of the audit trail; exit code 1 if anything disagrees. With --archive the
    archive first: each file, from each license's first entry to where the tables begin."""
    if folder is not None and since is not None:
        raise click.UsageError("--archive is all that is in the archive: leave out --since")
    rows = []
    began_at = datetime.now(UTC)
    with owner() as database, Progress("Checking") as progress:
        if folder is not None:
            rows = list(archivecheck.check(database, folder, progress.advance))
        rows += ledger.verify(database, since)
        operator.note_verification(database, began_at, since=since, finding_count=len(rows))
    clean = "Clean: every balance is what its ledger says."
    if folder is not None:
        clean = "Clean: every balance is what its ledger says, in the archive and in the tables."
    if since is not None:
        clean = f"Clean: what was booked since {moment(since)} agrees with what was before."
    _report([row._asdict() for row in rows], clean, as_json=as_json)


@click.group()
def audit() -> None:
    """The audit trail, and digests of it and of the ledger."""


@audit.command(name="list")
@click.option("--limit", default=50, show_default=True, type=Whole(1, 10_000), help="How many, from the newest.")
@click.option("--before", type=Whole(1, 2**63 - 1), help="Only acts with a lower number.")
@as_json
def list_acts(limit: int, before: int | None, as_json: bool) -> None:
    """What operators did, newest first."""
    with owner() as database:
        rows = admin.list_acts(database, before=before, limit=limit, actor=OWNER)
    documents = [
        row._asdict()
        | {"acted_at": moment(row.acted_at), "license_id": None if row.license_id is None else str(row.license_id)}
        for row in rows
    ]
    headings = ("NO", "AT", "ACTOR", "ACT", "ON", "DETAIL", "REQUEST")
    cells = [
        (row.act_no, moment(row.acted_at), row.actor, row.act, _on(row), json.dumps(row.detail), row.request_id)
        for row in rows
    ]
    say(documents, table(headings, cells) if rows else "No acts.", as_json)


def _on(act: Act) -> str:
    return " ".join(str(what) for what in (act.license_id, act.target) if what is not None)


@audit.command()
@click.option("--json", is_flag=True, expose_value=False, help="As always: a head is JSON, a line for each license.")
def head() -> None:
    """Print a digest of each license's entries and of the audit trail, a line of JSON for each.
    Keep it where who can write the database cannot: `obol audit check` compares later."""
    # Where the lines go to the terminal they are progress enough.
    with owner() as database, Progress("Read", is_shown=not sys.stdout.isatty()) as progress:
        try:
            for line in heads.take(database, progress.advance):
                click.echo(line)
        except HeadError as error:
            fail(str(error), REFUSED)


@audit.command()
@click.argument("file", type=click.File("rb"))
@archive_option
@as_json
def check(file: BinaryIO, folder: Folder | None, as_json: bool) -> None:
    """Compare with what `obol audit head` printed to FILE (or -) then; exit code 1 if anything of it has changed or
    is lost. What has come since is not looked at."""
    try:
        known = heads.read(file)
    except HeadError as error:
        fail(f"{file.name}, {error}", WRONG_USAGE)
    with owner() as database, Progress("Read") as progress:
        found = [difference._asdict() for difference in heads.compare(database, known, progress.advance, folder=folder)]
    checked = {
        "licenses": len(known.licenses),
        "entries": sum(recorded.total for recorded in known.licenses.values()),
        "acts": known.acts.total,
    }
    counts = ", ".join(f"{count} {what}" for what, count in checked.items())
    clean = f"Clean: {counts} are as they were at {known.taken_at}."
    _report(found, clean, as_json=as_json, taken_at=known.taken_at, checked=checked)


def _report(rows: list[dict[str, Any]], clean: str, *, as_json: bool, **beside: Any) -> None:
    """Print what disagrees, a line for each, or that nothing does; and end with 1 where something does."""
    findings = [row | {"license_id": row["license_id"] and str(row["license_id"])} for row in rows]
    if as_json:
        click.echo(json.dumps({"clean": not findings, **beside, "findings": findings}))
    for finding in findings if not as_json else ():
        of = finding["license_id"] or "audit trail"
        click.echo(harmless(f"{of}: NOT {finding['rule']}: {finding['detail']}"))
    if findings:
        sys.exit(REFUSED)
    if not as_json:
        click.echo(harmless(clean))


COMMANDS = (verify, audit)
