"""/v1: the wire of the Anthropic API, so that its SDKs work with another base URL and key.

Bodies go through as they are, in both directions. Of the headers only `anthropic-version` and
`anthropic-beta` cross upstream, and none of the upstream's crosses back but those that tell
when to ask again.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response, request
from marshmallow import EXCLUDE, Schema, fields

from .. import strict_json
from ..gateway import catalog
from ..gateway.completions import Call
from ..gateway.live_hold import Receipt
from ..gateway.sse import Event
from ..gateway.survey import MAX_OUTPUT_TOKENS
from ..gateway.text_bound import bound_json
from ..http.auth import license_auth, license_key
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
from .delivery import deliver_stream, deliver_whole, described, has_client, headers
from .generate import PROBLEMS


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


blueprint = Blueprint(
    "messages", license_auth, body_limit=32 * MEBIBYTE, description="The wire of the Anthropic API, for its SDKs."
)

# What can become of a call that the upstream answers and nobody pays for.
_PASSED_ON = ("license_inactive", "license_expired", "upstream_error", "upstream_timeout")

_MODEL = {
    "type": "model",
    "id": "claude-sonnet-5-5",
    "display_name": "Claude Sonnet 5.5",
    "created_at": "2026-06-01T00:00:00Z",
}
_MODELS = {"data": [_MODEL], "has_more": False, "first_id": _MODEL["id"], "last_id": _MODEL["id"]}
_COUNTED = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "Hello"}]}
_ASKED = {"model": "claude-sonnet-5-5", "max_tokens": 200, "messages": [{"role": "user", "content": "Hello"}]}
_ANSWERED = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "sandbox/claude-sonnet-5-5",
    "content": [{"type": "text", "text": "This answer comes from the sandbox, not from a model."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 23, "output_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
}
_EVENTS = """event: message_start
data: {"type":"message_start","message":{"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message",…}}

…

event: message_stop
data: {"type":"message_stop"}

: obol-credits-charged: 33
: obol-credits-balance: 99967

"""

_HEADERS = ("anthropic-version", "anthropic-beta")
# What of the receipt stands in the comment at the end of a stream. A replay must end with the same bytes,
# and it has held nothing: so obol-credits-held is not among these.
_TOLD_AT_THE_END = ("obol-credits-charged", "obol-credits-balance")


@blueprint.post("/v1/messages")
@blueprint.doc(responses={200: described(events=_EVENTS)})
@blueprint.problems(*PROBLEMS, "cost_unbounded", "thread_unsupported_request")
@blueprint.arguments(MessagesRequest, error_status_code=400, example=_ASKED)
@blueprint.arguments(GenerationHeaders, location="headers", error_status_code=400)
@blueprint.alt_response(200, schema=AnyObject, success=True, example=_ANSWERED)
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
@blueprint.problems(*_PASSED_ON)
@blueprint.arguments(AnyObject, error_status_code=400, example=_COUNTED)
@blueprint.alt_response(200, schema=AnyObject, success=True, example={"input_tokens": 23})
def count_tokens(_document: dict[str, Any]) -> Response:
    """Count the tokens of a request, as the upstream does. Free of charge."""
    licenses.check(services().database, license_key())
    path = "/v1/messages/count_tokens" + _query()
    return _whole(services().upstream.post(path, body(), _forwarded()))


@blueprint.get("/v1/models")
@blueprint.problems(*_PASSED_ON)
@blueprint.arguments(ModelsQuery, location="query", error_status_code=400)
@blueprint.alt_response(200, schema=AnyObject, success=True, example=_MODELS)
def list_models(query: dict[str, Any]) -> Response:
    """The models that are sold: the upstream's that have a price."""
    licenses.check(services().database, license_key())

    def fetch(asked: dict[str, str]) -> bytes:
        return services().upstream.get("/v1/models" + _query(asked), _forwarded())

    listed = catalog.list_models(fetch, services().completions.is_sold, catalog.Page(**query))
    return _whole(strict_json.encode(listed))


@blueprint.get("/v1/models/<model_id>", parameters=[{"name": "model_id", "in": "path", "example": _MODEL["id"]}])
@blueprint.problems(*_PASSED_ON)
@blueprint.alt_response(200, schema=AnyObject, success=True, example=_MODEL)
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
