"""GET /metrics: what this service counts and times, for Prometheus."""

from flask import Response

from .. import metrics
from ..http.auth import SECURITY, watcher_auth
from ..http.blueprint import Blueprint

blueprint = Blueprint("metrics", watcher_auth)


@blueprint.get("/metrics")
@blueprint.doc(
    security=SECURITY[watcher_auth],
    responses={200: {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def show_metrics() -> Response:
    """The service's metrics, of all workers, in Prometheus's text format: for callers on the machine itself, and
    for an admin token with the scope `read`."""
    return Response(metrics.scrape(), content_type=metrics.CONTENT_TYPE)
