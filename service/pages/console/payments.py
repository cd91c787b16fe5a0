"""What was paid by card, and what is owed."""

from flask import Response

from ...http.auth import actor
from ...http.services import cashier, services
from ...repository import payments
from .. import forms
from ..guarded import respond
from . import blueprint

_PAGE = 50


@blueprint.get("/console/payments")
def list_payments() -> Response:
    """Payments of all licenses, newest first, or those of which something is owed."""
    cashier()
    asked = forms.query()
    only_owed = asked.raw("owed") == "1"
    found = payments.list_all_payments(
        services().database,
        only_owed=only_owed,
        before=forms.place(asked.raw("cursor")),
        limit=_PAGE + 1,
        actor=actor(),
    )
    return respond(
        "console/payments.html",
        rows=found[:_PAGE],
        only_owed=only_owed,
        next_cursor=forms.place_of(found[_PAGE - 1]) if len(found) > _PAGE else None,
    )
