"""/v1: the wire of the Anthropic API, so that its SDKs work with another base URL and key.

Bodies go through as they are, in both directions. Of the headers only `anthropic-version` and
`anthropic-beta` cross upstream, and none of the upstream's crosses back but those that tell
when to ask again.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response, request
from marshmallow import EXCLUDE, Schema, fields, validate

from .. import strict_json
from ..gateway import catalog
from ..gateway.completions import Call
from ..gateway.live_hold import Receipt
from ..gateway.sse import Event
from ..gateway.survey import MAX_OUTPUT_TOKENS
from ..gateway.text_bound import bound_json
from ..http.auth import SECURITY, license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.body import MEBIBYTE, body, fingerprint
from ..http.errors import wire_document
from ..http.fields import (
    MAX_MODEL,
    REQUIRED,
    AnyObject,
    Flag,
    GenerationHeaders,
    HeaderNumber,
    Text,
    WholeNumber,
    bounds,
    length,
)
from ..http.request_log import note
from ..http.services import services
from ..problems import Problem
from ..repository import licenses
from .delivery import EVENTS, deliver_stream, deliver_whole, has_client, headers


class MessagesRequest(AnyObject):
    """A request to the Messages API: only what its cost depends on is looked at."""

    model = Text(required=True, validate=length(1, MAX_MODEL), error_messages=REQUIRED)
    max_tokens = WholeNumber(required=True, validate=bounds(0, MAX_OUTPUT_TOKENS), error_messages=REQUIRED)
    messages = fields.List(fields.Raw(), required=True, error_messages={**REQUIRED, "invalid": "must be a list"})
    stream = Flag(allow_none=True)


class ModelsQuery(Schema):
    class Meta:
        unknown = EXCLUDE

    limit = HeaderNumber(validate=bounds(1, catalog.MOST_LISTED))
    after_id = fields.String()
    before_id = fields.String()


class WireErrorDetails(AnyObject):
    error_code = fields.String(metadata={"description": "stable; branch on this"})


class WireErrorBody(Schema):
    type = fields.String()
    message = fields.String()
    details = fields.Nested(WireErrorDetails)


class WireError(Schema):
    """An error as the Messages API has it."""

    type = fields.String(validate=validate.Equal("error"))
    error = fields.Nested(WireErrorBody)
    request_id = fields.String()


blueprint = Blueprint("messages", license_auth, body_limit=32 * MEBIBYTE)

_ERROR = {"description": "An error", "content": {"application/json": {"schema": WireError}}}
_ERRORS = {400: _ERROR, "default": _ERROR}
_DOC: dict[str, Any] = {"security": SECURITY[license_auth], "responses": _ERRORS}

_HEADERS = ("anthropic-version", "anthropic-beta")
# What of the receipt stands in the comment at the end of a stream. A replay must end with the same bytes,
# and it has held nothing: so obol-credits-held is not among these.
_TOLD_AT_THE_END = ("obol-credits-charged", "obol-credits-balance")


@blueprint.post("/v1/messages")
@blueprint.doc(security=SECURITY[license_auth], responses={200: EVENTS, 422: _ERROR, **_ERRORS})
@blueprint.arguments(MessagesRequest, error_status_code=400)
@blueprint.arguments(GenerationHeaders, location="headers", error_status_code=400)
@blueprint.alt_response(200, schema=AnyObject, success=True)
def create_message(document: dict[str, Any], given: dict[str, Any]) -> Response:
    """Answer a request to the Messages API, whole or as a stream, and charge its usage.

    Unknown fields go through. `obol-credits-*` headers tell what was charged; for a stream, a
    comment at its end does. What cannot be bounded in cost is refused by name."""
    key = license_key()
    call = Call(
        body=document,
        raw=body(),
        text_bytes=bound_json(body()),
        idempotency_key=given["idempotency_key"],
        fingerprint=fingerprint(),
        max_credits=given["max_credits"],
        has_client=has_client,
        query=_query(),
        headers=_forwarded(),
    )
    if document.get("stream"):
        stream = services().completions.stream(key, call)
        return deliver_stream(key, stream, translate=_translator(stream.receipt), error_data=_error_data)
    answer = services().completions.answer(key, call)
    note(upstream_ms=answer.upstream_ms)
    return deliver_whole(key, answer, answer.body)


@blueprint.post("/v1/messages/count_tokens")
@blueprint.doc(**_DOC)
@blueprint.arguments(AnyObject, error_status_code=400)
@blueprint.alt_response(200, schema=AnyObject, success=True)
def count_tokens(_document: dict[str, Any]) -> Response:
    """Count the tokens of a request, as the upstream does. Free of charge."""
    licenses.check(services().database, license_key())
    path = "/v1/messages/count_tokens" + _query()
    return _whole(services().upstream.post(path, body(), _forwarded()))


@blueprint.get("/v1/models")
@blueprint.doc(**_DOC)
@blueprint.arguments(ModelsQuery, location="query", error_status_code=400)
@blueprint.alt_response(200, schema=AnyObject, success=True)
def list_models(query: dict[str, Any]) -> Response:
    """The models that are sold: the upstream's that have a price."""
    licenses.check(services().database, license_key())

    def fetch(asked: dict[str, str]) -> bytes:
        return services().upstream.get("/v1/models" + _query(asked), _forwarded())

    listed = catalog.list_models(fetch, services().completions.is_sold, catalog.Page(**query))
    return _whole(strict_json.encode(listed))


@blueprint.get("/v1/models/<model_id>")
@blueprint.doc(**_DOC)
@blueprint.alt_response(200, schema=AnyObject, success=True)
def show_model(model_id: str) -> Response:
    """One of the models that are sold."""
    licenses.check(services().database, license_key())
    # Of nothing but dots the client's HTTP library would make steps in a path of ours.
    if not model_id.strip(".") or not services().completions.is_sold(model_id):
        raise Problem("not_found", "There is no such model.")
    return _whole(services().upstream.get(f"/v1/models/{quote(model_id, safe='')}" + _query(), _forwarded()))


def _whole(answer: bytes) -> Response:
    return Response(answer, content_type="application/json")


def _forwarded() -> dict[str, str]:
    return {name: request.headers[name] for name in _HEADERS if name in request.headers}


def _query(more: dict[str, str] | None = None) -> str:
    """To ask the upstream with: of the client's only `beta` crosses."""
    given = [*(more or {}).items(), *(("beta", value) for value in request.args.getlist("beta"))]
    return f"?{urlencode(given)}" if given else ""


def _translator(receipt: Receipt) -> Callable[[Event], bytes]:
    def translate(event: Event) -> bytes:
        """The upstream's bytes, and in the end what they cost as a comment, which clients skip."""
        if event.name != "message_stop":
            return event.raw
        told = [f": {name}: {value}\n" for name, value in headers(receipt).items() if name in _TOLD_AT_THE_END]
        return event.raw + "".join([*told, "\n"]).encode()

    return translate


def _error_data(problem: Problem, request_id: str) -> bytes:
    if problem.reply is not None and problem.reply.body:
        return problem.reply.body
    return strict_json.encode(wire_document(problem, request_id))
