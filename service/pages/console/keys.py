"""The keys of a license: make one, limit it, revoke it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from flask import Response

from ... import operator
from ...http.auth import actor
from ...http.fields import MAX_NAME
from ...http.services import services
from ...problems import Problem
from ...repository import limits
from ...repository.limits import LicenseKey
from .. import forms
from .. import limits as limit_fields
from ..guarded import confirm, form, respond
from . import blueprint
from .common import asked_for, done, name_of, path_of
from .license import count_good, keys_of, used_of

_LONGEST_OVERLAP_HOURS = 30 * 24


@blueprint.post("/console/licenses/<uuid:license_id>/keys", scope="manage")
def create_key(license_id: UUID) -> Response:
    """Make another key, which is shown once."""
    given, license = form(), asked_for(license_id)
    name, ends, wanted = given.text("name", 1, MAX_NAME), given.end_of("last_day"), limit_fields.read(given)
    if not given.is_confirmed:
        return confirm(
            f"Make the key {name} for {name_of(license)}?",
            facts=[
                ("Ends", None, ends or "never"),
                *((what, None, after) for what, _, after in limit_fields.compared(None, wanted)),
            ],
            button="Make the key",
            back=path_of(license_id),
            notes=("It is shown once, on the next page, and stored nowhere.",),
        )
    new = operator.create_key(
        services().database,
        license_id,
        name=name,
        expires_at=ends,
        limits=limit_fields.set_ones(wanted),
        idempotency_key=given.idempotency_key,
        actor=actor(),
    )
    if new.license_key is None:
        raise Problem("already_exists", "This form was sent before: the key is there, and was shown then.")
    return respond(
        "console/secret.html",
        title=f"The key {name} of {name_of(license)}",
        what="license key",
        secret=new.license_key,
        go_on=path_of(license_id),
    )


@blueprint.get("/console/licenses/<uuid:license_id>/keys/<uuid:key_id>")
def show_key(license_id: UUID, key_id: UUID) -> Response:
    """A key and its limits."""
    license, key = asked_for(license_id), _key(license_id, key_id)
    return respond("console/key.html", license=license, key=key, used=used_of(license_id, key_id))


@blueprint.post("/console/licenses/<uuid:license_id>/keys/<uuid:key_id>/limits", scope="manage")
def set_key_limits(license_id: UUID, key_id: UUID) -> Response:
    """Set the limits of a key; what is left empty is none."""
    given, wanted, key = form(), limit_fields.read(form()), _key(license_id, key_id)
    if not given.is_confirmed:
        return confirm(
            f"Change the limits of the key {_named(key)}?",
            facts=limit_fields.compared(key.limits, wanted),
            button="Set the limits",
            back=f"{path_of(license_id)}/keys/{key_id}",
        )
    limits.set_key(services().database, license_id, key_id, limits=wanted, actor=actor())
    return done(license_id, "limits")


@blueprint.post("/console/licenses/<uuid:license_id>/keys/<uuid:key_id>/revoke", scope="manage")
def revoke_key(license_id: UUID, key_id: UUID) -> Response:
    """End a key for good."""
    given, license, key = form(), asked_for(license_id), _key(license_id, key_id)
    if not given.is_confirmed:
        good = count_good(keys_of(license_id))
        return confirm(
            f"Revoke the key {_named(key)}?",
            facts=[
                ("Good keys of the license", good, good - count_good([key])),
                ("Last used", key.last_used_at or "never", None),
                ("Available credits of the license", license.available, None),
            ],
            button="Revoke the key",
            back=path_of(license_id),
            danger=True,
            notes=(
                "For good: from now on it is refused as an unknown one is. Calls that run are finished and paid for.",
            ),
        )
    limits.revoke_key(services().database, license_id, key_id, actor=actor())
    return done(license_id, "revoked")


@blueprint.post("/console/licenses/<uuid:license_id>/rotate", scope="manage")
def rotate_keys(license_id: UUID) -> Response:
    """Make a new key, and let one of those before it end, or all."""
    given, license = form(), asked_for(license_id)
    hours = given.number("hours", 0, _LONGEST_OVERLAP_HOURS)
    only = _key(license_id, forms.uuid(given.raw("key_id"), "key_id")) if given.raw("key_id") else None
    if not given.is_confirmed:
        good = count_good(keys_of(license_id))
        ends = datetime.now(UTC) + timedelta(hours=hours)
        return confirm(
            f"Make a new key in place of {f'the key {_named(only)}' if only else f'all keys of {name_of(license)}'}?",
            facts=[
                ("Keys that end", 0, 1 if only else good),
                ("They end", None, ends if hours else "now"),
                ("Limits of the new key", None, "as that one's" if only else "none"),
            ],
            button="Make the new key",
            back=path_of(license_id),
            danger=hours == 0,
            notes=("It is shown once, on the next page, and stored nowhere.",),
        )
    # Its id stands for this form: sent twice, it makes one key.
    key_id = uuid5(license_id, given.idempotency_key)
    if any(key.key_id == key_id for key in keys_of(license_id)):
        raise Problem("already_exists", "This form was sent before: the key is there, and was shown then.")
    new = operator.rotate_key(
        services().database,
        license_id,
        hours * 3600,
        key_id=key_id,
        only_key_id=only.key_id if only else None,
        actor=actor(),
    )
    return respond(
        "console/secret.html",
        title=f"The new key of {name_of(license)}",
        what="license key",
        secret=new.license_key,
        go_on=path_of(license_id),
    )


@blueprint.post("/console/licenses/<uuid:license_id>/own-keys", scope="manage")
def set_own_keys(license_id: UUID) -> Response:
    """Say how many keys whoever holds the license may make."""
    given, license = form(), asked_for(license_id)
    most, database = given.number("most", 0, limits.MOST_OWN_KEYS), services().database
    if not given.is_confirmed:
        return confirm(
            f"Let the holder of {name_of(license)} make keys?"
            if most
            else f"Let nobody make keys of {name_of(license)}?",
            facts=[("Good keys of its own at once", limits.set_own_keys(database, license_id, actor=actor()), most)],
            button=f"Allow {most} keys" if most else "Allow none",
            back=path_of(license_id),
            notes=("Only with a key that you made, without limits and without an end. Keys that are there stay.",),
        )
    limits.set_own_keys(database, license_id, most, actor=actor())
    return done(license_id, "own_keys")


def _named(key: LicenseKey) -> str:
    return key.name or str(key.key_id)[:8]


def _key(license_id: UUID, key_id: UUID) -> LicenseKey:
    for key in keys_of(license_id):
        if key.key_id == key_id:
            return key
    raise Problem("key_not_found", f"The license has no key {key_id}.")
