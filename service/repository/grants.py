"""Grants: credits with a lifetime, and what entries drew on."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from .admin import OWNER, Actor, Place

_LIST = text("SELECT * FROM obol.list_grants(:license_id, :digest)")
_LIST_OF = text(
    "SELECT * FROM obol.list_grants_of(:license_id, CAST(:before_at AS timestamptz), CAST(:before_id AS uuid), :limit, "
    ":token_digest, :request_id)"
)
_GRANT = text(
    "SELECT * FROM obol.grant_credits_v2(:license_id, :grant_id, :amount, :priority, CAST(:starts_at AS timestamptz), "
    "CAST(:expires_at AS timestamptz), :reason, :reference, :idempotency_key, :fingerprint, :token_digest, :request_id)"
)
_VOID = text("SELECT * FROM obol.void_grant(:license_id, :grant_id, :token_digest, :request_id)")
_DUE = text("SELECT * FROM obol.due_changes(:most)")
_BRING_UP_TO_DATE = text("SELECT * FROM obol.bring_up_to_date(:license_id)")


class Grant(NamedTuple):
    """Credits that were given. `state` is scheduled, active, used_up, expired or voided; `credits_left` what of
    them is left now, and `lapsed` what expiry or void took. `expires_at` is None when they never expire."""

    grant_id: UUID
    amount: int
    credits_left: int
    lapsed: int
    priority: int
    starts_at: datetime
    expires_at: datetime | None
    state: str
    reason: str
    reference: str | None
    created_at: datetime

    @property
    def place(self) -> Place:
        """In a list of all of them."""
        return Place(self.created_at, self.grant_id)


class ChangedGrant(NamedTuple):
    """A grant as of `Grant` that was made or voided, and the balance of its license after that."""

    grant_id: UUID
    amount: int
    credits_left: int
    lapsed: int
    priority: int
    starts_at: datetime
    expires_at: datetime | None
    state: str
    reason: str
    reference: str | None
    created_at: datetime
    balance: int


class Terms(NamedTuple):
    """How long granted credits last, and which are used first: the lowest `priority` (0 to 100), of these those that
    expire first, of these the oldest. None: from now on; for ever."""

    priority: int = 50
    starts_at: datetime | None = None
    expires_at: datetime | None = None


# From now on, for ever.
LASTING = Terms()


def list_usable(db: Database, key: KeyDigest) -> list[Grant]:
    """The grants that the license can use, now or later, in the order in which they are used.

    Raises: Problem license_invalid.
    """
    return [Grant._make(row) for row in db.rows(_LIST, license_id=key.license_id, digest=key.digest)]


def list_of(
    db: Database, license_id: UUID, *, before: Place | None = None, limit: int, actor: Actor = OWNER
) -> list[Grant]:
    """Every grant of a license, newest first; `before`: older than the one at this place.

    Raises: Problem license_invalid, admin_forbidden.
    """
    at, id = before or (None, None)
    rows = db.rows(_LIST_OF, license_id=license_id, before_at=at, before_id=id, limit=limit, **actor._asdict())
    return [Grant._make(row) for row in rows]


def grant(
    db: Database,
    license_id: UUID,
    grant_id: UUID,
    *,
    amount: int,
    terms: Terms = LASTING,
    reason: str = "purchase",
    reference: str | None = None,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
    actor: Actor = OWNER,
) -> ChangedGrant:
    """Give `amount` credits; the same call again gives the first one's grant, as it is by now.

    Raises: Problem amount_invalid, admin_forbidden, license_invalid, idempotency_key_reused.
    """
    row = db.row(
        _GRANT,
        license_id=license_id,
        grant_id=grant_id,
        amount=amount,
        **terms._asdict(),
        reason=reason,
        reference=reference,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        **actor._asdict(),
    )
    return ChangedGrant._make(row)


def void(db: Database, license_id: UUID, grant_id: UUID, *, actor: Actor = OWNER) -> ChangedGrant:
    """End a grant now: what it has left is taken, but for what holds cover until they end.

    Raises: Problem admin_forbidden, license_invalid, grant_not_found, grant_ended.
    """
    row = db.row(_VOID, license_id=license_id, grant_id=grant_id, **actor._asdict())
    return ChangedGrant._make(row)


def due(db: Database, most: int = 1000) -> list[UUID]:
    """The licenses of which a grant has started or ended, and nobody has asked for since; and those of which a hold
    protects what has ended, for as long as it does."""
    return [license_id for (license_id,) in db.rows(_DUE, most=most)]


def bring_up_to_date(db: Database, license_id: UUID) -> None:
    """Book what has started and ended of a license's grants. Whoever asks for the license does so first; this is for
    who reads of many."""
    db.row(_BRING_UP_TO_DATE, license_id=license_id)
