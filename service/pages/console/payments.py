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
    asked = forms.query()
    only_owed = asked.raw("owed") == "1"
    if services().cashier is None and not payments.list_all_payments(services().database, limit=1, actor=actor()):
        # Where cards are taken no more, there would be what was paid.
        cashier()
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
