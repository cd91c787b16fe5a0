"""What the blueprints share of reading a request: who asks, the body, the idempotency key."""

import hashlib
import json
import math
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import flask_smorest
from flask import current_app, g, request
from marshmallow import ValidationError
from webargs.flaskparser import FlaskParser

from .. import keys
from ..keys import LicenseKey
from ..problems import Problem
from ..repository import licenses
from .access import note
from .schemas import MAX_CREDITS

MEBIBYTE = 1024 * 1024
_CHUNK = 64 * 1024

# A body may take this long to begin and between two pieces, and then has to keep this pace: a
# client that sends a byte now and then would hold a thread for good.
BODY_GRACE_S = 10
LEAST_BYTES_PER_S = 32 * 1024

_LARGE_BODIES = threading.BoundedSemaphore(2)


def license_auth() -> None:
    """Requires a license key: `Authorization: Bearer KEY` or `x-api-key: KEY`.

    Whether it is a good one is found out later, by `license_key`: the shape of a request is
    judged before the license is.
    """
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not presented:
        presented = request.headers.get("x-api-key", "")
    if not presented.strip():
        raise Problem(
            "credentials_missing", "Send the license key as `Authorization: Bearer KEY` or as `x-api-key: KEY`."
        )
    g.presented_key = presented.strip()


def no_auth() -> None:
    """Open to everybody."""


SECURITY: dict[Callable[[], None], list[dict[str, list[str]]]] = {
    license_auth: [{"license_key": []}, {"x_api_key": []}],
    no_auth: [],
}


def license_key() -> LicenseKey:
    """The id and digest of the license key of this request.

    Raises:
        Problem: license_invalid, with the very words of the database for an unknown key.
    """
    key = keys.parse(g.presented_key)
    if key is None:
        raise Problem("license_invalid", "The license key is not valid.")
    note(license_id=str(key.license_id))
    return key


def fingerprint() -> bytes:
    """What an idempotency key stands for: method, path, version and beta headers, and body."""
    parts = (
        request.method,
        request.path,
        request.headers.get("anthropic-version", ""),
        request.headers.get("anthropic-beta", ""),
    )
    return hashlib.sha256("\n".join(parts).encode() + b"\n" + body()).digest()


def amount_in_range(amount: int) -> int:
    """Credits to move.

    Raises:
        Problem: amount_invalid.
    """
    if not 1 <= amount <= MAX_CREDITS:
        message = f"must be a whole number of credits from 1 to {MAX_CREDITS}"
        raise Problem("amount_invalid", f"amount {message}.", {"errors": [{"field": "amount", "message": message}]})
    return amount


def body() -> bytes:
    """The body of the current request, read once and at most as long as its blueprint takes.

    Raises:
        Problem: payload_too_large; malformed_request when it did not come whole, or too slowly.
    """
    if "body" not in g:
        limit = _blueprint().body_limit
        connection = request.environ.get("gunicorn.socket")
        try:
            if connection is not None:
                connection.settimeout(BODY_GRACE_S)
            received = _receive(limit)
        except Problem:
            raise
        except Exception as error:
            g.body_broken = True
            # A time-out, a connection that broke, a chunk of the wrong size: the server has many
            # words for what a client did not send.
            raise _malformed("The body did not arrive whole and in time.") from error
        finally:
            if connection is not None:
                connection.settimeout(None)
        if len(received) > limit:
            raise Problem("payload_too_large", f"The body may have {limit} bytes at most.", {"limit_bytes": limit})
        if request.content_length is not None and len(received) < request.content_length:
            raise _malformed(f"The body ends after {len(received)} of {request.content_length} bytes.")
        g.body = received
    result: bytes = g.body
    return result


def _receive(limit: int) -> bytes:
    """What the client sends, up to one byte more than the limit: errors.py drains what is left.

    Raises:
        Problem: license_invalid, for a body of over 64 KiB: nobody else's 32 MiB are kept and parsed.
        TimeoutError: it comes too slowly.
    """
    pieces: list[bytes] = []
    length = 0
    give_up_at = time.monotonic() + BODY_GRACE_S
    known = limit <= MEBIBYTE
    while length <= limit and (piece := request.stream.read(min(_CHUNK, limit + 1 - length))):
        pieces.append(piece)
        length += len(piece)
        if length > _CHUNK and not known:
            licenses.find(services().database, license_key())
            known = True
        if time.monotonic() > give_up_at + length / LEAST_BYTES_PER_S:
            raise TimeoutError
    return b"".join(pieces)


def _document() -> Any:
    """The body as JSON.

    Parsed JSON can take thirty times its bytes, so large bodies are parsed two at a time."""
    if len(body()) <= MEBIBYTE:
        return json.loads(body().decode("utf-8"), **_STRICTLY)
    with _LARGE_BODIES:
        return json.loads(body().decode("utf-8"), **_STRICTLY)


class _Parser(FlaskParser):
    """Reads the body strictly, and says which field is wrong, why, and what is right."""

    def load_json(self, req: Any, schema: Any) -> Any:
        if not req.mimetype == "application/json":
            raise Problem(
                "unsupported_media_type", "Send the body as JSON, with the header `Content-Type: application/json`."
            )
        try:
            document = _document()
        except UnicodeDecodeError as error:
            raise _malformed(f"The body is not valid UTF-8 (byte {error.start}).") from error
        except json.JSONDecodeError as error:
            raise _malformed(f"The body is not valid JSON (character {error.pos}: {error.msg}).") from error
        except (ValueError, RecursionError) as error:
            raise _malformed("The body is not JSON that can be read here (a number or the nesting is too big).") from (
                error
            )
        if not isinstance(document, dict):
            raise _malformed("The body must be a JSON object.")
        return document

    def handle_error(
        self, error: ValidationError, req: Any, schema: Any, *, error_status_code: Any, error_headers: Any
    ) -> NoReturn:
        errors = []
        for fields in error.normalized_messages().values():
            for name, messages in fields.items():
                errors.append({"field": str(name), "message": str(messages[0])})
        detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors)
        raise Problem("validation_failed", detail, {"errors": errors})


def _malformed(detail: str) -> Problem:
    return Problem("malformed_request", detail, {"errors": [{"field": "body", "message": detail}]})


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two amounts in one request: which one was meant is not for us to guess."""
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise _malformed(f"The field {json.dumps(name)} stands in the body twice.")
        document[name] = value
    return document


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number} is too big")
    return value


_STRICTLY: dict[str, Any] = {
    "parse_constant": _no_constant,
    "parse_float": _finite,
    "object_pairs_hook": _no_duplicates,
}


class Blueprint(flask_smorest.Blueprint):
    """A blueprint that says who may use it, and how large a body it takes.

    Args:
        auth: `license_auth` or `no_auth`; runs before every view.
        body_limit: bytes.
    """

    # webargs would ignore unknown query parameters; each schema here says what it does with them.
    ARGUMENTS_PARSER = _Parser(unknown=None)

    def __init__(self, name: str, auth: Callable[[], None], body_limit: int = MEBIBYTE) -> None:
        super().__init__(name, __name__)
        self.auth = auth
        self.body_limit = body_limit
        self.before_request(auth)


def _blueprint() -> Blueprint:
    blueprint = current_app.blueprints[request.blueprint or ""]
    assert isinstance(blueprint, Blueprint)
    return blueprint


def services() -> Any:
    """The application's `Services`."""
    return current_app.extensions["obol"]
