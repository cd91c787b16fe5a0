"""The price book: what is in force and announced, and a file of prices as a difference before it is set."""

from flask import Response

from ... import pricefile
from ...http.auth import actor
from ...http.services import services
from ...pricing import CLASSES
from ...repository import prices
from ..guarded import Difference, confirm, form, redirect, respond
from . import blueprint
from .common import file_of


@blueprint.get("/console/prices")
def show_prices() -> Response:
    """The price book."""
    rows = prices.current(prices.book(services().database))
    return respond("console/prices.html", rows=rows, classes=CLASSES)


@blueprint.post("/console/prices", scope="manage")
def import_prices() -> Response:
    """Set the prices of a file, once its difference was looked at."""
    given = form()
    rows = file_of(given, pricefile.read)
    changes = prices.set_prices(services().database, rows, dry_run=not given.is_confirmed, actor=actor())
    if given.is_confirmed:
        return redirect("/console/prices", done="imported")
    count = len(changes)
    return confirm(
        f"Set {count} price{'' if count == 1 else 's'}?" if changes else "The price book says all of it already",
        facts=[("Prices named in the file", None, len(rows)), ("Prices that change", None, count)],
        button=f"Set {count} price{'' if count == 1 else 's'}" if changes else "",
        back="/console/prices",
        notes=("Holds that are open keep the price that they were made with.",) if changes else (),
        difference=Difference(
            "credits a million tokens",
            ("Model", "From (UTC)"),
            CLASSES,
            [((row.model_pattern, row.effective_from), row.before, row.after) for row in changes],
        ),
    )
