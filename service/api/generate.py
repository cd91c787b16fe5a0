"""POST /api/v1/generate: a prompt in, a paid answer out."""

import socket
from collections.abc import Iterator
from typing import Any

from flask import Response, json, request

from ..completions import Answer, Call
from ..keys import LicenseKey
from .access import note
from .requests import MEBIBYTE, SECURITY, Blueprint, fingerprint, license_auth, license_key, services
from .schemas import GenerateAnswer, GenerateRequest, IdempotencyHeaders

blueprint = Blueprint("generate", license_auth, body_limit=32 * MEBIBYTE)


@blueprint.post("/api/v1/generate")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.arguments(GenerateRequest)
@blueprint.arguments(IdempotencyHeaders, location="headers")
@blueprint.alt_response(200, schema=GenerateAnswer, success=True)
def generate(body: dict[str, Any], headers: dict[str, Any]) -> Response:
    """Answer a prompt and charge its usage; nothing is charged when there is no answer.

    When the balance does not cover `max_tokens`, fewer are asked for; the header
    `obol-max-tokens` says how many."""
    key = license_key()
    call = Call(
        prompt=body["prompt"],
        system=body["system"],
        model=body.get("model", services().default_model),
        max_tokens=body.get("max_tokens", services().default_max_tokens),
        idempotency_key=headers["idempotency_key"],
        fingerprint=fingerprint(),
    )
    answer = services().completions.generate(key, call)
    note(
        credits=0 if answer.held is None else answer.charged,
        replayed=answer.held is None,
        hold_id=str(answer.hold_id),
        model=answer.message["model"],
        upstream_ms=answer.upstream_ms,
    )
    return _respond(key, answer)


def _respond(key: LicenseKey, answer: Answer) -> Response:
    leases = services().leases
    document = answer.message | {"credits": {"charged": answer.charged, "balance": answer.balance}}
    encoded = (json.dumps(document, separators=(",", ":")) + "\n").encode()

    connection = request.environ.get("gunicorn.socket")

    def body() -> Iterator[bytes]:
        # A write to a client that has hung up still succeeds: the kernel takes the bytes.
        gone = connection is not None and _has_hung_up(connection)
        yield encoded
        # The server asks for more only when the chunk before was written to the client.
        if not gone:
            leases.delivered(key.license_id, answer.hold_id)

    response = Response(body(), content_type="application/json")
    response.content_length = len(encoded)
    if answer.max_tokens is not None:
        response.headers["obol-max-tokens"] = str(answer.max_tokens)
        response.headers["obol-credits-held"] = str(answer.held)
    response.headers["obol-credits-charged"] = str(answer.charged)
    response.headers["obol-credits-balance"] = str(answer.balance)
    return response


def _has_hung_up(connection: socket.socket) -> bool:
    """Whether the client has closed its side: its end of the stream is there to be read."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
