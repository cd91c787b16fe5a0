"""GET /metrics: what this service counts and times, for Prometheus."""

from flask import Response

from .. import metrics
from ..http.auth import watcher_auth
from ..http.blueprint import Blueprint

_EXAMPLE = """# HELP obol_requests_total Requests.
# TYPE obol_requests_total counter
"""

blueprint = Blueprint("metrics", watcher_auth, description="What the service counts and times.")


@blueprint.get("/metrics")
@blueprint.alt_response(200, schema={"type": "string"}, content_type="text/plain", success=True, example=_EXAMPLE)
def show_metrics() -> Response:
    """The service's metrics, of all workers, in Prometheus's text format: for callers on the machine itself, and
    for an admin token with the scope `read`."""
    return Response(metrics.scrape(), content_type=metrics.CONTENT_TYPE)
