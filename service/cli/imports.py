"""The command that takes licenses over from another system."""

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from .. import importfile, imports
from ..importfile import ImportFileError
from ..problems import Problem
from .common import REFUSED, as_json, database, environment, harmless, say

# Each license is a transaction of its own, and what that takes is the wait for the disk.
_AT_ONCE = 4

# With --json; stderr has all of them.
_MOST_REFUSALS = 1000

_BY_NAME = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


@click.command(name="import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--format",
    type=click.Choice(["csv", "ndjson"]),
    help="Default: by the file's name, or by how it begins.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would become of each line.")
@as_json
def import_licenses(*, file: BinaryIO, format: str | None, dry_run: bool, as_json: bool) -> None:
    """Take licenses over from another system, with the keys that they have.

    FILE is CSV, whose first line names the columns, or NDJSON; - is stdin. A line is a license: key (as clients send
    it) or key_sha256, credits, and if need be status, expires_at, external_id and name. Each is imported by itself;
    what is refused is told on stderr, by its number. The same file again imports only what is missing:
    docs/migrating.md.
    """
    counts: Counter[str] = Counter(imported=0, unchanged=0, refused=0)
    refusals: list[dict[str, Any]] = []
    format = format or _BY_NAME.get(Path(file.name).suffix.lower())
    with environment() as config, database(config, connections=_AT_ONCE) as opened, _progress(file) as tell:
        lines = importfile.read(file, format)
        try:
            for outcome in imports.run(opened, lines, dry_run=dry_run, at_once=_AT_ONCE):
                counts[outcome.result] += 1
                if outcome.refusal is not None:
                    number, field, message, code = outcome.refusal
                    tell(harmless(f"line {number}: {f'{field}: ' if field else ''}{message}"))
                    if len(refusals) < _MOST_REFUSALS:
                        refusals.append({"line": number, "field": field, "code": code, "message": message})
                tell(None)
        except ImportFileError as error:
            raise click.BadParameter(str(error), param_hint="FILE") from error
        except (Problem, KeyboardInterrupt):
            tell(f"obol: it ended before the file did: {_text(counts)}. The same command again goes on from here.")
            raise
    text = _text(counts)
    if dry_run:
        text += "\nNothing was written: this was a dry run."
    say({"dry_run": dry_run, **counts, "refusals": refusals}, text, as_json)
    if counts["refused"]:
        sys.exit(REFUSED)


def _text(counts: Counter[str]) -> str:
    return ", ".join(f"{result} {count}" for result, count in counts.items())


@contextmanager
def _progress(file: BinaryIO) -> Iterator[Callable[[str | None], None]]:
    """Shows on a terminal how far a file is read, and tells lines on stderr, above that; None: it was read on."""
    status = os.fstat(file.fileno()) if sys.stderr.isatty() else None
    if status is None or not stat.S_ISREG(status.st_mode):
        yield _say_line
        return
    with click.progressbar(length=status.st_size, file=sys.stderr) as bar:

        def tell(line: str | None) -> None:
            if line is None:
                bar.update(file.tell() - bar.pos)
            else:
                _say_line(f"\r\033[K{line}")

        yield tell


def _say_line(line: str | None) -> None:
    if line is not None:
        click.echo(line, err=True)
