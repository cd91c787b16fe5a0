"""Webhooks: where events go, how that goes, and what is done about one that fails."""

from uuid import UUID, uuid5

from flask import Response

from ... import webhooks
from ...http.auth import actor
from ...http.fields import MAX_NAME
from ...http.services import services
from ...outbound import LONGEST_URL
from ...problems import Problem
from ...repository import webhooks as room
from ...repository.webhooks import TYPES
from .. import forms
from ..guarded import confirm, form, redirect, respond
from . import blueprint

_PATH = "/console/webhooks"
# So many of the newest events are looked through for those of a webhook.
_LOOKED_AT = 500
_SHOWN = 20
_LONGEST_OVERLAP_HOURS = 30 * 24
# The ids of webhooks that forms made.
_IDS = UUID("5b0c1d0e-6f6c-4f0a-9d3a-0b01c0de0002")


@blueprint.get(_PATH)
def list_webhooks() -> Response:
    """Webhooks, oldest first, and the form for another; there are never many."""
    return respond(
        "console/webhooks.html",
        rows=room.list_webhooks(services().database, actor=actor()),
        types=TYPES,
        is_possible=bool(services().webhook_settings.keys),
    )


@blueprint.get(f"{_PATH}/<uuid:webhook_id>")
def show_webhook(webhook_id: UUID) -> Response:
    """A webhook, and the last events for it."""
    webhook = webhooks.show(services().database, webhook_id, actor=actor())
    events = room.list_events(services().database, limit=_LOOKED_AT, actor=actor())
    rows = [
        (event, delivery)
        for event in events
        for delivery in event.deliveries
        if delivery["webhook_id"] == str(webhook_id)
    ]
    # What has gone wrong comes first.
    rows.sort(key=lambda row: row[1]["last_error"] is None or row[1]["state"] == "delivered")
    return respond("console/webhook.html", webhook=webhook, rows=rows[:_SHOWN])


@blueprint.post(_PATH, scope="manage")
def create_webhook() -> Response:
    """Make a webhook; its secret is shown once."""
    given = form()
    url, name = given.text("url", 1, LONGEST_URL), given.text("name", 0, MAX_NAME)
    types = [type for type in TYPES if type in given.several("types")]
    if not given.is_confirmed:
        return confirm(
            f"Have events sent to {url}?",
            facts=[("Name", None, name or "none"), ("Events", None, ", ".join(types) or "all, and those to come")],
            button="Make the webhook",
            back=_PATH,
            notes=("The secret that they are signed with is shown once, on the next page.",),
        )
    webhook_id = uuid5(_IDS, given.idempotency_key)
    if room.list_webhooks(services().database, only=webhook_id, actor=actor()):
        raise Problem(
            "already_exists", "This form was sent before: the webhook is there, and its secret was shown then."
        )
    new = webhooks.create(
        services().database,
        services().webhook_settings,
        url=url,
        name=name,
        types=types or None,
        webhook_id=webhook_id,
        idempotency_key=given.idempotency_key,
        actor=actor(),
    )
    return _secret(new)


@blueprint.post(f"{_PATH}/<uuid:webhook_id>/pause", scope="manage")
def pause_webhook(webhook_id: UUID) -> Response:
    """Pause a webhook, or let it go on."""
    given, webhook = form(), _webhook(webhook_id)
    is_paused = given.choice("paused", ("yes", "no")) == "yes"
    if not given.is_confirmed:
        return confirm(
            f"{'Pause' if is_paused else 'Resume'} the webhook {_named(webhook)}?",
            facts=[
                ("Status", webhook.status, "paused" if is_paused else "active"),
                ("Events that wait", webhook.waiting, None),
            ],
            button="Pause it" if is_paused else "Resume it",
            back=f"{_PATH}/{webhook_id}",
        )
    webhooks.pause(services().database, webhook_id, is_paused, actor=actor())
    return _done(webhook_id, "webhook_paused" if is_paused else "webhook_resumed")


@blueprint.post(f"{_PATH}/<uuid:webhook_id>/rotate", scope="manage")
def rotate_secret(webhook_id: UUID) -> Response:
    """Make a new secret, which is shown once."""
    given, webhook = form(), _webhook(webhook_id)
    hours = given.number("hours", 0, _LONGEST_OVERLAP_HOURS)
    if not given.is_confirmed:
        return confirm(
            f"Make a new secret for the webhook {_named(webhook)}?",
            facts=[("Hours in which the secret before signs, too", None, hours)],
            button="Make the new secret",
            back=f"{_PATH}/{webhook_id}",
            danger=hours == 0,
            notes=("It is shown once, on the next page. Sent twice, this makes one.",),
        )
    new = webhooks.rotate(
        services().database,
        services().webhook_settings,
        webhook_id,
        overlap_s=hours * 3600,
        idempotency_key=given.idempotency_key,
        actor=actor(),
    )
    return _secret(new)


@blueprint.post(f"{_PATH}/<uuid:webhook_id>/replay", scope="manage")
def replay_events(webhook_id: UUID) -> Response:
    """Deliver an event once more, or all that were given up."""
    given, webhook = form(), _webhook(webhook_id)
    event_id = forms.uuid(given.raw("event_id"), "event_id") if given.raw("event_id") else None
    if not given.is_confirmed:
        return confirm(
            f"Deliver {'the event' if event_id else 'what was given up'} to {_named(webhook)} once more?",
            facts=[
                ("Events that were given up", webhook.failed, None),
                ("Delivered once more", None, 1 if event_id else webhook.failed),
            ],
            button="Deliver once more",
            back=f"{_PATH}/{webhook_id}",
        )
    webhooks.replay(services().database, webhook_id, event_id, actor=actor())
    return _done(webhook_id, "replayed")


@blueprint.post(f"{_PATH}/<uuid:webhook_id>/delete", scope="manage")
def delete_webhook(webhook_id: UUID) -> Response:
    """End a webhook for good."""
    given, webhook = form(), _webhook(webhook_id)
    if not given.is_confirmed:
        return confirm(
            f"Delete the webhook {_named(webhook)}?",
            facts=[
                ("Events that wait, and are never sent", 0, webhook.waiting),
                ("Events that were given up", webhook.failed, 0),
            ],
            button="Delete it",
            back=f"{_PATH}/{webhook_id}",
            danger=True,
        )
    webhooks.delete(services().database, webhook_id, actor=actor())
    return redirect(_PATH, done="webhook_deleted")


def _webhook(webhook_id: UUID) -> room.Webhook:
    return webhooks.show(services().database, webhook_id, actor=actor())


def _named(webhook: room.Webhook) -> str:
    return webhook.name or webhook.url


def _done(webhook_id: UUID, what: str) -> Response:
    return redirect(f"{_PATH}/{webhook_id}", done=what)


def _secret(new: webhooks.NewSecret) -> Response:
    return respond(
        "console/secret.html",
        title=f"The secret of the webhook {_named(new.webhook)}",
        what="secret",
        secret=new.secret,
        go_on=f"{_PATH}/{new.webhook.webhook_id}",
    )
