"""Requests as they go upstream in place of the client's: to be counted, or with a lower max_tokens; and
what a count stands for."""

import json
from collections.abc import Mapping
from typing import Any

from .survey import FEATURE_TOKENS, FRAMING_TOKENS, is_call, is_image_url, too_deep
from .text_bound import bound_json

# The upstream calls its count an estimate, so a tenth is added to it, and the framing.
_COUNT_MARGIN = 10

# Fields of a request that count_tokens takes and that have an influence on the count.
COUNTED_FIELDS = ("messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")
# Fields that are no part of the prompt. What is neither among these nor counted may be, as the
# output_config of a fallback is; its bytes are added to the count.
_NOT_IN_THE_PROMPT = ("model", "max_tokens", "stream", "metadata", "service_tier", "temperature", "top_p", "top_k")


def counting_request(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The request to count_tokens for a request to messages, as `model` would read it."""
    return {"model": model, **{name: body[name] for name in COUNTED_FIELDS if name in body}}


def without_image_urls(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request with a word in place of each image that the upstream is to fetch: count_tokens refuses those.

    Raises:
        Problem: malformed_request; it is nested too deeply.
    """
    try:
        return {**body, **{name: _without_image_urls(body[name]) for name in ("messages", "system") if name in body}}
    except RecursionError as error:
        raise too_deep() from error


def _without_image_urls(value: object) -> object:
    if isinstance(value, list):
        return [_without_image_urls(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    if is_image_url(value):
        return {"type": "text", "text": "image"}
    is_text = is_call(value)
    return {name: inner if is_text and name == "input" else _without_image_urls(inner) for name, inner in value.items()}


def with_margin(counted: int, body: Mapping[str, Any]) -> int:
    """What a prompt that was counted cannot exceed."""
    rest = {name: body[name] for name in body if name not in (*COUNTED_FIELDS, *_NOT_IN_THE_PROMPT)}
    uncounted = bound_json(json.dumps(rest).encode()) + FEATURE_TOKENS if rest else 0
    return counted + -(-counted // _COUNT_MARGIN) + FRAMING_TOKENS + uncounted


def with_max_tokens(body: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """The request with every max_tokens in it lowered to this one."""
    lowered = {**body, "max_tokens": min(body["max_tokens"], max_tokens)}
    if body.get("fallbacks"):
        lowered["fallbacks"] = [
            {**entry, "max_tokens": min(entry["max_tokens"], max_tokens)}
            if entry.get("max_tokens") is not None
            else entry
            for entry in body["fallbacks"]
        ]
    return lowered
