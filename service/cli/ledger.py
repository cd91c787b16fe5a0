"""The commands for credits: adjustments, refunds, holds, and the check of the ledger."""

import json
import sys
from collections.abc import Sequence
from uuid import UUID

import click

from .. import operator
from ..db import Database
from ..repository import holds, ledger
from ..repository.holds import StoredHold, UndeliveredHold
from .common import (
    IDEMPOTENCY_KEY,
    REFUSED,
    Id,
    Whole,
    Words,
    as_json,
    environment,
    harmless,
    moment,
    owner,
    say,
    table,
)
from .common import database as open_database


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


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("license_id", type=Id())
@click.argument("amount", type=Whole(-(2**63) + 1, 2**63 - 1))
@click.option("--reason", required=True, type=Words(1, 500), help="Why; stands in the statement.")
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def adjust(*, license_id: UUID, amount: int, reason: str, idempotency_key: str | None, as_json: bool) -> None:
    """Correct a balance by AMOUNT, such as a wrong grant by -500. What is held is not taken."""
    with owner() as database:
        adjusted = operator.adjust_credits(database, license_id, amount, reason=reason, idempotency_key=idempotency_key)
    document = {"id": str(adjusted.adjustment_id), "amount": adjusted.amount, "balance": adjusted.balance}
    say(document, f"Adjusted by {adjusted.amount:+d} credits; the balance is {adjusted.balance}.", as_json)


# What the list says of an answer, and where that is worth a word.
_ANSWERS = {
    "not_stored": "",
    "lost": "# stored under a replay key that is not in OBOL_REPLAY_KEYS",
    "unknown": "# stored: set OBOL_REPLAY_KEYS to know whether a retry still gets it",
}


@click.command(name="holds")
@click.option(
    "--undelivered",
    "which",
    flag_value="undelivered",
    help="Charges whose answers may not have reached their clients: settled, never noted as delivered, and not "
    "stored for a retry, or under a replay key that OBOL_REPLAY_KEYS has no more.",
)
@click.option(
    "--unpaid",
    "which",
    flag_value="unpaid",
    help="What clients got of answers that broke off, and that nobody was charged for.",
)
@click.option("--license", "license_id", type=Id(), help="Only those of this license.")
@as_json
def list_holds(which: str | None, license_id: UUID | None, as_json: bool) -> None:
    """Holds that an operator should look at."""
    if which is None:
        raise click.UsageError("say which holds: --undelivered or --unpaid")
    with environment() as config, open_database(config) as database:
        if which == "unpaid":
            unpaid = [row for row in holds.unpaid(database) if license_id in (None, row.license_id)]
            _list_unpaid(unpaid, as_json)
        else:
            undelivered = _undelivered(database, config.replay_keys)
            _list_undelivered([row for row in undelivered if license_id in (None, row[0].license_id)], as_json)


def _list_unpaid(rows: list[holds.UnpaidHold], as_json: bool) -> None:
    documents = [
        row._asdict()
        | {"license_id": str(row.license_id), "hold_id": str(row.hold_id), "ended_at": moment(row.ended_at)}
        for row in rows
    ]
    headings = ("TOKENS, ABOUT", "EVENTS", "BYTES", "ENDED AT", "MODEL", "REASON", "LICENSE")
    cells = [
        (row.tokens, row.events, row.bytes, moment(row.ended_at), row.model, row.reason, row.license_id) for row in rows
    ]
    say(documents, table(headings, cells) if rows else "None: no answer broke off.", as_json)


def _list_undelivered(rows: list[tuple[UndeliveredHold | StoredHold, str]], as_json: bool) -> None:
    documents = [
        {
            "license_id": str(row.license_id),
            "hold_id": str(row.hold_id),
            "charge": row.charge,
            "model": row.model,
            "settled_at": moment(row.settled_at),
            "answer": answer,
        }
        for row, answer in rows
    ]
    cells = [
        (
            row.charge,
            moment(row.settled_at),
            row.model,
            f"obol refund {row.license_id} {row.hold_id}  {_ANSWERS[answer]}".rstrip(),
        )
        for row, answer in rows
    ]
    text = table(("CREDITS", "SETTLED AT", "MODEL", "TO GIVE THEM BACK"), cells)
    say(documents, text if rows else "None: every charged answer was delivered.", as_json)


def _undelivered(database: Database, replay_keys: Sequence[bytes]) -> list[tuple[UndeliveredHold | StoredHold, str]]:
    """The undelivered charges whose answers no retry gets, as far as can be known, and what is known."""
    # Here, because the other commands need not wait for the cryptography.
    from ..gateway.transcript import key_id

    known = {key_id(key) for key in replay_keys}
    rows: list[tuple[UndeliveredHold | StoredHold, str]] = [(row, "not_stored") for row in holds.undelivered(database)]
    rows += [
        (row, "lost" if known else "unknown")
        for row in holds.undelivered_stored(database)
        if row.answer_key_id not in known
    ]
    return sorted(rows, key=lambda row: (row[0].settled_at, row[0].hold_id))


@click.command()
@click.argument("license_id", type=Id())
@click.argument("hold_id", type=Id())
@click.option("--amount", type=Whole(1, 2**63 - 1), help="Only so much of it. Default: all that has not come back.")
@click.option("--reference", "reason", default="refunded by the operator", type=Words(1, 500), show_default=True)
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def refund(
    *, license_id: UUID, hold_id: UUID, amount: int | None, reason: str, idempotency_key: str | None, as_json: bool
) -> None:
    """Give back what a hold or a deduction was charged, whole or in parts, to the grants that it came from."""
    with owner() as database:
        refunded = operator.refund(
            database, license_id, hold_id, amount=amount, reason=reason, idempotency_key=idempotency_key
        )
    document = {
        "id": str(hold_id),
        "refund_id": str(refunded.refund_id),
        "amount": refunded.amount,
        "balance": refunded.balance,
        "lapsed": refunded.lapsed,
    }
    text = f"Refunded {refunded.amount} credits; the balance is {refunded.balance}."
    if refunded.lapsed:
        text += f" {refunded.lapsed} of them came from grants that have ended, and lapsed with them."
    say(document, text, as_json)


COMMANDS = (adjust, refund, list_holds, verify)
