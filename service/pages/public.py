"""What everybody may read: the start page, the description of every call, and a page for each problem."""

from typing import Any

from flask import Response, current_app
from marshmallow import fields

from .. import strict_json
from ..http import guide
from ..http.auth import no_auth
from ..http.blueprint import Blueprint
from ..http.fields import Answer
from ..http.openapi import ABOUT, MAKING, VERSION, document
from ..problems import BY_CODE, Problem
from . import reading
from .rendering import ANY_ORIGIN, HTML, JSON, origin, render, respond, wants_html


class StartAnswer(Answer):
    name = fields.String()
    version = fields.String()
    description = fields.String()
    links = fields.Dict(fields.String(), fields.String(), metadata={"description": "where things are, by name"})


class ProblemPageAnswer(Answer):
    code = fields.String()
    title = fields.String()
    status = fields.Integer()
    wire_status = fields.Integer(metadata={"description": "on /v1"})
    when = fields.String(metadata={"description": "it comes, and what has happened then"})
    remedy = fields.String(metadata={"description": "what helps"})
    example = fields.Dict(metadata={"description": "a problem document"})


blueprint = Blueprint("pages", no_auth, description="Where things are, for people and programs.")

_PAGE = {"schema": {"type": "string"}}
_OR_A_PAGE = {"responses": {200: {"content": {HTML: _PAGE}}}}


@blueprint.get("/")
@blueprint.doc(**_OR_A_PAGE)
@blueprint.alt_response(
    200,
    schema=StartAnswer,
    success=True,
    example={
        "name": "Obol",
        "version": VERSION,
        "description": ABOUT,
        "links": {"docs": "/docs", "openapi": "/openapi.json", "healthz": "/healthz", "readyz": "/readyz"},
    },
)
def start() -> Response:
    """What this is, and where things are. A browser gets a page."""
    links = {"docs": "/docs", "openapi": "/openapi.json"}
    links |= {
        item["get"]["operationId"]: path
        for path, item in document()["paths"].items()
        if "get" in item and "security" not in item["get"] and "{" not in path and path not in ("/", "/docs")
    }
    told = {"name": "Obol", "version": VERSION, "description": ABOUT, "links": links}
    return _negotiated("start.html", told)


@blueprint.get("/docs")
@blueprint.alt_response(200, schema={"type": "string"}, content_type=HTML, success=True)
def docs() -> Response:
    """Every call, as a page for people. It needs nothing from anywhere else."""
    rendered: dict[str, str] = current_app.extensions.setdefault("obol-docs", {})
    with MAKING:
        if "html" not in rendered:
            # Once: it takes ten times as long as any other answer that everybody can have.
            described = document()
            rendered["html"] = render(
                "docs.html",
                about=described["info"]["description"],
                version=VERSION,
                any_origin=ANY_ORIGIN,
                groups=reading.groups(described),
                problems=BY_CODE.values(),
            )
    return respond(rendered["html"].replace(ANY_ORIGIN, origin(), 1))


@blueprint.get("/problems/<code>", parameters=[{"name": "code", "in": "path", "example": "hold_not_open"}])
@blueprint.doc(**_OR_A_PAGE)
@blueprint.alt_response(
    200,
    schema=ProblemPageAnswer,
    success=True,
    example={
        "code": "hold_not_open",
        "title": BY_CODE["hold_not_open"].title,
        "status": 409,
        "wire_status": 409,
        "when": guide.ADVICE["hold_not_open"].when,
        "remedy": guide.ADVICE["hold_not_open"].remedy,
        "example": guide.example_document("hold_not_open"),
    },
)
def show_problem(code: str) -> Response:
    """What a problem means, when it comes and what to do: the `type` of its documents. A browser gets a page."""
    if code not in BY_CODE:
        raise Problem("not_found", "There is no problem of this code; /docs lists them.")
    row, advice = BY_CODE[code], guide.ADVICE[code]
    told = {
        "code": code,
        "title": row.title,
        "status": row.status,
        "wire_status": row.wire_status or row.status,
        "when": advice.when,
        "remedy": advice.remedy,
        "example": guide.example_document(code),
    }
    return _negotiated("problem.html", told, calls=_calls_that_end_in(code))


def _calls_that_end_in(code: str) -> list[reading.Operation]:
    return [
        operation
        for group in reading.groups(document())
        for operation in group.operations
        if any(code in outcome.codes for outcome in operation.outcomes)
    ]


def _negotiated(template: str, told: dict[str, Any], **more: Any) -> Response:
    if wants_html():
        response = respond(render(template, told=told, **more))
    else:
        response = Response(strict_json.encode(told) + b"\n", content_type=JSON)
    response.headers["Vary"] = "Accept"
    return response
