"""What the commands share: the database, the output, the kinds of arguments."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any, Literal, NoReturn, TextIO, TypeVar
from uuid import UUID

import click

from .. import dev, statements
from ..config import Config, load
from ..db import Database
from ..repository.limits import MOST, MOST_MODELS, NO_LIMITS
from ..tomlfile import TomlFileError

Row = TypeVar("Row")

REFUSED, WRONG_USAGE, NO_DATABASE = 1, 2, 3

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def fail(message: str, exit_code: int, code: str | None = None) -> NoReturn:
    """One line on stderr, or with --json one object on stdout, and the end."""
    is_json = "--json" in sys.argv
    with as_far_as_possible(sys.stdout if is_json else sys.stderr):
        if is_json:
            click.echo(json.dumps({"error": message, "code": code}))
        else:
            click.echo(f"obol: {harmless(message)}", err=True)
    sys.exit(exit_code)


@contextmanager
def as_far_as_possible(stream: TextIO) -> Iterator[None]:
    """Where nothing can be written any more, the exit code still says what happened."""
    try:
        yield
    except OSError:
        write_no_more(stream)


def write_no_more(stream: TextIO) -> None:
    """Python would try again to write what is left, as the last thing that it does, and then say 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def harmless(text: str) -> str:
    """Text with a backslash form for what would steer a terminal: names and references are their writers' to choose."""
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1] for character in text
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under headings, in columns; numbers to the right. None is a dash."""
    cells = [list(headings)]
    numbers = [True] * len(headings)
    for row in rows:
        cells.append(["-" if value is None else harmless(str(value)).replace("\n", "\\n") for value in row])
        numbers = [are and isinstance(value, int | None) for are, value in zip(numbers, row, strict=True)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        columns = zip(row, widths, numbers, strict=True)
        return "  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in columns).rstrip()

    return "\n".join(map(line, cells))


@contextmanager
def environment() -> Iterator[Config]:
    """The configuration, with what development mode fills in."""
    with dev.environment(os.environ) as environ:
        os.environ.update(environ)
        yield load(environ)


@contextmanager
def database(config: Config, *, connections: int = 1) -> Iterator[Database]:
    """The database as its owner."""
    opened = Database(config.require_migrate_url(), pool_size=connections, wait_s=1)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def owner() -> Iterator[Database]:
    """The environment's database as its owner."""
    with environment() as config, database(config) as opened:
        yield opened


def read_toml(file: TextIO, read: Callable[[str], list[Row]]) -> list[Row]:
    """The rows of a FILE that an argument names; what is wrong with it is wrong usage."""
    try:
        return read(file.read())
    except OSError as error:
        raise click.BadParameter(f"It cannot be read: {error.strerror}.", param_hint="FILE") from error
    except UnicodeDecodeError as error:
        raise click.BadParameter("It is not UTF-8.", param_hint="FILE") from error
    except TomlFileError as error:
        raise click.BadParameter(str(error), param_hint="FILE") from error


def say(data: Any, text: str, as_json: bool) -> None:
    """Print a result for a script or for a person."""
    click.echo(json.dumps(data) if as_json else harmless(text))


def moment(value: datetime | None) -> str | None:
    """A time as it is printed: UTC, with a Z."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Expiry(click.ParamType[datetime]):
    """An ISO 8601 time; without a zone it is UTC."""

    name = "ISO8601"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            expiry = datetime.fromisoformat(value)
            return (expiry if expiry.tzinfo is not None else expiry.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not an ISO 8601 time such as 2027-01-31T00:00:00Z.", param, ctx)


class ExpiryOrNever(click.ParamType[datetime | Literal["never"]]):
    """An ISO 8601 time as of `Expiry`, or the word."""

    name = "ISO8601|never"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | Literal["never"]:
        return "never" if value == "never" else Expiry().convert(value, param, ctx)


class DayOf(click.ParamType[date]):
    """A day in UTC."""

    name = "DAY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day such as 2027-01-31.", param, ctx)
        if not statements.FIRST_DAY <= day <= statements.LAST_DAY:
            self.fail(f"it must be from {statements.FIRST_DAY} to {statements.LAST_DAY}.", param, ctx)
        return day


class Id(click.ParamType[UUID]):
    """The id of a license, hold or deduction. What is no id is not repeated: it may be a key."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        try:
            return UUID(value)
        except ValueError:
            self.fail(
                "it is no id such as 018f3c5e-9a7b-4d21-b6a0-c4d2e8f90a1b; `obol license list` has them.", param, ctx
            )


class Whole(click.ParamType[int]):
    """A whole number, written in digits."""

    name = "NUMBER"

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        # A default is a number already.
        digits = str(value)
        if not re.fullmatch("-?[0-9]{1,19}", digits) or not self._least <= int(digits) <= self._most:
            self.fail(f"it must be a whole number from {self._least} to {self._most}, written in digits.", param, ctx)
        return int(digits)


class Words(click.ParamType[str]):
    """Text that PostgreSQL can store; at least `least` characters and at most `most`."""

    name = "TEXT"

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        # Bytes of the command line that are not UTF-8 arrive as lone surrogates.
        if not value.isprintable() or not self._least <= len(value) <= self._most:
            self.fail(f"it must have {self._least} to {self._most} printable characters, in UTF-8.", param, ctx)
        return str(value)


class Limit(click.ParamType[tuple[str, Any]]):
    """A limit as NAME=VALUE: a whole number, models with commas between them, or none."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        limit, _, said = value.partition("=")
        if limit not in NO_LIMITS:
            self.fail(f"it must begin with one of {', '.join(NO_LIMITS)}, and a =.", param, ctx)
        if said == "none":
            return limit, None
        if limit == "models":
            patterns = said.split(",")
            if len(patterns) > MOST_MODELS:
                self.fail(f"there may be {MOST_MODELS} models at most.", param, ctx)
            return limit, [Words(1, 200).convert(pattern, param, ctx) for pattern in patterns]
        return limit, Whole(1, MOST[limit]).convert(said, param, ctx)


limit_option = click.option(
    "--limit",
    "limits",
    multiple=True,
    type=Limit(),
    help="E.g. requests_per_minute=60, concurrent_holds=5, credits_per_day=1000, credits_per_month=20000, "
    "models=claude-haiku-*,a-model; or NAME=none. Several times.",
)

CREDITS = Whole(0, 2**63 - 1)
IDEMPOTENCY_KEY = Words(1, 255)
NAME = Words(0, 200)
EXTERNAL_ID = Words(1, 200)
REFERENCE = Words(0, 500)
