"""The commands for credits: grants, refunds, holds, and the check of the ledger."""

import json
import sys
from uuid import UUID

import click

from .. import operator
from ..repository import holds, ledger
from .common import IDEMPOTENCY_KEY, REFERENCE, REFUSED, Id, Whole, as_json, harmless, moment, owner, say, table


@click.command()
@as_json
def verify(as_json: bool) -> None:
    """Check every invariant of the ledger; exit code 1 if anything disagrees."""
    with owner() as database:
        rows = ledger.verify(database)
    findings = [{"license_id": str(row.license_id), "rule": row.rule, "detail": row.detail} for row in rows]
    if as_json:
        click.echo(json.dumps({"clean": not findings, "findings": findings}))
    for finding in findings if not as_json else ():
        click.echo(harmless(f"{finding['license_id']}: NOT {finding['rule']}: {finding['detail']}"))
    if findings:
        sys.exit(REFUSED)
    if not as_json:
        click.echo("Clean: every balance is what its ledger says.")


@click.command()
@click.argument("license_id", type=Id())
@click.argument("amount", type=Whole(1, 2**63 - 1))
@click.option("--reference", type=REFERENCE, help="What for; stands in the statement.")
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def grant(*, license_id: UUID, amount: int, reference: str | None, idempotency_key: str | None, as_json: bool) -> None:
    """Give credits to a license."""
    with owner() as database:
        granted = operator.grant_credits(
            database, license_id, amount, reference=reference, idempotency_key=idempotency_key
        )
    document = {"id": str(granted.grant_id), "amount": granted.amount, "balance": granted.balance}
    say(document, f"Granted {granted.amount} credits; the balance is {granted.balance}.", as_json)


@click.command(name="holds")
@click.option("--undelivered", is_flag=True, required=True, expose_value=False, help="The only list there is yet.")
@click.option("--license", "license_id", type=Id(), help="Only those of this license.")
@as_json
def list_holds(license_id: UUID | None, as_json: bool) -> None:
    """Charges whose answers may not have reached their clients: settled, never noted as
    delivered, and not stored for a retry."""
    with owner() as database:
        rows = [row for row in holds.undelivered(database) if license_id in (None, row.license_id)]
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
    cells = [
        (row.charge, moment(row.settled_at), row.model, f"obol refund {row.license_id} {row.hold_id}") for row in rows
    ]
    text = table(("CREDITS", "SETTLED AT", "MODEL", "TO GIVE THEM BACK"), cells)
    say(documents, text if rows else "None: every charged answer was delivered.", as_json)


@click.command()
@click.argument("license_id", type=Id())
@click.argument("hold_id", type=Id())
@click.option("--reference", default="refunded by the operator", type=REFERENCE, show_default=True)
@as_json
def refund(*, license_id: UUID, hold_id: UUID, reference: str, as_json: bool) -> None:
    """Give back what a hold or a deduction was charged, whole and once."""
    with owner() as database:
        refunded = ledger.refund(database, license_id, hold_id, reference=reference)
    document = {"id": str(hold_id), "amount": refunded.amount, "balance": refunded.balance}
    say(document, f"Refunded {refunded.amount} credits; the balance is {refunded.balance}.", as_json)


COMMANDS = (grant, refund, list_holds, verify)
