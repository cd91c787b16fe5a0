"""POST /api/v1/generate: a prompt in, a paid answer out."""

from typing import Any

from flask import Response
from marshmallow import fields, validate

from .. import strict_json
from ..gateway.completions import Call
from ..gateway.live_hold import Receipt
from ..gateway.message import Message, parse_object
from ..gateway.sse import Event
from ..gateway.streams import AnswerStream, ReplayedStream
from ..gateway.survey import MAX_OUTPUT_TOKENS
from ..gateway.text_bound import bound_text
from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.body import MEBIBYTE, fingerprint
from ..http.fields import (
    MAX_MODEL,
    REQUIRED,
    Answer,
    Flag,
    GenerationHeaders,
    Request,
    Text,
    WholeNumber,
    bounds,
    length,
)
from ..http.request_log import note
from ..http.services import services
from ..problems import Problem
from .delivery import deliver_stream, deliver_whole, described, encode_event, has_client


class GenerateRequest(Request):
    prompt = Text(required=True, error_messages=REQUIRED, validate=validate.Length(1, error="must not be empty"))
    model = Text(validate=length(1, MAX_MODEL), error_messages=REQUIRED)
    max_tokens = WholeNumber(validate=bounds(1, MAX_OUTPUT_TOKENS), error_messages=REQUIRED)
    system = Text(allow_none=True, load_default=None, validate=validate.Length(1, error="must not be empty"))
    stream = Flag(load_default=False, error_messages=REQUIRED, metadata={"description": "answer with events"})


class CreditsAnswer(Answer):
    charged = fields.Integer()
    balance = fields.Integer()


class GenerateAnswer(Answer):
    id = fields.UUID()
    model = fields.String()
    text = fields.String()
    stop_reason = fields.String(allow_none=True)
    usage = fields.Dict(metadata={"description": "as the upstream reports it: input_tokens, output_tokens, …"})
    credits = fields.Nested(CreditsAnswer)


blueprint = Blueprint("generate", license_auth, body_limit=32 * MEBIBYTE, description="A prompt in, a paid answer out.")

# What a call for an answer can end in, here and on the wire of the Messages API.
PROBLEMS = (
    "license_inactive",
    "license_expired",
    "insufficient_credits",
    "idempotency_in_progress",
    "idempotency_key_reused",
    "answer_gone",
    "model_not_allowed",
    "model_not_priced",
    "max_credits_exceeded",
    "upstream_error",
    "upstream_timeout",
)
_USAGE = {"input_tokens": 23, "output_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
_ANSWERED = {
    "id": "36b7320e-1dde-4892-944e-1e1e0cd812f6",
    "model": "sandbox/claude-sonnet-5-5",
    "text": "This answer comes from the sandbox, not from a model.",
    "stop_reason": "end_turn",
    "usage": _USAGE,
    "credits": {"charged": 33, "balance": 99967},
}
_EVENTS = """: ping

event: text
data: {"text":"This"}

event: done
data: {"id":"0618e62b-9da8-4bf9-b483-fc938adae00d","model":"sandbox/claude-sonnet-5-5","stop_reason":"max_tokens",\
"usage":{"input_tokens":23,"output_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0},\
"credits":{"charged":24,"balance":99943}}

"""


@blueprint.post("/api/v1/generate")
@blueprint.doc(responses={200: described(events=_EVENTS)})
@blueprint.problems(*PROBLEMS)
@blueprint.arguments(GenerateRequest, example={"prompt": "Hello"})
@blueprint.arguments(GenerationHeaders, location="headers")
@blueprint.alt_response(200, schema=GenerateAnswer, success=True, example=_ANSWERED)
def generate(body: dict[str, Any], headers: dict[str, Any]) -> Response:
    """Answer a prompt and charge its usage; nothing is charged when there is no answer.

    When the balance, or the header `obol-max-credits`, does not cover `max_tokens`, fewer are asked
    for; the header `obol-max-tokens` says how many. With `"stream": true` the answer comes as
    server-sent events: `text` `{"text"}`, again and again, and in the end `done`, with everything
    of the answer but its text. `error`, with a problem document, comes in place of `done` when
    there is no answer after all; nothing was charged then."""
    key = license_key()
    call = Call(
        body=_request(body),
        raw=None,
        text_bytes=bound_text(body["prompt"]) + bound_text(body["system"] or ""),
        idempotency_key=headers["idempotency_key"],
        fingerprint=fingerprint(),
        max_credits=headers["max_credits"],
        has_client=has_client,
        reads_text=True,
    )
    if body["stream"]:
        stream = services().completions.stream(key, call)
        return deliver_stream(key, stream, translate=lambda event: _translate(stream, event), error_data=_error_data)
    answer = services().completions.answer(key, call)
    note(upstream_ms=answer.upstream_ms)
    if answer.message.is_empty_refusal():
        raise _refused()
    told = _answer(answer.receipt, answer.message, _text(answer.document))
    return deliver_whole(key, answer, strict_json.encode(told) + b"\n")


def _request(body: dict[str, Any]) -> dict[str, Any]:
    request = {
        "model": body.get("model", services().default_model),
        "max_tokens": body.get("max_tokens", services().default_max_tokens),
        "messages": [{"role": "user", "content": body["prompt"]}],
    }
    if body["system"] is not None:
        request["system"] = body["system"]
    if body["stream"]:
        request["stream"] = True
    return request


def _answer(receipt: Receipt, message: Message, text: str | None) -> dict[str, Any]:
    """The answer's document; a stream's last event is the same without the text."""
    return {
        "id": str(receipt.hold_id),
        "model": message.model,
        **({} if text is None else {"text": text}),
        "stop_reason": message.stop_reason,
        "usage": message.usage,
        "credits": {"charged": receipt.charged, "balance": receipt.balance},
    }


def _text(message: dict[str, Any]) -> str:
    texts = [block.get("text") for block in message["content"] if block.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _translate(stream: AnswerStream | ReplayedStream, event: Event) -> bytes:
    if event.name == "content_block_delta":
        delta = parse_object(event.data()).get("delta")
        text = delta.get("text") if isinstance(delta, dict) else None
        if not isinstance(text, str) or not text:
            return b""
        return encode_event("text", strict_json.encode({"text": text}))
    if event.name == "ping":
        return b": ping\n\n"
    if event.name == "message_stop":
        if stream.message.is_empty_refusal():
            raise _refused()
        told = _answer(stream.receipt, stream.message, None)
        return encode_event("done", strict_json.encode(told))
    return b""


def _error_data(problem: Problem, request_id: str) -> bytes:
    return strict_json.encode(problem.document(request_id))


def _refused() -> Problem:
    return Problem("upstream_error", "The model refused to answer. Nothing was charged.")
