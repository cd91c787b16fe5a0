"""Request ids, and one line in the log for each request."""

import re
import time
from typing import Any
from uuid import uuid4

import structlog
from flask import Flask, Request, Response, g, request

from .. import metrics, tracing
from ..logs import log

# A key is no id, whoever took it for one.
_SANE = re.compile(r"(?!.*(obol_|sk-ant-))[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)


def init(app: Flask) -> None:
    """Give every request an id, and log it once it has ended."""
    app.before_request(_begin)
    app.after_request(_end)


def request_id() -> str:
    """The id of the current request: the client's own x-request-id when it is sane."""
    return str(g.request_id)


def note(**fields: Any) -> None:
    """Add to the current request's line in the log."""
    g.log_fields.update(fields)


def noted(name: str) -> Any:
    """What was noted of the current request; None when nothing was."""
    return g.log_fields.get(name)


def _begin() -> None:
    # Each look through a proxy of Flask costs as much as a dozen others, and one by the name of a header even more.
    known: Any = g._get_current_object()
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    given = asked.environ.get("HTTP_X_REQUEST_ID", "")
    known.request_id = given if _SANE.fullmatch(given) else f"req_{uuid4().hex}"
    known.began_at = time.monotonic()
    known.log_fields = {}
    # The rule and not the path: a path can hold anything that a client types.
    known.method, known.route = asked.method, str(asked.url_rule) if asked.url_rule else "none"
    known.span = tracing.begin_request(f"{known.method} {known.route}")
    # Whatever is logged on the way carries the id too; a thread serves one request at a time.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=known.request_id)


def _end(response: Response) -> Response:
    known: Any = g._get_current_object()
    began_at, span, id, line = known.began_at, known.span, str(known.request_id), known.log_fields
    # Balances and answers are one client's: nobody on the way keeps them, and no browser guesses what they are.
    # What is nobody's says so itself.
    headers = response.headers
    headers.setdefault("Cache-Control", "no-store")
    headers.add("request-id", id)
    headers.add("X-Content-Type-Options", "nosniff")
    method, route = known.method, known.route
    line["method"] = method
    line["route"] = None if route == "none" else route
    line["status"] = response.status_code
    answered_at = time.monotonic()
    open = [response.status_code]

    @response.call_on_close
    def closed() -> None:
        # A response can be closed twice.
        if not open:
            return
        status, code, now = open.pop(), line.get("code"), time.monotonic()
        metrics.REQUESTS.labels(route, status, code or "").inc()
        metrics.REQUEST_SECONDS.labels(route).observe(now - began_at)
        failed = code if status >= 500 or status < 400 else None
        tracing.end(span, failed, method=method, route=route, status=status, request_id=id)
        log.info(
            "request",
            **line,
            duration_ms=round(1000 * (answered_at - began_at), 1),
            delivery_ms=round(1000 * (now - answered_at), 1),
        )

    return response
