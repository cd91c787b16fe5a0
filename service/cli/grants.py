"""The commands for grants: credits with a lifetime."""

from datetime import datetime
from typing import Any
from uuid import UUID

import click

from .. import operator
from ..operator import OWNER
from ..repository import grants
from ..repository.grants import ChangedGrant, Grant, Terms
from .common import IDEMPOTENCY_KEY, REFERENCE, Expiry, Id, Whole, Words, as_json, moment, owner, say, table

MOST_LISTED = 1000


@click.command()
@click.argument("license_id", type=Id())
@click.argument("amount", type=Whole(1, 2**63 - 1))
@click.option(
    "--priority", default=50, type=Whole(0, 100), show_default=True, help="Of two grants the lower one is used first."
)
@click.option("--starts", type=Expiry(), help="When they can be used, e.g. 2027-02-01. Default: now.")
@click.option("--expires", type=Expiry(), help="When what is left of them lapses. Default: never.")
@click.option(
    "--reason",
    default="purchase",
    type=Words(1, 200),
    show_default=True,
    help="purchase, promotion, adjustment, import, or words of your own.",
)
@click.option("--reference", type=REFERENCE, help="What for; stands in the statement.")
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def grant(
    *,
    license_id: UUID,
    amount: int,
    priority: int,
    starts: datetime | None,
    expires: datetime | None,
    reason: str,
    reference: str | None,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Give credits to a license, for good or for a time."""
    with owner() as database:
        granted = operator.grant_credits(
            database,
            license_id,
            amount,
            terms=Terms(priority, starts, expires),
            reason=reason,
            reference=reference,
            idempotency_key=idempotency_key,
            actor=OWNER,
        )
    text = f"Granted {granted.amount} credits; the balance is {granted.balance}."
    if granted.state == "scheduled":
        text = f"Granted {granted.amount} credits from {moment(granted.starts_at)} on; until then {granted.balance}."
    say(_grant_document(granted) | {"balance": granted.balance}, text, as_json)


@click.command(name="grants")
@click.argument("license_id", type=Id())
@as_json
def list_grants(license_id: UUID, as_json: bool) -> None:
    """The grants of a license, newest first."""
    with owner() as database:
        rows = grants.list_of(database, license_id, limit=MOST_LISTED, actor=OWNER)
    headings = ("GRANT", "STATE", "AMOUNT", "LEFT", "PRIORITY", "STARTS", "EXPIRES", "REASON", "REFERENCE")
    cells = (
        (
            row.grant_id,
            row.state,
            row.amount,
            row.credits_left,
            row.priority,
            moment(row.starts_at),
            moment(row.expires_at),
            row.reason,
            row.reference,
        )
        for row in rows
    )
    say([_grant_document(row) for row in rows], table(headings, cells) if rows else "No grants.", as_json)


@click.command()
@click.argument("license_id", type=Id())
@click.argument("grant_id", type=Id())
@as_json
def void(license_id: UUID, grant_id: UUID, as_json: bool) -> None:
    """End a grant now: what it has left is taken, but for what holds cover until they end."""
    with owner() as database:
        voided = operator.void_grant(database, license_id, grant_id, actor=OWNER)
    text = f"Voided: {voided.lapsed} of {voided.amount} credits were taken; the balance is {voided.balance}."
    if voided.credits_left:
        text += f" {voided.credits_left} more are held for calls that run, and lapse when those end unspent."
    say(_grant_document(voided) | {"balance": voided.balance}, text, as_json)


def _grant_document(row: Grant | ChangedGrant) -> dict[str, Any]:
    return {
        "id": str(row.grant_id),
        "amount": row.amount,
        "left": row.credits_left,
        "lapsed": row.lapsed,
        "priority": row.priority,
        "starts_at": moment(row.starts_at),
        "expires_at": moment(row.expires_at),
        "state": row.state,
        "reason": row.reason,
        "reference": row.reference,
    }


COMMANDS = (grant, list_grants, void)
