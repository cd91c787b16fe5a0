"""What is sold by card."""

from flask import Response

from ... import money, packagefile
from ...http.auth import actor
from ...http.fields import MAX_NAME
from ...http.services import cashier, services
from ...problems import Problem
from ...repository import payments
from ...repository.payments import Package
from .. import forms
from ..guarded import Difference, confirm, form, redirect, respond
from ..rendering import lifetime
from . import blueprint
from .common import file_of

_PATH = "/console/packages"
# What of a package the difference that a file makes shows.
_COMPARED = ("Name", "Price", "Credits", "Usable for", "Sold")


@blueprint.get("/console/packages")
def list_packages() -> Response:
    """Every package that is or was sold, and the form for another."""
    cashier()
    return respond("console/packages.html", rows=payments.packages(services().database))


@blueprint.post("/console/packages", scope="manage")
def set_package() -> Response:
    """Sell a package, or change it."""
    cashier()
    given = form()
    package_id, currency = given.text("package_id").lower(), given.text("currency").lower()
    if not money.PACKAGE_ID.fullmatch(package_id):
        raise forms.wrong("package_id", "must have 1 to 64 of a-z, 0-9, - and _, and begin with a letter or digit")
    if not money.CURRENCY.fullmatch(currency):
        raise forms.wrong("currency", "must be a code such as eur")
    name = given.text("name", 1, MAX_NAME)
    try:
        price = money.parse(given.text("price"), currency)
    except ValueError as error:
        raise forms.wrong("price", str(error).removeprefix("it ")) from error
    credits, days = given.number("credits"), given.number_or_none("lifetime_days", 1, money.MAX_LIFETIME_DAYS)
    wanted = Package(package_id, name, price, currency, credits, days, True)
    if not given.is_confirmed:
        before = _find(package_id)
        return confirm(
            f"Sell {credits:,} credits for {money.show(price, currency)}?",
            facts=_compared(before, wanted),
            button="Sell the package" if before is None else "Change the package",
            back=_PATH,
            notes=() if before is None else ("Who has begun to pay for it pays, and gets, what it is now.",),
        )
    payments.set_package(
        services().database,
        package_id,
        name=name,
        price=price,
        currency=currency,
        credits=credits,
        lifetime_days=days,
        actor=actor(),
    )
    return redirect(_PATH, done="package_set")


@blueprint.post("/console/packages/import", scope="manage")
def import_packages() -> Response:
    """Sell the packages of a file, once its difference was looked at."""
    cashier()
    given = form()
    rows = file_of(given, packagefile.read)
    changes = payments.set_packages(services().database, rows, dry_run=not given.is_confirmed, actor=actor())
    if given.is_confirmed:
        return redirect(_PATH, done="packages_imported")
    count = len(changes)
    button = f"Set {count} package{'' if count == 1 else 's'}"
    return confirm(
        f"{button}?" if changes else "The packages are as the file has them",
        facts=[("Packages named in the file", None, len(rows)), ("Packages that change", None, count)],
        button=button if changes else "",
        back=_PATH,
        notes=("Who has begun to pay for one pays, and gets, what it was then.",) if changes else (),
        difference=Difference(
            "of the packages that change",
            ("Package",),
            _COMPARED,
            [
                ((row.package_id,), None if row.before is None else _facts(row.before), _facts(row.after))
                for row in changes
            ],
        ),
    )


@blueprint.post("/console/packages/<package_id>/end", scope="manage")
def end_package(package_id: str) -> Response:
    """Sell a package no more."""
    cashier()
    package = _find(package_id)
    if package is None:
        raise Problem("package_not_found", f"There is no package {package_id[:64]}.")
    if not form().is_confirmed:
        return confirm(
            f"End the package {package.name}?",
            facts=[
                ("Sold", "yes" if package.is_active else "no", "no"),
                ("Price", money.show(package.price, package.currency), None),
                ("Credits", package.credits, None),
            ],
            button="Sell it no more",
            back=_PATH,
            danger=True,
            notes=("Who has begun to pay for it gets it all the same. Credits that were given stay.",),
        )
    payments.end_package(services().database, package_id, actor=actor())
    return redirect(_PATH, done="package_ended")


def _find(package_id: str) -> Package | None:
    found = (package for package in payments.packages(services().database) if package.package_id == package_id)
    return next(found, None)


def _compared(before: Package | None, after: Package) -> list[tuple[str, object, object]]:
    """A package as it is and will be; what a unit of money buys, because a digit too many is seen there."""
    then = _facts(after)
    now = dict.fromkeys(then) if before is None else _facts(before)
    return [(name, now.get(name), then[name]) for name in then]


def _facts(package: Package) -> dict[str, object]:
    one = 10 ** money.decimals(package.currency)
    return {
        "Package": package.package_id,
        "Name": package.name,
        "Price": money.show(package.price, package.currency),
        "Credits": package.credits,
        "Usable for": lifetime(package.lifetime_days),
        f"Credits for {money.show(one, package.currency)}": f"{package.credits * one / package.price:,.2f}",
        "Sold": "yes" if package.is_active else "no",
    }
