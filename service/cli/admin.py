"""The commands around the operator: tokens of the admin API, the overview."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import click

from .. import operator
from ..operator import OWNER
from ..repository import admin
from ..repository.admin import SCOPES, Day
from .common import DayOf, Expiry, Id, Words, as_json, moment, owner, say, table

# Of an overview: what is worth a column.
_COLUMNS = (
    "granted",
    "charged",
    "refunded",
    "expired",
    "voided",
    "adjusted",
    "shortfall",
    "outstanding",
    "undelivered",
)


class Scopes(click.ParamType[tuple[str, ...]]):
    """Scopes of a token, separated by commas."""

    name = ",".join(SCOPES)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        named = {scope.strip() for scope in value.split(",")}
        if not named <= set(SCOPES):
            self.fail(f"it must be some of {', '.join(SCOPES)}, separated by commas.", param, ctx)
        return tuple(scope for scope in SCOPES if scope in named)


@click.group()
def token() -> None:
    """Tokens of the admin API."""


@token.command()
@click.option("--name", required=True, type=Words(1, 200), help="The audit trail has it.")
@click.option(
    "--scopes",
    required=True,
    type=Scopes(),
    help="read: look; grant: grants, refunds, deductions; manage: licenses, keys, prices; tokens: tokens.",
)
@click.option("--expires", type=Expiry(), help="When it ends, e.g. 2027-01-31T00:00:00Z. Default: never.")
@as_json
def create(*, name: str, scopes: tuple[str, ...], expires: datetime | None, as_json: bool) -> None:
    """Make a token and print it, which is done only this once."""
    with owner() as database:
        new = operator.create_token(database, name=name, scopes=scopes, expires_at=expires, actor=OWNER)
    document = {
        "token_id": str(new.token_id),
        "token": new.token,
        "name": name,
        "scopes": list(scopes),
        "expires_at": moment(expires),
    }
    say(document, f"Token {new.token_id} ({', '.join(scopes)}), shown only now:\n\n    {new.token}\n", as_json)


@token.command(name="list")
@as_json
def list_tokens(as_json: bool) -> None:
    """Tokens, oldest first; never the tokens themselves."""
    with owner() as database:
        rows = list(admin.pages(lambda after, limit: admin.list_tokens(database, after=after, limit=limit)))
    documents = [
        row._asdict()
        | {"token_id": str(row.token_id)}
        | {name: moment(getattr(row, name)) for name in ("created_at", "expires_at", "revoked_at")}
        for row in rows
    ]
    headings = ("TOKEN", "NAME", "SCOPES", "CREATED AT", "EXPIRES", "STATUS")
    now = datetime.now(UTC)
    cells = [
        (
            row.token_id,
            row.name,
            ",".join(row.scopes),
            moment(row.created_at),
            moment(row.expires_at),
            "revoked" if row.revoked_at else "expired" if row.expires_at and row.expires_at <= now else "good",
        )
        for row in rows
    ]
    none = "No tokens yet: obol token create --name shop --scopes read,grant"
    say(documents, table(headings, cells) if rows else none, as_json)


@token.command()
@click.argument("token_id", type=Id())
@as_json
def revoke(token_id: UUID, as_json: bool) -> None:
    """End a token, from the next call on and for good."""
    with owner() as database:
        operator.revoke_token(database, token_id, actor=OWNER)
    say({"token_id": str(token_id), "revoked": True}, f"Token {token_id} is revoked.", as_json)


@click.command()
@click.option("--from", "first", type=DayOf(), help="The first day (UTC). Default: 29 days before the last.")
@click.option("--to", "last", type=DayOf(), help="The last day (UTC). Default: today.")
@as_json
def overview(first: date | None, last: date | None, as_json: bool) -> None:
    """Credits granted, charged, given back and owed, by day."""
    with owner() as database:
        found = operator.overview(database, first, last, actor=OWNER)
    documents = [
        {name: value for name, value in day._asdict().items() if name != "held"} | {"day": day.day.isoformat()}
        for day in found.days
    ]
    document = {
        "from": found.first.isoformat(),
        "to": found.last.isoformat(),
        "days": documents,
        "total": found.total,
        "expiring": found.expiring._asdict(),
    }
    total = Day(found.last, **found.total)
    cells: list[tuple[object, ...]] = [
        (label, *(getattr(day, name) for name in _COLUMNS))
        for label, day in [*((day.day.isoformat(), day) for day in found.days), ("total", total)]
    ]
    text = table(("DAY", *(name.upper() for name in _COLUMNS)), cells)
    losses = f"Answers that broke off: {total.operator_loss_answers}, about {total.operator_loss_tokens} tokens."
    soon = f"Ending in {operator.EXPIRING_DAYS} days: {found.expiring.credits} of {found.expiring.licenses} licenses."
    say(document, f"{text}\n\nHeld now: {total.held}. {losses} {soon}", as_json)


COMMANDS = (token, overview)
