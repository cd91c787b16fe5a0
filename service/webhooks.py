"""Webhooks: what is sent to one, signed as Standard Webhooks has it (https://www.standardwebhooks.com), and the acts of
an operator that make and change one.

A secret is 24 random bytes, `whsec_` and base64. The service has to sign with it, so it is kept; sealed under a key
that the database does not have (OBOL_WEBHOOK_KEYS), and bound to its webhook.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import outbound, sealing, strict_json
from .db import Database
from .problems import Problem
from .repository import webhooks
from .repository.admin import OWNER, Actor
from .repository.webhooks import Attempt, ClaimedDelivery, Webhook

_PREFIX = "whsec_"
_SECRET_LENGTH = 24
_GONE = 410

# How long the secret before still signs, if nothing else is said.
OVERLAP_S = 24 * 3600


class Settings(NamedTuple):
    """What this process may do about webhooks: seal and open secrets with these keys, the newest first, and whether
    to send to addresses inside the host and its networks."""

    keys: tuple[bytes, ...]
    allow_private: bool


class NewSecret(NamedTuple):
    """A webhook and its secret, which is shown only now."""

    secret: str
    webhook: Webhook


def create(
    db: Database,
    settings: Settings,
    *,
    url: str,
    name: str = "",
    types: Sequence[str] | None = None,
    webhook_id: UUID | None = None,
    idempotency_key: str | None = None,
    actor: Actor = OWNER,
) -> NewSecret:
    """Make a webhook that gets events of these types (None: of all) from now on, of an id that nobody has (None: a new
    one). With an idempotency key whoever makes it of the same id at the same time is told the secret that it has.

    Raises: Problem admin_forbidden, validation_failed (the URL, or no keys are set), amount_invalid (too many).
    """
    if (why := outbound.why_not(url, allow_private=settings.allow_private)) is not None:
        raise Problem("validation_failed", f"url: {why}.", {"errors": [{"field": "url", "message": why}]})
    webhook_id = webhook_id or uuid4()
    secret, sealed = _new_secret(settings, webhook_id, idempotency_key)
    webhooks.create(db, webhook_id, url=url, name=name, types=types, secret=sealed, actor=actor)
    # By the same hand, which may have no right to read.
    return NewSecret(secret, show(db, webhook_id, actor=actor))


def show(db: Database, webhook_id: UUID, *, actor: Actor = OWNER) -> Webhook:
    """One webhook. Raises: Problem admin_forbidden, not_found."""
    found = webhooks.list_webhooks(db, only=webhook_id, actor=actor)
    if not found:
        raise _not_found(webhook_id)
    return found[0]


def rotate(
    db: Database,
    settings: Settings,
    webhook_id: UUID,
    *,
    overlap_s: int = OVERLAP_S,
    idempotency_key: str | None = None,
    actor: Actor = OWNER,
) -> NewSecret:
    """Give a webhook a new secret; for `overlap_s` what is sent carries a signature with the one before, too. The same
    idempotency key again, before another rotation, changes nothing.

    Raises: Problem admin_forbidden, validation_failed (no keys are set), not_found.
    """
    secret, sealed = _new_secret(settings, webhook_id, idempotency_key)
    if not webhooks.rotate(db, webhook_id, secret=sealed, overlap_s=overlap_s, actor=actor):
        raise _not_found(webhook_id)
    return NewSecret(secret, show(db, webhook_id, actor=actor))


def pause(db: Database, webhook_id: UUID, is_paused: bool, *, actor: Actor = OWNER) -> Webhook:
    """Have the events of a webhook wait, or go on with them. Raises: Problem admin_forbidden, not_found."""
    if not webhooks.pause(db, webhook_id, is_paused, actor=actor):
        raise _not_found(webhook_id)
    return show(db, webhook_id, actor=actor)


def delete(db: Database, webhook_id: UUID, *, actor: Actor = OWNER) -> None:
    """End a webhook for good; the same again changes nothing. Raises: Problem admin_forbidden, not_found."""
    if not webhooks.delete(db, webhook_id, actor=actor):
        raise _not_found(webhook_id)


def replay(db: Database, webhook_id: UUID, event_id: UUID | None, *, actor: Actor = OWNER) -> int:
    """Have an event delivered to a webhook once more, or (None) all that were given up; returns how many that are.

    Raises: Problem admin_forbidden, not_found.
    """
    count = webhooks.replay(db, webhook_id, event_id, actor=actor)
    if count is None:
        raise _not_found(webhook_id)
    if count == 0 and event_id is not None:
        raise Problem("not_found", f"There is no event {event_id}; events are kept for thirty days.")
    return count


def message_id(event_id: UUID) -> str:
    """What an event is known by outside, the same with each attempt."""
    return f"evt_{event_id.hex}"


def document(claimed: ClaimedDelivery) -> bytes:
    """What is sent of an event, the same bytes with each attempt."""
    at = claimed.created_at.isoformat().replace("+00:00", "Z")
    return strict_json.encode({"type": claimed.type, "timestamp": at, "data": claimed.data})


def sign(secret: str, message: str, timestamp: int, *, body: bytes) -> str:
    """A signature of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    digest = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def send(settings: Settings, webhook_id: UUID, claimed: ClaimedDelivery) -> Attempt:
    """Try to deliver an event to a webhook."""
    opened = [
        sealing.unseal(settings.keys, sealed, webhook_id.bytes)
        for sealed in (claimed.secret, claimed.old_secret)
        if sealed is not None
    ]
    known = [secret.decode() for secret in opened if secret is not None]
    if opened[0] is None:
        return Attempt("no key in OBOL_WEBHOOK_KEYS opens its secret: set the one it was made with, or rotate it")
    body, message, timestamp = document(claimed), message_id(claimed.event_id), int(time.time())
    headers = {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, message, timestamp, body=body) for secret in known),
    }
    try:
        reply = outbound.post(claimed.url, headers, body, allow_private=settings.allow_private)
    except outbound.Unreachable as error:
        return Attempt(str(error))
    if 200 <= reply.status < 300:
        return Attempt(None, reply.status)
    why = f"it answered with status {reply.status}"
    if 300 <= reply.status < 400:
        why += ", and no redirect is followed"
    return Attempt(why, reply.status, reply.retry_after_s)


def is_gone(attempt: Attempt) -> bool:
    """Whether the other side says that it wants nothing more."""
    return attempt.status == _GONE


def _new_secret(settings: Settings, webhook_id: UUID, idempotency_key: str | None) -> tuple[str, bytes]:
    if not settings.keys:
        raise Problem(
            "validation_failed",
            "Secrets of webhooks are kept sealed, and there is no key to seal them with: set OBOL_WEBHOOK_KEYS, "
            "for the service and for the obol command.",
        )
    material = _material(settings.keys[0], webhook_id, idempotency_key)
    secret = _PREFIX + base64.b64encode(material[:_SECRET_LENGTH]).decode()
    return secret, sealing.seal(settings.keys[0], secret.encode(), webhook_id.bytes, nonce=material[_SECRET_LENGTH:])


def _material(key: bytes, webhook_id: UUID, idempotency_key: str | None) -> bytes:
    """What a secret and the nonce that seals it are made of: random bytes, and with an idempotency key, which nobody
    knows but who has the form and which is nowhere stored, the same ones each time. Then the sealed secret is the same
    too, by which the database knows that it has it already."""
    length = _SECRET_LENGTH + sealing.NONCE_LENGTH
    if idempotency_key is None:
        return secrets.token_bytes(length)
    said = b"obol secret of a webhook" + webhook_id.bytes + idempotency_key.encode()
    return HKDF(SHA256(), length=length, salt=None, info=said).derive(key)


def _not_found(webhook_id: UUID) -> Problem:
    return Problem("not_found", f"There is no webhook {webhook_id}.")
