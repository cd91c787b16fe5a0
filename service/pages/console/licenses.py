"""The list of licenses, and the form that makes one."""

from flask import Response

from ... import operator
from ...http.auth import actor
from ...http.fields import MAX_EXTERNAL_ID, MAX_NAME
from ...http.services import services
from ...problems import Problem
from ...repository import licenses
from .. import forms
from ..guarded import confirm, form, respond
from . import blueprint

STATUSES = ("active", "suspended", "expired")
_PAGE = 50


@blueprint.get("/console/licenses")
def list_licenses() -> Response:
    """Licenses, newest first, by a part of the name or how an id begins, and by status."""
    asked = forms.query()
    query, status = asked.text("query", 0, MAX_NAME), asked.raw("status")
    if status:
        asked.choice("status", STATUSES)
    found = licenses.list_licenses(
        services().database,
        query=query or None,
        status=status or None,
        after=forms.place(asked.raw("cursor")),
        newest_first=True,
        limit=_PAGE + 1,
        actor=actor(),
    )
    return respond(
        "console/licenses.html",
        rows=found[:_PAGE],
        next_cursor=forms.place_of(found[_PAGE - 1]) if len(found) > _PAGE else None,
        is_first=not asked.raw("cursor"),
        query=query,
        wanted=status,
        statuses=STATUSES,
    )


@blueprint.get("/console/licenses/new", scope="manage")
def new_license() -> Response:
    """The form for a license."""
    return respond("console/new_license.html")


@blueprint.post("/console/licenses", scope="manage")
def create_license() -> Response:
    """Make a license; its key is shown once."""
    given = form()
    name = given.text("name", 1, MAX_NAME)
    external_id = given.text("external_id", 0, MAX_EXTERNAL_ID) or None
    credits = given.number_or_none("credits", 0) or 0
    ends = given.end_of("last_day")
    if not given.is_confirmed:
        return confirm(
            f"Make a license for {name}?",
            facts=[
                ("Opening grant", None, credits),
                ("Ends", None, ends or "never"),
                ("Your id for it", None, external_id or "none"),
            ],
            button="Make the license",
            back="/console/licenses/new",
            notes=("Its key is shown once, on the next page, and stored nowhere.",),
        )
    made = operator.create_license(
        services().database,
        credits=credits,
        name=name,
        expires_at=ends,
        external_id=external_id,
        idempotency_key=given.idempotency_key,
        actor=actor(),
    )
    if made.license_key is None:
        raise Problem("already_exists", "This form was sent before: the license is there, and its key was shown then.")
    return respond(
        "console/secret.html",
        title=f"The license of {name}",
        what="license key",
        secret=made.license_key,
        go_on=f"/console/licenses/{made.license_id}",
    )
