"""The keys that whoever holds a license makes, where its operator allows it; the database asks each time."""

from datetime import UTC, datetime
from uuid import UUID

from flask import Response

from .. import operator
from ..http.fields import MAX_NAME
from ..http.services import services
from ..problems import Problem
from ..repository import own_keys
from ..repository.limits import LicenseKey
from . import limits as limit_fields
from .account import blueprint
from .guarded import confirm, form, license_key, redirect, respond

_PATH = "/account/keys"


@blueprint.get(_PATH)
def list_keys() -> Response:
    """The keys that were made here, and the form for another."""
    return respond("account/keys.html", keys=own_keys.list_keys(services().database, license_key()))


@blueprint.post(_PATH)
def create_key() -> Response:
    """Make a key, which is shown once."""
    given, made = form(), own_keys.list_keys(services().database, license_key())
    name, ends, wanted = given.text("name", 1, MAX_NAME), given.end_of("last_day"), limit_fields.read(given)
    if not given.is_confirmed:
        now = datetime.now(UTC)
        good = sum(key.is_good(now) for key in made)
        return confirm(
            f"Make the key {name}?",
            facts=[
                ("Keys that you made", good, good + 1),
                ("Ends", None, ends or "never"),
                *((what, None, after) for what, _, after in limit_fields.compared(None, wanted)),
            ],
            button="Make the key",
            back=_PATH,
            notes=("It is shown once, on the next page, and stored nowhere. It uses the credits of this license.",),
        )
    new = operator.create_own_key(
        services().database,
        license_key(),
        name=name,
        expires_at=ends,
        limits=limit_fields.set_ones(wanted),
        idempotency_key=given.idempotency_key,
    )
    if new.license_key is None:
        raise Problem("already_exists", "This form was sent before: the key is there, and was shown then.")
    return respond(
        "console/secret.html", title=f"The key {name}", what="license key", secret=new.license_key, go_on=_PATH
    )


@blueprint.get(f"{_PATH}/<uuid:key_id>")
def show_key(key_id: UUID) -> Response:
    """A key that was made here, and its limits."""
    return respond("account/key.html", key=_key(key_id))


@blueprint.post(f"{_PATH}/<uuid:key_id>/limits")
def set_key_limits(key_id: UUID) -> Response:
    """Set the limits of a key; what is left empty is none."""
    given, key = form(), _key(key_id)
    wanted = limit_fields.read(given)
    if not given.is_confirmed:
        return confirm(
            f"Change the limits of the key {key.name}?",
            facts=limit_fields.compared(key.limits, wanted),
            button="Set the limits",
            back=f"{_PATH}/{key_id}",
        )
    own_keys.change(services().database, license_key(), key_id, limits=wanted)
    return redirect(_PATH, done="limits")


@blueprint.post(f"{_PATH}/<uuid:key_id>/revoke")
def revoke_key(key_id: UUID) -> Response:
    """End a key for good."""
    given, key = form(), _key(key_id)
    if not given.is_confirmed:
        return confirm(
            f"Revoke the key {key.name}?",
            facts=[
                ("It is good", "yes" if key.is_good(datetime.now(UTC)) else "no", "no"),
                ("Last used", key.last_used_at or "never", None),
            ],
            button="Revoke the key",
            back=_PATH,
            danger=True,
            notes=("For good: from now on it is refused. Calls that run are finished and paid for.",),
        )
    own_keys.revoke(services().database, license_key(), key_id)
    return redirect(_PATH, done="revoked")


def _key(key_id: UUID) -> LicenseKey:
    for key in own_keys.list_keys(services().database, license_key()):
        if key.key_id == key_id:
            return key
    raise Problem("key_not_found", f"You have made no key {key_id}.")
