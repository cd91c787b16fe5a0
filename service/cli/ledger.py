"""The commands for credits: adjustments, refunds, holds."""

from collections.abc import Sequence
from uuid import UUID

import click

from .. import operator
from ..operator import OWNER
from ..repository import holds
from ..repository.holds import ListedHold
from .common import (
    IDEMPOTENCY_KEY,
    Id,
    Whole,
    Words,
    as_json,
    environment,
    moment,
    owner,
    say,
    table,
)
from .common import database as open_database


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("license_id", type=Id())
@click.argument("amount", type=Whole(-(2**63) + 1, 2**63 - 1))
@click.option("--reason", required=True, type=Words(1, 500), help="Why; stands in the statement.")
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def adjust(*, license_id: UUID, amount: int, reason: str, idempotency_key: str | None, as_json: bool) -> None:
    """Correct a balance by AMOUNT, such as a wrong grant by -500. What is held is not taken."""
    with owner() as database:
        adjusted = operator.adjust_credits(
            database, license_id, amount, reason=reason, idempotency_key=idempotency_key, actor=OWNER
        )
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
@click.option("--held", "which", flag_value="held", help="Those that are open.")
@click.option("--license", "license_id", type=Id(), help="Only those of this license.")
@as_json
def list_holds(which: str | None, license_id: UUID | None, as_json: bool) -> None:
    """Holds that an operator should look at."""
    if which is None:
        raise click.UsageError("say which holds: --undelivered or --unpaid, or --held")
    with environment() as config, open_database(config) as database:
        key_ids = _key_ids(config.replay_keys)
        rows = holds.every(database, which, license_id=license_id, key_ids=key_ids)
    if which == "held":
        _list_held(rows, as_json)
    elif which == "unpaid":
        _list_unpaid(rows, as_json)
    else:
        _list_undelivered([(row, _answer(row, bool(key_ids))) for row in rows], as_json)


def _list_held(rows: list[ListedHold], as_json: bool) -> None:
    documents = [
        {
            "license_id": str(row.license_id),
            "hold_id": str(row.hold_id),
            "amount": row.amount,
            "model": row.model,
            "opened_at": moment(row.at),
            "expires_at": moment(row.expires_at),
        }
        for row in rows
    ]
    headings = ("CREDITS", "OPENED AT", "EXPIRES AT", "MODEL", "LICENSE", "HOLD")
    cells = [
        (row.amount, moment(row.at), moment(row.expires_at), row.model, row.license_id, row.hold_id) for row in rows
    ]
    say(documents, table(headings, cells) if rows else "None: no credits are set aside.", as_json)


def _list_unpaid(rows: list[ListedHold], as_json: bool) -> None:
    documents = [
        {
            "license_id": str(row.license_id),
            "hold_id": str(row.hold_id),
            "model": row.model,
            "ended_at": moment(row.at),
            **(row.unpaid or {}),
        }
        for row in rows
    ]
    headings = ("TOKENS, ABOUT", "EVENTS", "BYTES", "ENDED AT", "MODEL", "REASON", "LICENSE")
    cells = [
        (one["tokens"], one["events"], one["bytes"], one["ended_at"], one["model"], one["reason"], one["license_id"])
        for one in documents
    ]
    say(documents, table(headings, cells) if rows else "None: no answer broke off.", as_json)


def _list_undelivered(rows: list[tuple[ListedHold, str]], as_json: bool) -> None:
    documents = [
        {
            "license_id": str(row.license_id),
            "hold_id": str(row.hold_id),
            "charge": row.amount,
            "model": row.model,
            "settled_at": moment(row.at),
            "answer": answer,
        }
        for row, answer in rows
    ]
    cells = [
        (
            row.amount,
            moment(row.at),
            row.model,
            f"obol refund {row.license_id} {row.hold_id}  {_ANSWERS[answer]}".rstrip(),
        )
        for row, answer in rows
    ]
    text = table(("CREDITS", "SETTLED AT", "MODEL", "TO GIVE THEM BACK"), cells)
    say(documents, text if rows else "None: every charged answer was delivered.", as_json)


def _key_ids(replay_keys: Sequence[bytes]) -> list[bytes]:
    # Here, because the other commands need not wait for the cryptography.
    from ..gateway.transcript import key_id

    return [key_id(key) for key in replay_keys]


def _answer(row: ListedHold, has_keys: bool) -> str:
    """What is known of an answer that no retry gets, as far as can be known."""
    return "not_stored" if not row.is_stored else "lost" if has_keys else "unknown"


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
            database, license_id, hold_id, amount=amount, reason=reason, idempotency_key=idempotency_key, actor=OWNER
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


COMMANDS = (adjust, refund, list_holds)
