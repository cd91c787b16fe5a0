"""Events, the webhooks that they are delivered to, and what a license tells of its balance."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from .. import strict_json
from ..db import Database
from .admin import OWNER, PAGE, Actor, Place, after_place

_ACTOR = ":token_digest, :request_id"
_SET_ALERTS = text(f"SELECT * FROM obol.set_alerts(:license_id, CAST(:alerts AS jsonb), :email, {_ACTOR})")
_SHOW_ALERTS = text(f"SELECT * FROM obol.show_alerts(:license_id, {_ACTOR})")
_CREATE = text(f"SELECT obol.create_webhook(:webhook_id, :url, :name, CAST(:types AS text[]), :secret, {_ACTOR})")
_LIST = text(
    "SELECT * FROM obol.list_webhooks(CAST(:only AS uuid), CAST(:after_at AS timestamptz), CAST(:after_id AS uuid), "
    f":limit, {_ACTOR})"
)
_ROTATE = text(f"SELECT obol.rotate_webhook(:webhook_id, :secret, :overlap_s, {_ACTOR})")
_PAUSE = text(f"SELECT obol.pause_webhook(:webhook_id, :is_paused, {_ACTOR})")
_DELETE = text(f"SELECT obol.delete_webhook(:webhook_id, {_ACTOR})")
_REPLAY = text(f"SELECT obol.replay_events(:webhook_id, CAST(:event_id AS uuid), {_ACTOR})")
_LIST_EVENTS = text(
    "SELECT * FROM obol.list_events(CAST(:only AS uuid), :type, CAST(:after_at AS timestamptz), "
    f"CAST(:after_id AS uuid), :limit, {_ACTOR})"
)
_DUE = text("SELECT * FROM obol.due_deliveries(:most, :with_email)")
_CLAIM = text("SELECT * FROM obol.claim_delivery(:license_id, :webhook_id, :claim_id, :lease_s)")
_END = text(
    "SELECT obol.end_delivery(:license_id, :webhook_id, :claim_id, :is_delivered, CAST(:status AS integer), :error, "
    "CAST(:retry_after_s AS integer), :is_final)"
)
_NOTE = text("SELECT obol.note_webhook(:webhook_id, :error, :is_gone)")
_WAITING = text("SELECT obol.count_waiting(:with_email)")
_PURGE = text("SELECT obol.purge_events()")
_DUE_EXPIRING = text("SELECT * FROM obol.due_expiring()")
_TELL_EXPIRING = text("SELECT obol.tell_expiring(:license_id)")
_DUE_UNDELIVERED = text("SELECT * FROM obol.due_undelivered()")
_TELL_UNDELIVERED = text("SELECT obol.tell_undelivered(:license_id, CAST(:hold_ids AS uuid[]))")
_TELL_REFUSAL = text("SELECT obol.tell_upstream_refusal(:status)")

# Every type of event. What each has in its data is in docs/events.md.
TYPES = (
    "license.low_balance",
    "license.exhausted",
    "grant.created",
    "grant.expiring",
    "payment.received",
    "key.revoked",
    "answer.undelivered",
    "shortfall.booked",
    "upstream.refuses_us",
)

# The webhook that is the e-mail to a license's own address.
EMAIL = UUID(int=0)


class Alerts(NamedTuple):
    """What a license tells of its balance: `alerts` is {"credits": […], "percent": […]}, or None; and to whom."""

    alerts: dict[str, list[int]] | None
    email: str | None


class Webhook(NamedTuple):
    """A webhook as an operator sees it, without its secret; `status` is active, failing or paused. `types`: None for
    all. `waiting` and `failed` are deliveries."""

    webhook_id: UUID
    name: str
    url: str
    types: list[str] | None
    status: str
    created_at: datetime
    paused_at: datetime | None
    paused_because: str | None
    failing_since: datetime | None
    last_error: str | None
    old_secret_until: datetime | None
    waiting: int
    failed: int

    @property
    def place(self) -> Place:
        return Place(self.created_at, self.webhook_id)


class Event(NamedTuple):
    """What happened, and what became of its deliveries."""

    event_id: UUID
    license_id: UUID | None
    type: str
    created_at: datetime
    data: dict[str, Any]
    deliveries: list[dict[str, Any]]

    @property
    def place(self) -> Place:
        return Place(self.created_at, self.event_id)


class DueDelivery(NamedTuple):
    """A license and a webhook at which its first event can be tried now."""

    license_id: UUID
    webhook_id: UUID


class ClaimedDelivery(NamedTuple):
    """An event that is the caller's to deliver. Secrets are sealed; `email`: the license's address, for the e-mail."""

    event_id: UUID
    type: str
    data: dict[str, Any]
    created_at: datetime
    kind: str
    url: str
    secret: bytes
    old_secret: bytes | None
    email: str | None
    is_failing: bool


class DueUndelivered(NamedTuple):
    """Holds of a license whose answers were charged and have not arrived."""

    license_id: UUID
    hold_ids: list[UUID]


class Attempt(NamedTuple):
    """What became of an attempt to deliver: `error` is None when it succeeded. `status`: of the HTTP answer, if there
    was one. `is_final`: it makes no sense to try again."""

    error: str | None = None
    status: int | None = None
    retry_after_s: int | None = None
    is_final: bool = False


def set_alerts(
    db: Database,
    license_id: UUID,
    *,
    alerts: Mapping[str, Sequence[int]] | None = None,
    email: str | None = None,
    actor: Actor = OWNER,
) -> Alerts:
    """Change when and whom a license tells of its balance: None leaves things as they are, {} and "" take them away.

    Raises: Problem admin_forbidden, license_invalid, amount_invalid.
    """
    said = None if alerts is None else strict_json.encode(dict(alerts) or None).decode()
    row = db.row(_SET_ALERTS, license_id=license_id, alerts=said, email=email, **actor._asdict())
    return Alerts._make(row)


def show_alerts(db: Database, license_id: UUID, *, actor: Actor = OWNER) -> Alerts:
    """When and whom a license tells of its balance. Raises: Problem admin_forbidden, license_invalid."""
    return Alerts._make(db.row(_SHOW_ALERTS, license_id=license_id, **actor._asdict()))


def create(
    db: Database,
    webhook_id: UUID,
    *,
    url: str,
    name: str,
    types: Sequence[str] | None,
    secret: bytes,
    actor: Actor = OWNER,
) -> None:
    """Add a webhook with a sealed secret, once an id. Raises: Problem admin_forbidden, amount_invalid (too many)."""
    named = None if types is None else list(types)
    db.row(_CREATE, webhook_id=webhook_id, url=url, name=name, types=named, secret=secret, **actor._asdict())


def list_webhooks(
    db: Database,
    *,
    only: UUID | None = None,
    after: Place | None = None,
    limit: int = PAGE,
    actor: Actor = OWNER,
) -> list[Webhook]:
    """Webhooks, oldest first. Raises: Problem admin_forbidden."""
    rows = db.rows(_LIST, only=only, limit=limit, **after_place(after), **actor._asdict())
    return [Webhook._make(row) for row in rows]


def rotate(db: Database, webhook_id: UUID, *, secret: bytes, overlap_s: int, actor: Actor = OWNER) -> bool:
    """Give a webhook a new sealed secret, beside which the one before signs for `overlap_s`; whether there is such a
    webhook. Raises: Problem admin_forbidden."""
    (exists,) = db.row(_ROTATE, webhook_id=webhook_id, secret=secret, overlap_s=overlap_s, **actor._asdict())
    return bool(exists)


def pause(db: Database, webhook_id: UUID, is_paused: bool, *, actor: Actor = OWNER) -> bool:
    """Pause a webhook or resume it; whether there is such a webhook. Raises: Problem admin_forbidden."""
    (exists,) = db.row(_PAUSE, webhook_id=webhook_id, is_paused=is_paused, **actor._asdict())
    return bool(exists)


def delete(db: Database, webhook_id: UUID, *, actor: Actor = OWNER) -> bool:
    """End a webhook for good; whether there is, or was, one. Raises: Problem admin_forbidden."""
    (exists,) = db.row(_DELETE, webhook_id=webhook_id, **actor._asdict())
    return bool(exists)


def replay(db: Database, webhook_id: UUID, event_id: UUID | None, *, actor: Actor = OWNER) -> int | None:
    """Have an event delivered once more, or (None) all that were given up; how many that are, and None when there is
    no such webhook. Raises: Problem admin_forbidden."""
    (count,) = db.row(_REPLAY, webhook_id=webhook_id, event_id=event_id, **actor._asdict())
    return None if count is None else int(count)


def list_events(
    db: Database,
    *,
    only: UUID | None = None,
    type: str | None = None,
    after: Place | None = None,
    limit: int = PAGE,
    actor: Actor = OWNER,
) -> list[Event]:
    """Events, newest first; `only`: of this license. Raises: Problem admin_forbidden."""
    rows = db.rows(_LIST_EVENTS, only=only, type=type, limit=limit, **after_place(after), **actor._asdict())
    return [Event._make(row) for row in rows]


def due_deliveries(db: Database, most: int, *, with_email: bool) -> list[DueDelivery]:
    """What can be tried now, at most so many for each webhook."""
    return [DueDelivery._make(row) for row in db.rows(_DUE, most=most, with_email=with_email)]


def claim(db: Database, due: DueDelivery, claim_id: UUID, *, lease_s: int) -> ClaimedDelivery | None:
    """Take the first event that waits there, for `lease_s`; None when there is none, or somebody else has it."""
    rows = db.rows(_CLAIM, **due._asdict(), claim_id=claim_id, lease_s=lease_s)
    if not rows:
        return None
    claimed = ClaimedDelivery._make(rows[0])
    # From the database they are views.
    old_secret = None if claimed.old_secret is None else bytes(claimed.old_secret)
    return claimed._replace(secret=bytes(claimed.secret), old_secret=old_secret)


def end(db: Database, due: DueDelivery, claim_id: UUID, *, attempt: Attempt) -> str | None:
    """Say what became of an attempt: the event is delivered, waiting or failed by then; None: it is somebody else's."""
    (state,) = db.row(
        _END,
        **due._asdict(),
        claim_id=claim_id,
        is_delivered=attempt.error is None,
        status=attempt.status,
        error=attempt.error,
        retry_after_s=attempt.retry_after_s,
        is_final=attempt.is_final,
    )
    return None if state is None else str(state)


def note(db: Database, webhook_id: UUID, *, error: str | None, is_gone: bool = False) -> bool:
    """Say that a webhook works again (no error) or fails; whether it is paused for that now."""
    (is_paused,) = db.row(_NOTE, webhook_id=webhook_id, error=error, is_gone=is_gone)
    return bool(is_paused)


def count_waiting(db: Database, *, with_email: bool) -> int:
    """How many deliveries wait."""
    (count,) = db.row(_WAITING, with_email=with_email)
    return int(count)


def purge(db: Database) -> int:
    """Forget a batch of events that have had their time; returns how many."""
    (purged,) = db.row(_PURGE)
    return int(purged)


def due_expiring(db: Database) -> list[UUID]:
    """Licenses with grants that are about to expire, and of which nobody has told."""
    return [license_id for (license_id,) in db.rows(_DUE_EXPIRING)]


def tell_expiring(db: Database, license_id: UUID) -> int:
    """Tell of the grants of a license that are about to expire; returns of how many."""
    (count,) = db.row(_TELL_EXPIRING, license_id=license_id)
    return int(count)


def due_undelivered(db: Database) -> list[DueUndelivered]:
    """Charges whose answers have not arrived, and of which nobody has told."""
    return [DueUndelivered._make(row) for row in db.rows(_DUE_UNDELIVERED)]


def tell_undelivered(db: Database, license_id: UUID, hold_ids: Sequence[UUID]) -> None:
    """Tell of charges of a license whose answers have not arrived."""
    db.row(_TELL_UNDELIVERED, license_id=license_id, hold_ids=list(hold_ids))


def tell_upstream_refusal(db: Database, status: int) -> bool:
    """Tell that the upstream refuses the operator's account; whether it was told, which is once an hour."""
    (told,) = db.row(_TELL_REFUSAL, status=status)
    return bool(told)
