"""The commands of an operator's day: licenses, credits, and the check of the ledger."""

import hashlib
import json
import sys
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

import click

from .. import keys
from ..repository import credits, holds, licenses
from .common import IDEMPOTENCY_KEY, NAME, REFERENCE, REFUSED, Expiry, Id, as_json, moment, owner, say

# With an idempotency key, a license's id is made from it: the same key can only make one.
_LICENSE_IDS = UUID("5b0c1d0e-6f6c-4f0a-9d3a-0b01c0de0001")


@click.command()
@as_json
def verify(as_json: bool) -> None:
    """Check every invariant of the ledger; exit code 1 if anything disagrees."""
    with owner() as database:
        rows = credits.verify(database)
    findings = [{"license_id": str(row.license_id), "rule": row.rule, "detail": row.detail} for row in rows]
    if as_json:
        click.echo(json.dumps({"clean": not findings, "findings": findings}))
    for finding in findings if not as_json else ():
        click.echo(f"{finding['license_id']}: NOT {finding['rule']}: {finding['detail']}")
    if findings:
        sys.exit(REFUSED)
    if not as_json:
        click.echo("Clean: every balance is what its ledger says.")


@click.group()
def license() -> None:
    """Licenses and their keys."""


CREDITS = click.IntRange(0, 2**63 - 1)


@license.command()
@click.option("--credits", "amount", required=True, type=CREDITS, help="The opening grant.")
@click.option("--name", default="", type=NAME, help="For you to know it by.")
@click.option("--expires", type=Expiry(), help="When it ends, e.g. 2027-01-31T00:00:00Z. Default: never.")
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def create(amount: int, name: str, expires: datetime | None, idempotency_key: str | None, as_json: bool) -> None:
    """Make a license and print its key, which is shown only this once."""
    license_id = uuid5(_LICENSE_IDS, idempotency_key) if idempotency_key else uuid4()
    key = keys.make(license_id)
    fingerprint = _fingerprint(amount, name, moment(expires))
    with owner() as database:
        made = licenses.create(
            database, keys.LicenseKey(license_id, keys.digest(key)), name, expires, amount, fingerprint
        )
    shown = key if made.created else None
    text = (
        f"License {license_id} with {made.balance} credits. Its key, shown only now:\n\n    {key}\n"
        if made.created
        else f"License {license_id} was made by this idempotency key before, and its key was shown then.\n"
        f"If it is lost: obol license rotate {license_id}"
    )
    say({"license_id": str(license_id), "license_key": shown, "balance": made.balance}, text, as_json)


def _fingerprint(*values: object) -> bytes:
    return hashlib.sha256(json.dumps(values).encode()).digest()


def _license_document(row: Any) -> dict[str, Any]:
    return {
        "license_id": str(row.license_id),
        "name": row.name,
        "status": row.status,
        "expires_at": moment(row.expires_at),
        "balance": row.balance,
        "held": row.held,
        "available": row.available,
    }


def _license_line(row: Any) -> str:
    expires = f", until {moment(row.expires_at)}" if row.expires_at else ""
    return f"{row.license_id}  {row.status}{expires}, balance {row.balance}, held {row.held}  {row.name}"


@license.command(name="list")
@as_json
def list_licenses(as_json: bool) -> None:
    """All licenses, oldest first."""
    with owner() as database:
        rows = licenses.overview(database)
    text = "\n".join(map(_license_line, rows)) or "No licenses yet: obol license create --credits 1000"
    say([_license_document(row) for row in rows], text, as_json)


@license.command()
@click.argument("license_id", type=Id())
@as_json
def show(license_id: UUID, as_json: bool) -> None:
    """One license."""
    with owner() as database:
        row = licenses.show(database, license_id)
    say(_license_document(row), _license_line(row), as_json)


def _set_status(license_id: UUID, status: str, as_json: bool) -> None:
    with owner() as database:
        licenses.set_status(database, license_id, status)
        row = licenses.show(database, license_id)
    say(_license_document(row), _license_line(row), as_json)


@license.command()
@click.argument("license_id", type=Id())
@as_json
def suspend(license_id: UUID, as_json: bool) -> None:
    """Refuse the license from the next call on; calls that run are finished and paid for."""
    _set_status(license_id, "suspended", as_json)


@license.command()
@click.argument("license_id", type=Id())
@as_json
def resume(license_id: UUID, as_json: bool) -> None:
    """Let a suspended license be used again."""
    _set_status(license_id, "active", as_json)


@license.command()
@click.argument("license_id", type=Id())
@click.option(
    "--overlap-s",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**31 - 1),
    help="How long older keys stay good.",
)
@as_json
def rotate(license_id: UUID, overlap_s: int, as_json: bool) -> None:
    """Make a new key and let the older ones end."""
    key = keys.make(license_id)
    with owner() as database:
        ends_at = licenses.rotate_key(database, keys.LicenseKey(license_id, keys.digest(key)), overlap_s)
    text = f"The new key, shown only now:\n\n    {key}\n\nKeys before it end at {moment(ends_at)}."
    document = {"license_id": str(license_id), "license_key": key, "older_keys_end_at": moment(ends_at)}
    say(document, text, as_json)


@click.command()
@click.argument("license_id", type=Id())
@click.argument("amount", type=click.IntRange(1, 2**63 - 1))
@click.option("--reference", type=REFERENCE, help="What for; stands in the statement.")
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def grant(license_id: UUID, amount: int, reference: str | None, idempotency_key: str | None, as_json: bool) -> None:
    """Give credits to a license."""
    with owner() as database:
        granted = credits.grant(
            database, license_id, uuid4(), amount, idempotency_key, _fingerprint(amount, reference), reference
        )
    document = {"id": str(granted.grant_id), "amount": granted.amount, "balance": granted.balance}
    say(document, f"Granted {granted.amount} credits; the balance is {granted.balance}.", as_json)


@click.command(name="holds")
@click.option("--undelivered", is_flag=True, required=True, expose_value=False, help="The only list there is yet.")
@as_json
def list_holds(as_json: bool) -> None:
    """Charges whose answers may not have reached their clients: settled, never noted as
    delivered, and not stored for a retry."""
    with owner() as database:
        rows = holds.undelivered(database)
    documents = [
        {
            "license_id": str(row.license_id),
            "hold_id": str(row.hold_id),
            "charge": row.charge,
            "model": row.model,
            "settled_at": moment(row.settled_at),
        }
        for row in rows
    ]
    lines = [
        f"{item['settled_at']}  {item['charge']} credits  obol refund {item['license_id']} {item['hold_id']}"
        for item in documents
    ]
    say(documents, "\n".join(lines) or "None: every charged answer was delivered.", as_json)


@click.command()
@click.argument("license_id", type=Id())
@click.argument("hold_id", type=Id())
@click.option("--reference", default="refunded by the operator", type=REFERENCE, show_default=True)
@as_json
def refund(license_id: UUID, hold_id: UUID, reference: str, as_json: bool) -> None:
    """Give back what a hold or a deduction was charged, whole and once."""
    with owner() as database:
        refunded = credits.refund(database, license_id, hold_id, reference)
    document = {"id": str(hold_id), "amount": refunded.amount, "balance": refunded.balance}
    say(document, f"Refunded {refunded.amount} credits; the balance is {refunded.balance}.", as_json)


COMMANDS = (license, grant, refund, list_holds, verify)
