"""The commands for events, and for the webhooks that they go to."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import click

from .. import smtp, webhooks
from ..db import Database
from ..operator import OWNER
from ..repository import admin
from ..repository import webhooks as room
from ..repository.webhooks import Alerts, Event, Webhook
from .common import NAME, Id, Whole, Words, as_json, database, environment, moment, owner, say, table


class Types(click.ParamType[tuple[str, ...]]):
    """Types of events, separated by commas."""

    name = "TYPE,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        named = {type.strip() for type in value.split(",")}
        if not named <= set(room.TYPES):
            self.fail(f"it must be some of {', '.join(room.TYPES)}, separated by commas.", param, ctx)
        return tuple(type for type in room.TYPES if type in named)


class Threshold(click.ParamType[tuple[str, int] | None]):
    """Credits, a share of them in percent, or none (None)."""

    name = "NUMBER|PERCENT%|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int] | None:
        if value == "none":
            return None
        match = re.fullmatch("([0-9]{1,19})(%?)", value, re.ASCII)
        kind, most = ("percent", 99) if match and match[2] else ("credits", 2**63 - 1)
        if match is None or not 1 <= int(match[1]) <= most:
            self.fail("it must be whole credits from 1 on, 1% to 99%, or none.", param, ctx)
        return kind, int(match[1])


class EmailAddress(click.ParamType[str]):
    """An e-mail address; none becomes an empty one."""

    name = "ADDRESS|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "none":
            return ""
        if not smtp.is_address(value):
            self.fail("it must be an e-mail address such as ada@example.com, or none.", param, ctx)
        return str(value)


def alerts_of(thresholds: Sequence[tuple[str, int] | None]) -> dict[str, list[int]] | None:
    """The alerts that several thresholds are together; None when nothing is said of them."""
    if not thresholds:
        return None
    alerts: dict[str, list[int]] = {}
    for threshold in thresholds:
        if threshold is not None:
            alerts.setdefault(threshold[0], []).append(threshold[1])
    # One that is named twice is told once.
    return {kind: sorted(set(numbers)) for kind, numbers in alerts.items()}


def told_text(told: Alerts) -> str:
    """When and whom a license tells, for a person."""
    alerts = told.alerts or {}
    at = [*map(str, alerts.get("credits", [])), *(f"{percent}%" for percent in alerts.get("percent", []))]
    return f"at {', '.join([*at, '0'])}" + (f", also to {told.email}" if told.email else "")


@contextmanager
def _sealing() -> Iterator[tuple[Database, webhooks.Settings]]:
    """The database as its owner, and what secrets are sealed with."""
    with environment() as config, database(config) as opened:
        yield opened, webhooks.Settings(config.webhook_keys, config.webhook_allow_private)


def _document(row: Webhook) -> dict[str, Any]:
    moments = ("created_at", "paused_at", "failing_since", "old_secret_until")
    return row._asdict() | {"webhook_id": str(row.webhook_id)} | {name: moment(getattr(row, name)) for name in moments}


def _table(rows: list[Webhook]) -> str:
    headings = ("WEBHOOK", "NAME", "URL", "TYPES", "STATUS", "WAITING", "FAILED", "LAST ERROR")
    return table(
        headings,
        (
            (
                row.webhook_id,
                row.name,
                row.url,
                "all" if row.types is None else ",".join(row.types),
                row.status if row.paused_because is None else f"paused ({row.paused_because})",
                row.waiting,
                row.failed,
                row.last_error,
            )
            for row in rows
        ),
    )


def _say_secret(new: webhooks.NewSecret, as_json: bool) -> None:
    text = f"Webhook {new.webhook.webhook_id}. Its secret, shown only now:\n\n    {new.secret}\n"
    say(_document(new.webhook) | {"secret": new.secret}, text, as_json)


@click.group()
def webhook() -> None:
    """Where events go."""


@webhook.command()
@click.argument("url", type=Words(1, 2000))
@click.option("--name", default="", type=NAME, help="For you to know it by.")
@click.option("--types", type=Types(), help="E.g. license.low_balance,license.exhausted. Default: all.")
@as_json
def create(*, url: str, name: str, types: tuple[str, ...] | None, as_json: bool) -> None:
    """Have events delivered to a URL, and print the secret that they are signed with, which is done only this once."""
    with _sealing() as (opened, settings):
        new = webhooks.create(opened, settings, url=url, name=name, types=types, actor=OWNER)
    _say_secret(new, as_json)


@webhook.command(name="list")
@as_json
def list_webhooks(as_json: bool) -> None:
    """Webhooks, oldest first."""
    with owner() as opened:
        rows = list(admin.pages(lambda after, limit: room.list_webhooks(opened, after=after, limit=limit)))
    none = "No webhooks yet: obol webhook create https://example.com/events"
    say([_document(row) for row in rows], _table(rows) if rows else none, as_json)


@webhook.command()
@click.argument("webhook_id", type=Id())
@as_json
def show(webhook_id: UUID, as_json: bool) -> None:
    """One webhook."""
    with owner() as opened:
        row = webhooks.show(opened, webhook_id, actor=OWNER)
    say(_document(row), _table([row]), as_json)


@webhook.command()
@click.argument("webhook_id", type=Id())
@click.option(
    "--overlap-s",
    default=webhooks.OVERLAP_S,
    show_default=True,
    type=Whole(0, 30 * 24 * 3600),
    help="How long the secret before signs, too.",
)
@as_json
def rotate(webhook_id: UUID, overlap_s: int, as_json: bool) -> None:
    """Make a new secret and print it, which is done only this once."""
    with _sealing() as (opened, settings):
        new = webhooks.rotate(opened, settings, webhook_id, overlap_s=overlap_s, actor=OWNER)
    _say_secret(new, as_json)


def _pause(webhook_id: UUID, is_paused: bool, as_json: bool) -> None:
    with owner() as opened:
        row = webhooks.pause(opened, webhook_id, is_paused, actor=OWNER)
    say(_document(row), _table([row]), as_json)


@webhook.command()
@click.argument("webhook_id", type=Id())
@as_json
def pause(webhook_id: UUID, as_json: bool) -> None:
    """Have the events of a webhook wait."""
    _pause(webhook_id, True, as_json)


@webhook.command()
@click.argument("webhook_id", type=Id())
@as_json
def resume(webhook_id: UUID, as_json: bool) -> None:
    """Go on with a webhook: what waits is tried at once."""
    _pause(webhook_id, False, as_json)


@webhook.command()
@click.argument("webhook_id", type=Id())
@as_json
def delete(webhook_id: UUID, as_json: bool) -> None:
    """End a webhook for good, with all that waits for it."""
    with owner() as opened:
        webhooks.delete(opened, webhook_id, actor=OWNER)
    say({"webhook_id": str(webhook_id), "deleted": True}, f"Webhook {webhook_id} is deleted.", as_json)


@webhook.command()
@click.argument("webhook_id", type=Id())
@click.argument("event_id", type=Id(), required=False)
@as_json
def replay(webhook_id: UUID, event_id: UUID | None, as_json: bool) -> None:
    """Deliver an event once more, or, where none is named, all that were given up."""
    with owner() as opened:
        count = webhooks.replay(opened, webhook_id, event_id, actor=OWNER)
    say({"replayed": count}, f"To be delivered again: {count}.", as_json)


@click.command()
@click.option("--license", "license_id", type=Id(), help="Only of this license.")
@click.option("--type", "of_type", type=click.Choice(room.TYPES), help="Only of this type.")
@click.option("--limit", default=50, show_default=True, type=Whole(1, 10_000), help="How many, from the newest.")
@as_json
def events(*, license_id: UUID | None, of_type: str | None, limit: int, as_json: bool) -> None:
    """What happened, newest first, and who has been told."""
    with owner() as opened:
        rows = room.list_events(opened, only=license_id, type=of_type, limit=limit, actor=OWNER)
    documents = [
        row._asdict()
        | {
            "event_id": str(row.event_id),
            "license_id": None if row.license_id is None else str(row.license_id),
            "created_at": moment(row.created_at),
        }
        for row in rows
    ]
    headings = ("EVENT", "AT", "TYPE", "LICENSE", "DELIVERIES", "DATA")
    cells = [(row.event_id, moment(row.created_at), row.type, row.license_id, _told(row), _data(row)) for row in rows]
    say(documents, table(headings, cells) if rows else "No events.", as_json)


def _told(row: Event) -> str:
    return ", ".join(delivery["state"] for delivery in row.deliveries) or "-"


def _data(row: Event) -> str:
    return json.dumps({name: value for name, value in row.data.items() if name not in ("license_id", "external_id")})


COMMANDS = (webhook, events)
