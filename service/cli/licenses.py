"""The commands for licenses and their keys."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import click

from .. import operator
from ..operator import OWNER
from ..repository import licenses, webhooks
from ..repository import limits as key_room
from ..repository.licenses import ListedLicense
from .common import (
    CREDITS,
    EXTERNAL_ID,
    IDEMPOTENCY_KEY,
    NAME,
    Expiry,
    ExpiryOrNever,
    Id,
    Whole,
    as_json,
    limit_option,
    moment,
    owner,
    say,
    table,
)
from .webhooks import EmailAddress, Threshold, alerts_of, told_text

# How long older keys stay good: clients get the new one in a day, or are told of it.
OVERLAP_S = 24 * 3600


@click.group()
def license() -> None:
    """Licenses and their keys."""


@license.command()
@click.option("--credits", "amount", required=True, type=CREDITS, help="The opening grant.")
@click.option("--name", default="", type=NAME, help="For you to know it by.")
@click.option("--expires", type=Expiry(), help="When it ends, e.g. 2027-01-31T00:00:00Z. Default: never.")
@click.option("--external-id", type=EXTERNAL_ID, help="What you call it elsewhere; no two licenses have the same.")
@limit_option
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def create(
    *,
    amount: int,
    name: str,
    expires: datetime | None,
    external_id: str | None,
    limits: tuple[tuple[str, Any], ...],
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Make a license and print its key, which is shown only this once."""
    with owner() as database:
        new = operator.create_license(
            database,
            credits=amount,
            name=name,
            expires_at=expires,
            external_id=external_id,
            limits=dict(limits) or None,
            idempotency_key=idempotency_key,
            actor=OWNER,
        )
    text = (
        f"License {new.license_id} was made by this idempotency key before, and its key was shown then.\n"
        f"If it is lost: obol license rotate {new.license_id}"
        if new.license_key is None
        else f"License {new.license_id} with {new.balance} credits. Its key, shown only now:\n\n    {new.license_key}\n"
    )
    document = {
        "license_id": str(new.license_id),
        "license_key": new.license_key,
        "key_id": str(new.key_id),
        "balance": new.balance,
    }
    say(document, text, as_json)


def _license_document(row: ListedLicense) -> dict[str, Any]:
    return {
        "license_id": str(row.license_id),
        "name": row.name,
        "status": row.status,
        "expires_at": moment(row.expires_at),
        "balance": row.balance,
        "held": row.held,
        "available": row.available,
        "external_id": row.external_id,
        "created_at": moment(row.created_at),
        "limits": row.limits,
    }


def _license_table(rows: list[ListedLicense]) -> str:
    return table(
        ("LICENSE", "STATUS", "EXPIRES", "BALANCE", "HELD", "NAME"),
        ((row.license_id, row.status, moment(row.expires_at), row.balance, row.held, row.name) for row in rows),
    )


@license.command(name="list")
@click.option("--status", type=click.Choice(["active", "suspended", "expired"]), help="Only these.")
@click.option(
    "--query", metavar="TEXT", help="Only those with this in the name, or an id or external id that begins so."
)
@as_json
def list_licenses(status: str | None, query: str | None, as_json: bool) -> None:
    """Licenses, oldest first."""
    with owner() as database:
        operator.catch_up(database)
        rows = licenses.overview(database, query=query, status=status)
        none = "No license is like that."
        if not rows and not licenses.list_licenses(database, limit=1):
            none = "No licenses yet: obol license create --credits 1000"
    say([_license_document(row) for row in rows], _license_table(rows) if rows else none, as_json)


@license.command()
@click.argument("license_id", type=Id())
@as_json
def show(license_id: UUID, as_json: bool) -> None:
    """One license."""
    with owner() as database:
        row = licenses.show(database, license_id)
        told = webhooks.show_alerts(database, license_id)
        own_keys = key_room.set_own_keys(database, license_id)
    text = _license_table([row])
    if own_keys:
        text += f"\n\nIts holder may have made {own_keys} good keys at once."
    if told.alerts is not None or told.email is not None:
        text += f"\n\nTells of its balance: {told_text(told)}."
    say(_license_document(row) | told._asdict() | {"own_keys": own_keys}, text, as_json)


def _set_status(license_id: UUID, status: str, as_json: bool) -> None:
    with owner() as database:
        row = licenses.set_status(database, license_id, status, actor=OWNER)
    say(_license_document(row), _license_table([row]), as_json)


@license.command(name="set")
@click.argument("license_id", type=Id())
@click.option("--name", type=NAME, help="A new name.")
@click.option("--expires", type=ExpiryOrNever(), help="A new end, e.g. 2027-01-31T00:00:00Z, or never.")
@limit_option
@click.option(
    "--alert-below",
    "thresholds",
    multiple=True,
    type=Threshold(),
    help="Tell when the balance has fallen to this: 1000, 20%, or none. Several times; in place of those that it has.",
)
@click.option("--email", type=EmailAddress(), help="Where it is told so, or none.")
@click.option(
    "--own-keys",
    type=Whole(0, key_room.MOST_OWN_KEYS),
    help="How many good keys whoever holds the license may have made at once; 0: none.",
)
@click.option("--allow-past", is_flag=True, help="Take an end that is past: the license is refused from now on.")
@as_json
def set_license(
    *,
    license_id: UUID,
    name: str | None,
    expires: datetime | Literal["never"] | None,
    limits: tuple[tuple[str, Any], ...],
    thresholds: tuple[tuple[str, int] | None, ...],
    email: str | None,
    own_keys: int | None,
    allow_past: bool,
    as_json: bool,
) -> None:
    """Rename a license, renew it, let it end, change its limits or what it tells. What is not named stays as it is."""
    if name is None and expires is None and not limits and not thresholds and email is None and own_keys is None:
        raise click.UsageError(
            "say what to set: --name, --expires, --limit, --alert-below, --email, --own-keys, or several."
        )
    with owner() as database:
        row = licenses.set_license(
            database,
            license_id,
            name=name,
            expires_at=expires,
            allow_past=allow_past,
            limits=dict(limits) or None,
            actor=OWNER,
        )
        told = webhooks.set_alerts(database, license_id, alerts=alerts_of(thresholds), email=email, actor=OWNER)
        own_keys = key_room.set_own_keys(database, license_id, own_keys, actor=OWNER)
    say(_license_document(row) | told._asdict() | {"own_keys": own_keys}, _license_table([row]), as_json)


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
    default=OVERLAP_S,
    show_default=True,
    type=Whole(1, 2**31 - 1),
    help="How many seconds older keys stay good.",
)
@click.option("--now", is_flag=True, help="Let them end now: whoever still uses one is refused.")
@click.option("--key", "only_key_id", type=Id(), help="End this one alone; the new one has its name and limits.")
@as_json
def rotate(*, license_id: UUID, overlap_s: int, now: bool, only_key_id: UUID | None, as_json: bool) -> None:
    """Make a new key and let the older ones end, a day later."""
    if now and overlap_s != OVERLAP_S:
        raise click.UsageError("--now and --overlap-s exclude each other.")
    overlap_s = 0 if now else overlap_s
    with owner() as database:
        new = operator.rotate_key(database, license_id, overlap_s, only_key_id=only_key_id, actor=OWNER)
    ends_at = moment(new.older_keys_end_at)
    text = f"The new key, shown only now:\n\n    {new.license_key}\n\nKeys before it end at {ends_at}."
    document = {
        "license_id": str(license_id),
        "license_key": new.license_key,
        "key_id": str(new.key_id),
        "older_keys_end_at": ends_at,
    }
    say(document, text, as_json)


COMMANDS = (license,)
