"""Health: the processes of this machine, the database, and the check of the whole ledger."""

import time

from flask import Response

from ... import metrics, migrations, operator
from ...http.auth import actor
from ...http.services import services
from ...repository import ledger, processes
from ..guarded import respond
from . import blueprint

_HEAD = migrations.head()
_MOST_FINDINGS = 100


@blueprint.get("/console/health")
def show_health() -> Response:
    """What the workers count, and how the database stands."""
    return _respond()


@blueprint.post("/console/verify")
def verify() -> Response:
    """Check the ledger, in one snapshot. It changes nothing, so it does not ask once more."""
    began_at = time.monotonic()
    found = operator.verify(services().database, most=_MOST_FINDINGS, actor=actor())
    return _respond(found, time.monotonic() - began_at)


def _respond(found: ledger.Verification | None = None, seconds: float = 0.0) -> Response:
    return respond(
        "console/health.html",
        figures=metrics.figures(),
        revision=processes.revision(services().database),
        head=_HEAD,
        processes=processes.list_processes(services().database, actor=actor()),
        checks=ledger.list_verifications(services().database, actor=actor()),
        found=found,
        seconds=seconds,
    )
