"""The commands around top-up by card: packages, payments, Stripe's signing secret."""

from typing import Any, TextIO
from uuid import UUID

import click

from .. import money, packagefile
from ..operator import OWNER
from ..repository import payments as repository
from ..repository.payments import Package, Payment
from .common import Id, Whole, Words, as_json, moment, owner, read_toml, say, table

MOST_LISTED = 1000


class PackageId(click.ParamType[str]):
    """What a package is called by."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not money.PACKAGE_ID.fullmatch(value):
            self.fail("it must have 1 to 64 of a-z, 0-9, - and _, and begin with a letter or digit.", param, ctx)
        return str(value)


class Currency(click.ParamType[str]):
    """A currency's code."""

    name = "CODE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not money.CURRENCY.fullmatch(value.lower()):
            self.fail("it must be a code such as eur.", param, ctx)
        return str(value.lower())


@click.group()
def package() -> None:
    """What is sold by card: credits, at a price in money."""


@package.command(name="set")
@click.argument("package_id", type=PackageId())
@click.option("--name", required=True, type=Words(1, 200), help="As the customer sees it, at Stripe too.")
@click.option("--price", required=True, help="Such as 10.00.")
@click.option("--currency", required=True, type=Currency(), help="Such as eur.")
@click.option("--credits", required=True, type=Whole(1, 2**63 - 1))
@click.option(
    "--lifetime-days", type=Whole(1, money.MAX_LIFETIME_DAYS), help="When the credits expire. Default: never."
)
@as_json
def set_package(
    *,
    package_id: str,
    name: str,
    price: str,
    currency: str,
    credits: int,
    lifetime_days: int | None,
    as_json: bool,
) -> None:
    """Sell a package from now on, or change it. Payments that were begun keep what it was."""
    try:
        amount = money.parse(price, currency)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--price") from error
    with owner() as database:
        row = repository.set_package(
            database,
            package_id,
            name=name,
            price=amount,
            currency=currency,
            credits=credits,
            lifetime_days=lifetime_days,
            actor=OWNER,
        )
    say(_document(row), f"{row.package_id}: {row.credits} credits for {money.show(row.price, row.currency)}.", as_json)


@package.command(name="list")
@as_json
def list_packages(as_json: bool) -> None:
    """Every package that is or was sold."""
    with owner() as database:
        rows = repository.packages(database)
    headings = ("PACKAGE", "NAME", "PRICE", "CREDITS", "LIFETIME DAYS", "STATUS")
    cells = (
        (
            row.package_id,
            row.name,
            money.show(row.price, row.currency),
            row.credits,
            row.lifetime_days,
            "sold" if row.is_active else "ended",
        )
        for row in rows
    )
    none = "No packages yet: obol package set starter --name Starter --price 10.00 --currency eur --credits 100000"
    say([_document(row) for row in rows], table(headings, cells) if rows else none, as_json)


@package.command()
@click.argument("package_id", type=PackageId())
@as_json
def end(package_id: str, as_json: bool) -> None:
    """Sell a package no more. Who has begun to pay for it gets it all the same."""
    with owner() as database:
        row = repository.end_package(database, package_id, actor=OWNER)
    say(_document(row), f"{package_id} is sold no more.", as_json)


@package.command(name="import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@as_json
def import_file(file: TextIO, dry_run: bool, as_json: bool) -> None:
    """Sell the packages of a TOML FILE, all or none; docs/packages.example.toml is one."""
    rows = read_toml(file, packagefile.read)
    with owner() as database:
        changes = repository.set_packages(database, rows, dry_run=dry_run, actor=OWNER)
    documents = [
        {
            "id": change.package_id,
            "before": None if change.before is None else _document(change.before),
            "after": _document(change.after),
        }
        for change in changes
    ]
    lines = [f"{change.package_id}: {_words(change.before)} -> {_words(change.after)}" for change in changes]
    if dry_run and lines:
        lines.append("Nothing was written: this was a dry run.")
    text = "\n".join(lines) or "Nothing changes: the packages say so already."
    say({"dry_run": dry_run, "changes": documents}, text, as_json)


@click.command(name="payments")
@click.argument("license_id", type=Id(), required=False)
@click.option("--owed", is_flag=True, help="Only those of which something is owed; of all licenses.")
@as_json
def list_payments(license_id: UUID | None, owed: bool, as_json: bool) -> None:
    """Payments by card of a license, or of all, newest first; and the credits owed for money that went back."""
    if owed and license_id is not None:
        raise click.UsageError("--owed is of all licenses: name none.")
    with owner() as database:
        if license_id is None:
            rows = repository.list_all_payments(database, only_owed=owed, limit=MOST_LISTED, actor=OWNER)
        else:
            rows = repository.list_payments(database, license_id, limit=MOST_LISTED, actor=OWNER)
    headings = (
        *(["LICENSE"] if license_id is None else []),
        "PAYMENT",
        "PACKAGE",
        "STATE",
        "PRICE",
        "CREDITS",
        "REFUNDED",
        "DISPUTED",
        "OWED",
        "BEGUN",
        "PROBLEM",
    )
    cells = (
        (
            *([row.license_id] if license_id is None else []),
            row.payment_id,
            row.package_id,
            row.state,
            money.show(row.price, row.currency),
            row.credits,
            money.show(row.refunded, row.currency),
            money.show(row.disputed, row.currency),
            row.owed,
            moment(row.created_at),
            row.disagreement,
        )
        for row in rows
    )
    say([_payment(row) for row in rows], table(headings, cells) if rows else "No payments.", as_json)


@click.group()
def stripe() -> None:
    """What Obol knows Stripe by."""


@stripe.group()
def secret() -> None:
    """The signing secret of the webhook, which only the database has."""


@secret.command(name="set")
@click.option(
    "--overlap-hours", default=24, type=Whole(0, 720), show_default=True, help="How long the one before stays good."
)
@as_json
def set_secret(overlap_hours: int, as_json: bool) -> None:
    """Tell the database the signing secret (whsec_…) of the webhook; it is read from the terminal or stdin."""
    said = click.prompt("Signing secret", hide_input=True, err=True).strip()
    if not (said.startswith("whsec_") and said.isascii() and said.isprintable() and 16 <= len(said) <= 200):
        raise click.UsageError("That is no signing secret: it begins with whsec_. Stripe shows it with the webhook.")
    with owner() as database:
        good = repository.set_secret(database, said, overlap_hours * 3600)
    say({"good": good}, f"Signing secrets that are good now: {good}.", as_json)


def _document(row: Package) -> dict[str, Any]:
    document = row._asdict()
    return {"id": document.pop("package_id"), "active": document.pop("is_active"), **document}


def _words(row: Package | None) -> str:
    if row is None or not row.is_active:
        return "not sold"
    lifetime = "" if row.lifetime_days is None else f", for {row.lifetime_days} days"
    return f"{row.name}, {row.credits} credits for {money.show(row.price, row.currency)}{lifetime}"


def _payment(row: Payment) -> dict[str, Any]:
    document = row._asdict() | {"created_at": moment(row.created_at), "paid_at": moment(row.paid_at)}
    return {"id": str(document.pop("payment_id")), **document, "license_id": str(row.license_id)}


COMMANDS = (package, list_payments, stripe)
