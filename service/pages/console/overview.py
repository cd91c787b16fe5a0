"""The overview: how the business goes."""

from flask import Response

from ... import metrics, operator, statements
from ...http.auth import actor
from ...http.services import services
from ...repository import holds, webhooks
from .. import forms
from ..guarded import respond
from . import blueprint

RANGES = (7, 30, 90)
_MOST_UNDELIVERED = 5
_MOST_WEBHOOKS = 100


@blueprint.get("/console")
def overview() -> Response:
    """Credits sold, used and owed, by day; and what needs a look."""
    database, asked = services().database, forms.query()
    days = asked.number_or_none("days", 1, 366) or 30
    found = operator.overview(database, *statements.last_days(days), actor=actor())
    undelivered = holds.list_holds(
        database,
        "undelivered",
        key_ids=services().replay_key_ids,
        limit=_MOST_UNDELIVERED + 1,
        actor=actor(),
    )
    return respond(
        "console/overview.html",
        found=found,
        days=days,
        ranges=RANGES,
        expiring_days=operator.EXPIRING_DAYS,
        failing=[
            webhook
            for webhook in webhooks.list_webhooks(database, limit=_MOST_WEBHOOKS, actor=actor())
            if webhook.status == "failing" or webhook.paused_because in ("failing", "gone") or webhook.failed
        ],
        figures=metrics.figures(),
        undelivered=undelivered[:_MOST_UNDELIVERED],
        is_cut=len(undelivered) > _MOST_UNDELIVERED,
    )
