"""The one place that renders an error: RFC 9457 problem documents, and on /v1 the shape that
clients of the Messages API read."""

import re
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from .. import strict_json
from ..logs import log
from ..problems import Problem
from .request_log import note, request_id

_HTTP_CODES = {
    400: ("malformed_request", "The request cannot be read."),
    404: ("not_found", "There is nothing at this path; /docs and /openapi.json list what there is."),
    405: ("method_not_allowed", "This path does not take this method; the Allow header says which it takes."),
}

# Paths that clients make of a base URL that is not right, or of an API that is another; the first that fits.
_LOST = (
    (
        re.compile("/(messages|models)(/.*)?"),
        "There is nothing at this path. This client adds no /v1 by itself: set its base URL to the address of this "
        "server with /v1 at its end.",
    ),
    (
        re.compile(".+/v1/(messages|models)(/.*)?"),
        "There is nothing at this path. This client adds /v1 by itself: set its base URL to the address of this server "
        "alone, without /v1 or any other path.",
    ),
    (
        re.compile("(/.*)?/(chat/completions|completions|responses|embeddings|images/.*|audio/.*)"),
        "The API of OpenAI is not offered here. Use a client of the Anthropic API, with the address of this server as "
        "its base URL.",
    ),
    (
        re.compile("/v1(/.*)?"),
        "This is not offered here. Of the Anthropic API there are POST /v1/messages, POST /v1/messages/count_tokens, "
        "GET /v1/models and GET /v1/models/{id}; batches, files and the rest are not sold.",
    ),
)


# The words of the Messages API for an HTTP status; any other 4xx is about the request, any other 5xx not.
_WIRE_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def init(app: Flask) -> None:
    """Render every error of the application."""
    app.register_error_handler(Problem, render)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)


def is_wire(path: str) -> bool:
    """Whether errors have the shape of the Messages API there."""
    return path.startswith("/v1/")


def render(problem: Problem) -> Response:
    """A Problem as an HTTP response."""
    note(code=problem.code)
    if is_wire(request.path):
        return _render_on_the_wire(problem)
    body = strict_json.encode(problem.document(request_id())) + b"\n"
    response = Response(body, status=problem.type.status, content_type="application/problem+json")
    _add_headers(response, problem)
    return response


def wire_document(problem: Problem, request_id: str) -> dict[str, Any]:
    """A Problem as the Messages API has its errors."""
    status = _wire_status(problem)
    return {
        "type": "error",
        "error": {
            "type": _WIRE_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error"),
            "message": problem.detail,
            "details": {"error_code": problem.code, **problem.extra},
        },
        "request_id": request_id,
    }


def _wire_status(problem: Problem) -> int:
    if problem.reply is not None:
        return problem.reply.status
    return problem.type.wire_status or problem.type.status


def _render_on_the_wire(problem: Problem) -> Response:
    body = strict_json.encode(wire_document(problem, request_id())) + b"\n"
    reply = problem.reply
    if reply is not None:
        response = Response(reply.body or body, status=reply.status)
        response.headers.extend(reply.headers)
    else:
        response = Response(body, status=_wire_status(problem))
        _add_headers(response, problem)
        # The SDKs would ask again after any 409 and 5xx, also where it cannot help.
        response.headers["x-should-retry"] = "false" if problem.retry_after is None else "true"
    response.content_type = "application/json"
    return response


def _add_headers(response: Response, problem: Problem) -> None:
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"


def _http_error(error: HTTPException) -> Response:
    if error.code not in _HTTP_CODES:
        return _internal_error(error)
    code, detail = _HTTP_CODES[error.code]
    if error.code == 404:
        detail = next((words for form, words in _LOST if form.fullmatch(request.path)), detail)
    response = render(Problem(code, detail))
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers["Allow"] = value
    return response


def _internal_error(error: Exception) -> Response:
    return render(unexpected(error))


def unexpected(error: Exception) -> Problem:
    """Log an error that nobody foresaw, and say nothing of it to the client."""
    # Where it happened, not what it said: the message of an unexpected error can hold anything.
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    log.error("internal_error", error=type(error).__name__, frames=frames[-8:])
    return Problem("internal_error", "Something went wrong; the log has it under this request id.")
