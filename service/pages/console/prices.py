"""The price book: what is in force and announced, and a file of prices as a difference before it is set."""

from flask import Response

from ... import pricefile
from ...http.auth import actor
from ...http.services import services
from ...pricefile import PriceFileError
from ...pricing import CLASSES
from ...problems import Problem
from ...repository import prices
from ..guarded import confirm, form, redirect, respond
from . import blueprint

# A file of prices, in characters.
_LONGEST = 500_000


@blueprint.get("/console/prices")
def show_prices() -> Response:
    """The price book."""
    rows = prices.current(prices.book(services().database))
    return respond("console/prices.html", rows=rows, classes=CLASSES)


@blueprint.post("/console/prices", scope="manage")
def import_prices() -> Response:
    """Set the prices of a file, once its difference was looked at."""
    given = form()
    try:
        rows = pricefile.read(given.text("file", 1, _LONGEST))
    except PriceFileError as error:
        raise Problem("validation_failed", str(error)) from error
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
        changes=(CLASSES, changes),
    )
