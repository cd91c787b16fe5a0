"""A license: its balance over time, its grants, keys and limits, what it used, and what may be given back."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from flask import Response

from ... import statements
from ...http.auth import actor
from ...http.fields import MAX_NAME
from ...http.request_log import note
from ...http.services import services
from ...repository import grants, holds, licenses, limits, payments, usage, webhooks
from ...repository.limits import LicenseKey
from ...repository.usage import Reader
from .. import limits as limit_fields
from .. import statement
from ..guarded import confirm, form, respond
from . import blueprint
from .common import asked_for, done, name_of, path_of

# What the chart of the balance looks back.
_CHARTED_DAYS = 90
_SHOWN = 10
# Of each table; what there is more of, the page says.
_MOST = 100
_MOST_KEYS = 1000


@blueprint.get("/console/licenses/<uuid:license_id>")
def show_license(license_id: UUID) -> Response:
    """All of a license."""
    database = services().database
    reader = _reader(license_id)
    license = licenses.show(database, license_id, actor=actor())
    first, last = statements.last_days(_CHARTED_DAYS)
    return respond(
        "console/license.html",
        license=license,
        days=_CHARTED_DAYS,
        balances=usage.balances(database, reader, first=first, last=last),
        archived=usage.archived(database, reader),
        grants=grants.list_of(database, license_id, limit=_MOST, actor=actor()),
        keys=keys_of(license_id),
        most=_MOST,
        by_model=statements.usage_of(database, reader, by=("model",)),
        by_day=statements.usage_of(database, reader, by=("day",)),
        entries=usage.page(database, reader, limit=_SHOWN).entries,
        undelivered=holds.list_holds(
            database,
            "undelivered",
            license_id=license_id,
            key_ids=services().replay_key_ids,
            limit=_MOST,
            actor=actor(),
        ),
        payments=payments.list_payments(database, license_id, limit=_MOST, actor=actor()),
        held=holds.list_holds(database, "held", license_id=license_id, limit=_MOST, actor=actor()),
        used=used_of(license_id),
        own_keys=limits.set_own_keys(database, license_id, actor=actor()),
        told=webhooks.show_alerts(database, license_id, actor=actor()),
        events=webhooks.list_events(database, only=license_id, limit=_SHOWN, actor=actor()),
    )


def used_of(license_id: UUID, key_id: UUID | None = None) -> dict[str, int]:
    """What is used of the limits of a license, or of a key of it, by their names."""
    found = limits.show_limits(services().database, license_id, key_id=key_id, actor=actor())
    return {row.limit_name: row.used for row in found if row.limit_of == ("key" if key_id else "license")}


@blueprint.get("/console/licenses/<uuid:license_id>/statement")
def show_statement(license_id: UUID) -> Response:
    """The statement of a license, as its client has it."""
    reader, license = _reader(license_id), licenses.show(services().database, license_id, actor=actor())
    return statement.respond_page(reader, path_of(license_id), license.name or "License")


@blueprint.get("/console/licenses/<uuid:license_id>/statement.csv")
def download_statement(license_id: UUID) -> Response:
    """All of it, as a file."""
    return statement.respond_csv(_reader(license_id))


@blueprint.get("/console/licenses/<uuid:license_id>/receipts/<uuid:cause_id>")
def show_receipt(license_id: UUID, cause_id: UUID) -> Response:
    """How a charge is made up, and the form that gives it back."""
    return statement.respond_receipt(_reader(license_id), cause_id, path_of(license_id))


@blueprint.post("/console/licenses/<uuid:license_id>/status", scope="manage")
def set_status(license_id: UUID) -> Response:
    """Suspend a license, or let it go on."""
    given, license = form(), asked_for(license_id)
    status = given.choice("status", ("active", "suspended"))
    is_end = status == "suspended"
    if not given.is_confirmed:
        keys = count_good(keys_of(license_id))
        return confirm(
            f"{'Suspend' if is_end else 'Resume'} {name_of(license)}?",
            facts=[
                ("Status", license.status, status),
                ("Keys that are good", keys, 0 if is_end else keys),
                ("Available credits", license.available, None),
                ("Held by calls that run", license.held, None),
            ],
            button="Suspend the license" if is_end else "Resume the license",
            back=path_of(license_id),
            danger=is_end,
            notes=("Calls that run now are finished and paid for. Its credits stay.",) if is_end else (),
        )
    licenses.set_status(services().database, license_id, status, actor=actor())
    return done(license_id, "suspended" if is_end else "resumed")


@blueprint.post("/console/licenses/<uuid:license_id>/expiry", scope="manage")
def set_expiry(license_id: UUID) -> Response:
    """Renew a license."""
    given, license = form(), asked_for(license_id)
    ends = given.end_of("last_day")
    if not given.is_confirmed:
        return confirm(
            f"Change when {name_of(license)} ends?",
            facts=[
                ("Ends", license.expires_at or "never", ends or "never"),
                ("Available credits", license.available, None),
            ],
            button="Change it",
            back=path_of(license_id),
        )
    licenses.set_license(services().database, license_id, expires_at=ends or "never", actor=actor())
    return done(license_id, "expiry")


@blueprint.post("/console/licenses/<uuid:license_id>/name", scope="manage")
def rename(license_id: UUID) -> Response:
    """Give a license another name."""
    given, license = form(), asked_for(license_id)
    name = given.text("name", 1, MAX_NAME)
    if not given.is_confirmed:
        return confirm(
            f"Rename {name_of(license)}?",
            facts=[("Name", license.name, name)],
            button="Rename the license",
            back=path_of(license_id),
        )
    licenses.set_license(services().database, license_id, name=name, actor=actor())
    return done(license_id, "renamed")


@blueprint.post("/console/licenses/<uuid:license_id>/limits", scope="manage")
def set_limits(license_id: UUID) -> Response:
    """Set the limits of a license; what is left empty is none."""
    given, license = form(), asked_for(license_id)
    wanted = limit_fields.read(given)
    if not given.is_confirmed:
        return confirm(
            f"Change the limits of {name_of(license)}?",
            facts=limit_fields.compared(license.limits, wanted),
            button="Set the limits",
            back=path_of(license_id),
        )
    licenses.set_license(services().database, license_id, limits=wanted, actor=actor())
    return done(license_id, "limits")


def keys_of(license_id: UUID) -> list[LicenseKey]:
    """All keys of a license."""
    return limits.list_keys(services().database, license_id, limit=_MOST_KEYS, actor=actor())


def count_good(keys: Iterable[LicenseKey]) -> int:
    """How many of these open their license now."""
    now = datetime.now(UTC)
    return sum(key.is_good(now) for key in keys)


def _reader(license_id: UUID) -> Reader:
    note(license_id=str(license_id))
    return Reader.operator(license_id, actor())
