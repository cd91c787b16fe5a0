"""Credits given to a license, taken back, corrected and refunded."""

from datetime import UTC, datetime
from uuid import UUID

from flask import Response

from ... import operator, statements
from ...http.auth import actor
from ...http.fields import MAX_CREDITS, MAX_REASON, MAX_REFERENCE
from ...http.services import services
from ...problems import Problem
from ...repository import grants
from ...repository.grants import Terms
from ...repository.usage import Reader
from .. import forms
from ..guarded import confirm, form
from . import blueprint
from .common import asked_for, done, name_of, path_of

_MOST = 1000


@blueprint.post("/console/licenses/<uuid:license_id>/grants", scope="grant")
def grant_credits(license_id: UUID) -> Response:
    """Give credits, for good or for a time."""
    given, license = form(), asked_for(license_id)
    amount = given.number("amount")
    starts, ends = given.begin_of("first_day"), given.end_of("last_day")
    priority = given.number_or_none("priority", 0, 100)
    terms = Terms(50 if priority is None else priority, starts, ends)
    reason, reference = given.text("reason", 1, MAX_REASON), given.text("reference", 0, MAX_REFERENCE) or None
    if not given.is_confirmed:
        begins_later = starts is not None and starts > datetime.now(UTC)
        return confirm(
            f"Grant {amount:,} credits to {name_of(license)}?",
            facts=[
                ("Balance", license.balance, license.balance if begins_later else license.balance + amount),
                ("Available", license.available, license.available if begins_later else license.available + amount),
                ("Usable from", None, starts or "now"),
                ("Gone after", None, ends or "never"),
                ("Priority", None, terms.priority),
                ("Reason", None, reason),
                ("Reference", None, reference or "none"),
            ],
            button=f"Grant {amount:,} credits",
            back=path_of(license_id),
        )
    operator.grant_credits(
        services().database,
        license_id,
        amount,
        terms=terms,
        reason=reason,
        reference=reference,
        idempotency_key=given.idempotency_key,
        actor=actor(),
    )
    return done(license_id, "granted")


@blueprint.post("/console/licenses/<uuid:license_id>/grants/<uuid:grant_id>/void", scope="grant")
def void_grant(license_id: UUID, grant_id: UUID) -> Response:
    """End a grant now."""
    given, license = form(), asked_for(license_id)
    database = services().database
    if not given.is_confirmed:
        found = grants.list_of(database, license_id, limit=_MOST, actor=actor())
        grant = next((grant for grant in found if grant.grant_id == grant_id), None)
        if grant is None:
            raise Problem("grant_not_found", f"The license has no grant {grant_id} among its newest {_MOST}.")
        taken = grant.credits_left if grant.state == "active" else 0
        return confirm(
            f"Void what is left of a grant of {grant.amount:,} credits?",
            facts=[
                ("Left of the grant", grant.credits_left, 0),
                ("Balance", license.balance, license.balance - taken),
                ("Granted at", grant.created_at, None),
            ],
            button=f"Take {grant.credits_left:,} credits back",
            back=path_of(license_id),
            danger=True,
            notes=("What calls in flight hold of it stays with them until they end.",) if license.held else (),
        )
    operator.void_grant(database, license_id, grant_id, actor=actor())
    return done(license_id, "voided")


@blueprint.post("/console/licenses/<uuid:license_id>/adjustments", scope="grant")
def adjust_credits(license_id: UUID) -> Response:
    """Correct a balance, with the reason for it."""
    given, license = form(), asked_for(license_id)
    amount = given.number("amount", -MAX_CREDITS)
    if amount == 0:
        raise forms.wrong("amount", "must not be 0")
    reason = given.text("reason", 1, MAX_REFERENCE)
    if not given.is_confirmed:
        return confirm(
            f"Correct the balance of {name_of(license)} by {amount:+,}?",
            facts=[
                ("Balance", license.balance, license.balance + amount),
                ("Available", license.available, license.available + amount),
                ("Reason", None, reason),
            ],
            button=f"Correct by {amount:+,}",
            back=path_of(license_id),
            danger=amount < 0,
        )
    operator.adjust_credits(
        services().database,
        license_id,
        amount,
        reason=reason,
        idempotency_key=given.idempotency_key,
        actor=actor(),
    )
    return done(license_id, "adjusted")


@blueprint.post("/console/licenses/<uuid:license_id>/refunds", scope="grant")
def refund(license_id: UUID) -> Response:
    """Give back what a call was charged, whole or in part."""
    given, license = form(), asked_for(license_id)
    cause_id = forms.uuid(given.raw("cause_id"), "cause_id")
    wanted = given.number_or_none("amount")
    reason = given.text("reason", 1, MAX_REFERENCE)
    database = services().database
    if not given.is_confirmed:
        receipt = statements.receipt(database, Reader.operator(license_id, actor()), cause_id)
        left = receipt["charged"] - receipt["refunded"]
        amount = left if wanted is None else wanted
        if not 0 < amount <= left:
            raise Problem(
                "refund_exceeds_charge", f"{left} credits are left of the charge, not {amount}. Ask for less."
            )
        return confirm(
            f"Give {amount:,} credits back to {name_of(license)}?",
            facts=[
                ("Charged", receipt["charged"], None),
                ("Given back", receipt["refunded"], receipt["refunded"] + amount),
                ("Balance", license.balance, license.balance + amount),
                ("Reason", None, reason),
            ],
            button=f"Give {amount:,} credits back",
            back=path_of(license_id),
            notes=("Credits of grants that have ended since are gone again at once.",),
        )
    operator.refund(
        database,
        license_id,
        cause_id,
        amount=wanted,
        reason=reason,
        idempotency_key=given.idempotency_key,
        actor=actor(),
    )
    return done(license_id, "refunded")
