"""The command that takes old entries out of the tables."""

import sys
from datetime import UTC, datetime
from typing import Any

import click

from .. import archive as files
from ..archive import Outcome
from ..archivefile import Folder
from .audit import ArchiveFolder
from .common import REFUSED, as_json, moment, owner, say
from .progress import Progress


class Month(click.ParamType[datetime]):
    """A month that is over for long enough, by its beginning (UTC)."""

    name = "MONTH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return files.month_of(value, now=datetime.now(UTC))
        except ValueError as error:
            self.fail(f"it {error}.", param, ctx)


@click.command()
@click.option("--before", required=True, type=Month(), help="Entries of before this month (UTC), e.g. 2027-01.")
@click.option("--to", "folder", required=True, type=ArchiveFolder(), help="Where their files go; the same each time.")
@click.option(
    "--with-undelivered",
    is_flag=True,
    help="Also charges whose answers are not known to have arrived (`obol holds --undelivered`). Without this they "
    "stay, and what is newer of their licenses, until they are refunded.",
)
@as_json
def archive(*, before: datetime, folder: Folder, with_undelivered: bool, as_json: bool) -> None:
    """Take old entries out of the database, into files that `obol verify --archive` checks with it. While the service
    serves, and again after it was stopped anywhere. What is archived is not refunded any more; balances, usage and
    grants stay as they are."""
    with owner() as database, Progress("Archived") as progress:
        outcome = files.run(
            database, folder, before=before, with_undelivered=with_undelivered, advance=progress.advance
        )
    say({"before": moment(before), **outcome._asdict()}, "\n".join(_words(outcome)), as_json)
    if outcome.disagreeing:
        sys.exit(REFUSED)


def _words(outcome: Outcome) -> list[str]:
    size = f"{outcome.bytes:,} bytes"
    words = [
        f"Archived {outcome.entries:,} entries of {outcome.licenses:,} licenses in {outcome.files:,} files, {size}."
        if outcome.files
        else "Nothing to archive."
    ]
    if outcome.kept:
        words.append(
            f"{outcome.kept:,} licenses keep older entries: a charge whose answer may not have arrived stays until it "
            "is refunded (`obol holds --undelivered`), and what was refunded goes with its refund."
        )
    if outcome.disagreeing:
        words.append(
            f"{outcome.disagreeing:,} licenses disagree with themselves and were left: `obol verify` says how."
        )
    return words


COMMANDS = (archive,)
