"""How many tokens a request is, for its answer and for a token count alike."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from .directives import Directives

# What a token count is told of a request: the two would differ if anything else were counted.
_COUNTED = ("model", "messages", "system", "tools")

# What surrounds the messages.
_FRAME_TOKENS = 4

# Of about these sizes are a photograph and a short PDF; their bytes say little.
_MEDIA_TOKENS = {"image": 1500, "document": 3000}


class InputTokens(NamedTuple):
    """Tokens by class; `total` is what a token count says."""

    fresh: int
    written_5m: int
    written_1h: int
    read: int

    @property
    def total(self) -> int:
        return sum(self)


def input_tokens(body: dict[str, Any], directives: Directives) -> InputTokens:
    """Those of a request, unless a directive says otherwise; what directives add to the cache is extra."""
    return InputTokens(
        fresh=directives.number("input_tokens", _estimate(body)),
        written_5m=directives.number("cache_write_5m", 0),
        written_1h=directives.number("cache_write_1h", 0),
        read=directives.number("cache_read", 0),
    )


def is_elsewhere(body: dict[str, Any]) -> bool:
    """Whether an image or document is not in the request itself: the real API does not count those."""
    return any(block["source"].get("type") in ("url", "file") for block in _media_blocks(body["messages"]))


def _estimate(body: dict[str, Any]) -> int:
    """One token for about four bytes, as English has it, but not of base64."""
    counted = {name: body[name] for name in _COUNTED if name in body}
    # A lone surrogate is valid JSON and must not be a crash.
    size = len(json.dumps(counted, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass"))
    media = 0
    for block in _media_blocks(body["messages"]):
        media += _MEDIA_TOKENS[block["type"]]
        data = block["source"].get("data")
        size -= len(data) if isinstance(data, str) else 0
    return size // 4 + _FRAME_TOKENS + media


def _media_blocks(value: object) -> Iterator[dict[str, Any]]:
    """Images and documents at any depth, as in tool results; not those that are text themselves."""
    if isinstance(value, list):
        for item in value:
            yield from _media_blocks(item)
    elif isinstance(value, dict):
        source = value.get("source")
        of_text = isinstance(source, dict) and source.get("type") in ("text", "content")
        # A type that is no string may not be hashable.
        if isinstance(source, dict) and not of_text and str(value.get("type")) in _MEDIA_TOKENS:
            yield value
        else:
            # What a tool was called with is only text.
            is_call = str(value.get("type")).endswith("tool_use")
            for name, item in value.items():
                if not (is_call and name == "input"):
                    yield from _media_blocks(item)
