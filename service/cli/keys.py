"""The commands for the keys of a license."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import click

from .. import operator
from ..operator import OWNER
from ..repository import limits as limits_of_keys
from ..repository.limits import LicenseKey
from .common import IDEMPOTENCY_KEY, NAME, Expiry, ExpiryOrNever, Id, as_json, limit_option, moment, owner, say, table


@click.group()
def key() -> None:
    """The keys of a license, each with limits of its own if it is to have some."""


def _key_document(row: LicenseKey) -> dict[str, Any]:
    return {
        "key_id": str(row.key_id),
        "name": row.name,
        "created_at": moment(row.created_at),
        "expires_at": moment(row.expires_at),
        "last_used_at": moment(row.last_used_at),
        "revoked_at": moment(row.revoked_at),
        "limits": row.limits,
    }


def _limits_text(limits: dict[str, Any] | None) -> str | None:
    said = {name: ",".join(value) if name == "models" else value for name, value in (limits or {}).items()}
    return " ".join(f"{name}={value}" for name, value in said.items()) or None


def _key_table(rows: list[LicenseKey]) -> str:
    return table(
        ("KEY", "EXPIRES", "LAST USED", "REVOKED", "NAME", "LIMITS"),
        (
            (
                row.key_id,
                moment(row.expires_at),
                moment(row.last_used_at),
                moment(row.revoked_at),
                row.name,
                _limits_text(row.limits),
            )
            for row in rows
        ),
    )


@key.command()
@click.argument("license_id", type=Id())
@click.option("--name", default="", type=NAME, help="For you to know it by.")
@click.option("--expires", type=Expiry(), help="When it ends, e.g. 2027-01-31T00:00:00Z. Default: never.")
@limit_option
@click.option("--idempotency-key", type=IDEMPOTENCY_KEY, help="Makes the command safe to repeat.")
@as_json
def create(
    *,
    license_id: UUID,
    name: str,
    expires: datetime | None,
    limits: tuple[tuple[str, Any], ...],
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Make another key of a license and print it, which is done only this once."""
    with owner() as database:
        new = operator.create_key(
            database,
            license_id,
            name=name,
            expires_at=expires,
            limits=dict(limits) or None,
            idempotency_key=idempotency_key,
            actor=OWNER,
        )
    text = (
        f"Key {new.key.key_id} was made by this idempotency key before, and was shown then.\n"
        f"If it is lost: obol license rotate {license_id} --key {new.key.key_id}"
        if new.license_key is None
        else f"Key {new.key.key_id}, shown only now:\n\n    {new.license_key}\n"
    )
    say({"license_key": new.license_key} | _key_document(new.key), text, as_json)


@key.command(name="list")
@click.argument("license_id", type=Id())
@as_json
def list_keys(license_id: UUID, as_json: bool) -> None:
    """The keys of a license, oldest first, with those that have ended."""
    with owner() as database:
        rows = list(limits_of_keys.every_key(database, license_id))
    say([_key_document(row) for row in rows], _key_table(rows), as_json)


@key.command(name="set")
@click.argument("license_id", type=Id())
@click.argument("key_id", type=Id())
@click.option("--name", type=NAME, help="A new name.")
@click.option("--expires", type=ExpiryOrNever(), help="A new end, e.g. 2027-01-31T00:00:00Z, or never.")
@limit_option
@click.option("--allow-past", is_flag=True, help="Take an end that is past: the key is refused from now on.")
@as_json
def set_key(
    *,
    license_id: UUID,
    key_id: UUID,
    name: str | None,
    expires: datetime | Literal["never"] | None,
    limits: tuple[tuple[str, Any], ...],
    allow_past: bool,
    as_json: bool,
) -> None:
    """Rename a key, let it end at another time, or change its limits. What is not named stays as it is."""
    if name is None and expires is None and not limits:
        raise click.UsageError("say what to set: --name, --expires, --limit, or several of them.")
    with owner() as database:
        row = limits_of_keys.set_key(
            database,
            license_id,
            key_id,
            name=name,
            expires_at=expires,
            allow_past=allow_past,
            limits=dict(limits) or None,
            actor=OWNER,
        )
    say(_key_document(row), _key_table([row]), as_json)


@key.command()
@click.argument("license_id", type=Id())
@click.argument("key_id", type=Id())
@as_json
def revoke(license_id: UUID, key_id: UUID, as_json: bool) -> None:
    """End a key for good, now: whoever still uses it is refused. Calls that run are finished and paid for."""
    with owner() as database:
        row = limits_of_keys.revoke_key(database, license_id, key_id, actor=OWNER)
    say(_key_document(row), _key_table([row]), as_json)


COMMANDS = (key,)
