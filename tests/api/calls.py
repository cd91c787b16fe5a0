"""What several tests of the API ask for and are told, and how they read it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

PAST = datetime.now(UTC) - timedelta(days=1)

# A prompt, and the tokens of it that the upstream counts, with the margin.
KNOWN = "[sandbox input_tokens=30]"
COUNTED = 30 + 3 + 32
# Bytes that are much more than that.
LONG = KNOWN + "a" * 2000

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4000}}
USAGE = {"input_tokens": 3, "output_tokens": 4}

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def with_image(directives: str = KNOWN) -> list[dict[str, Any]]:
    """A prompt whose bytes tell nothing of its tokens."""
    return [{"type": "text", "text": directives}, IMAGE]


def message(**fields: Any) -> bytes:
    """A message as the upstream sends it whole; a field that is None is left out."""
    block = {"type": "text", "text": "Hi."}
    document = {"model": "m", "content": [block], "stop_reason": "end_turn", "usage": USAGE, **fields}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def event(name: str, **fields: Any) -> bytes:
    """An event as the upstream sends it."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def charged(response: Any) -> int:
    """What a response of /v1/messages says that it cost, in a header or in the comment at its end."""
    if response.content_type == "application/json":
        return int(response.headers["obol-credits-charged"])
    _, _, told = response.data.partition(b": obol-credits-charged: ")
    return int(told.split(b"\n")[0])


def bounds(response: Any) -> tuple[int, int]:
    """The credits held for a call and its max_tokens, as the headers have them."""
    return int(response.headers["obol-credits-held"]), int(response.headers["obol-max-tokens"])


def last_sent(upstream: Any) -> dict[str, Any]:
    """The body of the last request that came to the upstream."""
    document: dict[str, Any] = json.loads(upstream.received[-1].body)
    return document


def requests_in(logged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of requests among what was logged."""
    return [line for line in logged if line["event"] == "request"]
