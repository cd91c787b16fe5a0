"""The body of a request: received at a pace, bounded, and read strictly as JSON."""

import hashlib
import json
import math
import threading
import time
from functools import partial
from typing import IO, Any
from uuid import UUID

from flask import Flask, Request, Response, after_this_request, g, request

from .. import memory, strict_json
from ..problems import Problem
from ..repository import licenses
from .auth import license_key
from .budget import Budget
from .services import services

MEBIBYTE = 1024 * 1024
_CHUNK = 64 * 1024

# A body may take this long to begin and between two pieces, and then has to keep this pace: a
# client that sends a byte now and then would hold a thread for good.
BODY_GRACE_S = 10
LEAST_BYTES_PER_S = 32 * 1024

# Parsed JSON can take thirty times its bytes, so large bodies are parsed two at a time; and of values (a
# list, an object, a number, a string) one can have as many as the 100,000 messages that the upstream takes
# can need. Text has one value for all its bytes.
_LARGE_BODIES = threading.BoundedSemaphore(2)
MOST_VALUES = 500_000
MOST_VALUES_OF_SMALL = 10_000

# A client may take minutes to send 32 MiB, and a license may have hundreds of threads. So the bodies of over 64 KiB
# have so many bytes together in a worker, from when they come until their calls are answered, or begin to be.
MOST_BYTES = 256 * MEBIBYTE
_BUDGET = Budget(MOST_BYTES)


def init(app: Flask) -> None:
    """Give the room of a large body back, whatever comes of its request."""
    app.teardown_request(_give_back)


def limit_body(limit: int) -> None:
    """How many bytes the body of the current request may have."""
    g.body_limit = limit


def body() -> bytes:
    """The body of the current request, read once.

    Raises:
        Problem: payload_too_large; malformed_request when it did not come whole, or too slowly; or see `_receive`.
    """
    known: Any = g._get_current_object()
    if "body" not in known:
        known.body = _whole(request._get_current_object(), known.body_limit)  # type: ignore[attr-defined]
        if len(known.body) > MEBIBYTE:
            after_this_request(_forget_whole)
    result: bytes = known.body
    return result


def fingerprint() -> bytes:
    """What an idempotency key stands for: method, path, version and beta headers, and body."""
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    named = asked.environ.get
    parts = (asked.method, asked.path, named("HTTP_ANTHROPIC_VERSION", ""), named("HTTP_ANTHROPIC_BETA", ""))
    return hashlib.sha256("\n".join(parts).encode() + b"\n" + body()).digest()


def json_object() -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        Problem: unsupported_media_type; malformed_request, which says where it is wrong, or that it holds
            too many values.
    """
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    if asked.mimetype != "application/json":
        raise Problem(
            "unsupported_media_type", "Send the body as JSON, with the header `Content-Type: application/json`."
        )
    received = body()
    _count_values(received)
    try:
        document = _decode(received)
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not valid UTF-8 (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise _malformed(f"The body is not valid JSON (character {error.pos}: {error.msg}).") from error
    except (ValueError, RecursionError) as error:
        raise _malformed("The body is not JSON that can be read here (a number or the nesting is too big).") from error
    if not isinstance(document, dict):
        raise _malformed("The body must be a JSON object.")
    return document


def _forget_whole(response: Response) -> Response:
    """Have what was made of a large body that is refused collected when it is over. The error refers to itself, and to
    all of it, and the collector by itself may come after many more such requests."""
    if response.status_code >= 400:
        response.call_on_close(partial(memory.leave_behind, len(g.body)))
    return response


def _whole(asked: Request, limit: int) -> bytes:
    """The body of a request, as `body` gives it."""
    connection = asked.environ.get("gunicorn.socket")
    try:
        if connection is not None:
            connection.settimeout(BODY_GRACE_S)
        received = _receive(asked.stream, limit)
    except Problem:
        raise
    except Exception as error:
        # A time-out, a connection that broke, a chunk of the wrong size: the server has many
        # words for what a client did not send.
        raise _malformed("The body did not arrive whole and in time.") from error
    finally:
        if connection is not None:
            connection.settimeout(None)
    if len(received) > limit:
        raise Problem("payload_too_large", f"The body may have {limit} bytes at most.", {"limit_bytes": limit})
    length = asked.content_length
    if length is not None and len(received) < length:
        raise _malformed(f"The body ends after {len(received)} of {length} bytes.")
    return received


def _receive(stream: IO[bytes], limit: int) -> bytes:
    """What the client sends, up to one byte more than the limit: service.worker drains what is left.

    Raises:
        Problem: license_* or insufficient_credits, for a body of over 64 KiB that could lead to nothing:
            nobody's 32 MiB are kept and parsed for a refusal. over_capacity, where too many others are in hand.
        TimeoutError: it comes too slowly.
    """
    pieces: list[bytes] = []
    length = 0
    give_up_at = time.monotonic() + BODY_GRACE_S
    is_welcome = False
    while length <= limit and (piece := stream.read(min(_CHUNK, limit + 1 - length))):
        pieces.append(piece)
        length += len(piece)
        if length > _CHUNK:
            if not is_welcome:
                _welcome()
                is_welcome = True
            _take(length)
        if time.monotonic() > give_up_at + length / LEAST_BYTES_PER_S:
            raise TimeoutError
    return b"".join(pieces)


def _take(length: int) -> None:
    """Have room for so much of the current request's body, before more of it is read. Only what has come is counted:
    who said that much will come would take the room of others by words alone."""
    _BUDGET.take(_owner(), length - g.get("body_room", 0))
    g.body_room = length


def _give_back(_error: BaseException | None) -> None:
    known: Any = g._get_current_object()
    if "body_room" in known:
        _BUDGET.give_back(_owner(), known.pop("body_room"))


def _owner() -> UUID | None:
    """The license of the current request, which the database knows by then; None for an operator, or Stripe."""
    key = g.get("license_key")
    return None if key is None else key.license_id


def _welcome() -> None:
    """Refuse, by its license, a request that can only be refused.

    Raises:
        Problem: license_* or insufficient_credits.
    """
    if "license_key" not in g:
        # An operator, whose token was looked at before; or Stripe, whose signature is of the whole.
        return
    database, key = services().database, license_key()
    license = licenses.find(database, key)
    # An answer that is paid for is for an expired license, too. So is the end of a hold, for which
    # credits are set aside.
    if "Idempotency-Key" in request.headers or "hold_id" in (request.view_args or {}):
        return
    if license.status != "active":
        # The database says why.
        licenses.check(database, key)
    if license.available <= 0:
        raise Problem(
            "insufficient_credits",
            f"{license.available} credits are available. Have credits granted.",
            {"required": 1, "available": license.available},
        )


def _count_values(received: bytes) -> None:
    """Refuse a body of which too many objects would be made, without making them.

    Raises:
        Problem: malformed_request.
    """
    most = MOST_VALUES_OF_SMALL if g.body_limit <= MEBIBYTE else MOST_VALUES
    # Each value but the first of a list or an object comes after a comma.
    if _marks(received) <= most:
        return
    # Many of these may stand in text. What is left of quotes without the escaped ones begins and ends text.
    parts = received.replace(b"\\\\", b"").replace(b'\\"', b"")
    if parts.count(b'"') > 4 * most or sum(map(_marks, parts.split(b'"')[::2])) > most:
        raise _malformed(f"The body may hold {most} values at most: lists, objects and what is in them.")


def _marks(json: bytes) -> int:
    return json.count(b"[") + json.count(b"{") + json.count(b",")


def _decode(received: bytes) -> Any:
    if len(received) <= MEBIBYTE:
        return strict_json.decode(received, parse_float=_finite, object_pairs_hook=_refuse_duplicates)
    with _LARGE_BODIES:
        return strict_json.decode(received, parse_float=_finite, object_pairs_hook=_refuse_duplicates)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
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


def _malformed(detail: str) -> Problem:
    return Problem("malformed_request", detail, {"errors": [{"field": "body", "message": detail}]})
