"""The commands of the price book."""

import difflib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, TextIO

import click

from ..operator import OWNER
from ..pricefile import MAX_FIGURE, NewPrice, pattern_error, read
from ..pricing import CLASSES, Price
from ..repository import prices as repository
from ..repository.prices import PriceRow
from .common import REFUSED, Expiry, Whole, as_json, fail, moment, owner, read_toml, say, table


class Model(click.ParamType[str]):
    """A model's name, or the beginning of names and a *."""

    name = "MODEL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if wrong := pattern_error(value):
            self.fail(f"{wrong}.", param, ctx)
        return str(value)


_FIGURE = Whole(0, MAX_FIGURE)
_effective_from = click.option(
    "--effective-from", type=Expiry(), help="When it begins, e.g. 2027-01-31T00:00:00Z. Default: now."
)
_model = click.argument("model", type=Model())


@click.group()
def prices() -> None:
    """What models cost: credits per million tokens.

    MODEL is a model's name, or the beginning of names and a *. The name itself wins, then the
    longest beginning. What has changed is in force for new calls within seconds.
    """


@prices.command()
@click.option("--all", "history", is_flag=True, help="Also what is no longer in force.")
@as_json
def show(history: bool, as_json: bool) -> None:
    """The prices in force, and those to come."""
    with owner() as database:
        rows = repository.book(database)
    if history:
        rows.sort(key=lambda row: (row.pattern, row.effective_from))
    else:
        rows = repository.current(rows)
    headings = ("MODEL", "FROM", "ABOVE", *(name.replace("_", " ").upper() for name in CLASSES))
    text = table(headings, (cells for row in rows for cells in _cells(row)))
    say([_document(row) for row in rows], text if rows else "No prices: every model is refused.", as_json)


@prices.command(name="set")
@_model
@click.option("--input", required=True, type=_FIGURE)
@click.option("--output", required=True, type=_FIGURE)
@click.option("--cache-write-5m", required=True, type=_FIGURE)
@click.option("--cache-write-1h", required=True, type=_FIGURE)
@click.option("--cache-read", required=True, type=_FIGURE)
@_effective_from
@as_json
def set_price(model: str, effective_from: datetime | None, as_json: bool, **figures: int) -> None:
    """Give MODEL a price without tiers, in credits per million tokens."""
    _set([NewPrice(model, effective_from, figures)], False, as_json)


@prices.command()
@_model
@_effective_from
@click.option("--unpriced", is_flag=True, help="Also where MODEL has no price of its own, but a shorter name sells it.")
@as_json
def end(*, model: str, effective_from: datetime | None, unpriced: bool, as_json: bool) -> None:
    """Refuse MODEL: what it names is not sold until it is given a price again.

    `obol prices end '*'` refuses every model that nothing else names.
    """
    if not unpriced:
        with owner() as database:
            known = {row.pattern for row in repository.book(database)}
        if model not in known:
            near = "".join(f" Did you mean {name}?" for name in difflib.get_close_matches(model, known, 1))
            fail(
                f"{model} has no price of its own, so there is nothing to end.{near} "
                "To refuse what a shorter name sells: --unpriced",
                REFUSED,
            )
    _set([NewPrice(model, effective_from, None)], False, as_json)


@prices.command(name="import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@as_json
def import_file(file: TextIO, dry_run: bool, as_json: bool) -> None:
    """Set the prices of a TOML FILE, all or none; docs/prices.example.toml is one."""
    _set(read_toml(file, read), dry_run, as_json)


def _set(rows: Iterable[NewPrice], dry_run: bool, as_json: bool) -> None:
    with owner() as database:
        changes = repository.set_prices(database, rows, dry_run=dry_run, actor=OWNER)
    documents = [
        {
            "model": change.model_pattern,
            "effective_from": moment(change.effective_from),
            "before": change.before,
            "after": change.after,
        }
        for change in changes
    ]
    lines = [
        f"{change.model_pattern}  from {moment(change.effective_from)}: "
        f"{_words(change.before, 'no price of its own')} -> {_words(change.after)}"
        for change in changes
    ]
    if dry_run and lines:
        lines.append("Nothing was written: this was a dry run.")
    text = "\n".join(lines) or "Nothing changes: the price book says so already."
    say({"dry_run": dry_run, "changes": documents}, text, as_json)


def _document(row: PriceRow) -> dict[str, Any]:
    figures = dict.fromkeys(CLASSES) | {"tiers": []} | dict(row.price or {})
    return {"model": row.pattern, "effective_from": moment(row.effective_from)} | figures


def _cells(row: PriceRow) -> Iterator[tuple[object, ...]]:
    """A price's lines in the table: its own, and one for each tier."""
    begins = row.pattern, moment(row.effective_from)
    if row.price is None:
        yield (*begins, "not sold", *[None] * len(CLASSES))
        return
    yield (*begins, None, *(row.price[name] for name in CLASSES))
    for tier in row.price.get("tiers", ()):
        yield (*begins, f"{tier['above_input_tokens']} input tokens", *(tier[name] for name in CLASSES))


def _words(price: Price | None, none: str = "not sold") -> str:
    if price is None:
        return none
    text = ", ".join(f"{name} {price[name]}" for name in CLASSES)
    for tier in price.get("tiers", ()):
        text += f"; above {tier['above_input_tokens']} input tokens: {_words(tier)}"
    return text


COMMANDS = (prices,)
