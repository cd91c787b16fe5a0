"""What a request to the Messages API can use at most, told from the request alone.

A token is one byte of text at least, so the bytes of the request bound the tokens of its text.
Images and documents have no such bound: the upstream counts those. What neither can bound (what
is fetched, run or remembered on the upstream's side) is refused by name, before anything is held.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Union

from ..problems import Problem

# What the upstream adds around a prompt: roles, turns and its own framing; it charges 8 to 20 tokens
# for these. With tools and the like comes a system prompt of its own (346 tokens for the dearest of
# the published ones, more for old models), and with each tool of its own making (bash, text editor,
# computer) a description of up to 735. Source: "Tool use pricing" in the documentation of the API.
_FRAMING_TOKENS = 32
_FEATURE_TOKENS = 1024
_TOOL_TOKENS = 1024
_FEATURES = ("tools", "output_config", "output_format", "thinking", "context_management")

# Of one answer, as far as can be asked for.
MAX_OUTPUT_TOKENS = 1_000_000

# Below this many output tokens an answer is hardly worth having: max_tokens is lowered to what
# the balance affords, but not below this (or what was asked for, if that is less).
LEAST_MAX_TOKENS = 256

# The upstream calls its count an estimate, so a tenth is added to it, and the framing.
_COUNT_MARGIN = 10

# Tools that the client runs, by the beginning of their type; only tokens are billed for them. The
# others run on the upstream's side, in a loop that nobody can bound beforehand, some for a fee.
_CLIENT_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "browser_", "memory_")

# Fields of the request that let the upstream read or write more than the request shows, or at
# another price; the values beside them do not.
_REFUSED_FIELDS: dict[str, tuple[object, ...]] = {
    "container": (None,),
    "mcp_servers": (None, []),
    "compaction": (None,),
    "speed": (None, "standard"),
    "inference_geo": (None, "global"),
}

# Sources of images and documents whose bytes are in the request.
_INLINE_SOURCES = ("base64", "text", "content")

# Fields of a request that count_tokens takes and that have an influence on the count.
COUNTED_FIELDS = ("messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")
# Fields that are no part of the prompt. What is neither among these nor counted may be, as the
# output_config of a fallback is; its bytes are added to the count.
_NOT_IN_THE_PROMPT = ("model", "max_tokens", "stream", "metadata", "service_tier", "temperature", "top_p", "top_k")

# Blocks that stand for something longer: a tool that is elsewhere, or what was compressed.
_STANDS_FOR_MORE = ("tool_reference", "tool_addition", "compaction", "web_search_result", "encrypted_search_result")

# Objects and lists of one request; the upstream takes 100,000 messages.
_MOST_PARTS = 1_000_000

# As many as the upstream takes.
_MOST_FALLBACKS = 3
_MODEL = re.compile("[!-~]{1,200}")

# Where a value stands in the request: under its parent, by its name or number. Most are never said,
# and in a deep request each would be long.
_Path = tuple[Union["_Path", None], str | int]


class Survey(NamedTuple):
    """What a request can use.

    Args:
        models: the one asked for, and its fallbacks in the order in which they are tried.
        input_tokens: what its prompt cannot exceed; None when only the upstream can tell.
        classes: the input classes that its prompt can be charged as.
        max_tokens: of the answer, the largest that any attempt may have.
        least_max_tokens: fewer are not worth asking for.
    """

    models: tuple[str, ...]
    input_tokens: int | None
    classes: tuple[str, ...]
    max_tokens: int
    least_max_tokens: int


def survey(body: Mapping[str, Any], text_bytes: int) -> Survey:
    """Find out what bounds a request.

    Args:
        body: the request, with a `model`, `max_tokens` and `messages` of the right types.
        text_bytes: bytes of UTF-8 that hold all its text; those of the request will do.

    Raises:
        Problem: cost_unbounded, thread_unsupported_request or validation_failed, naming the field.
    """
    _refuse_fields(body)
    tools = _list(body, "tools")
    for number, tool in enumerate(tools):
        _check_tool(f"tools.{number}", tool)
    must_be_counted = any(_is_counted_tool(tool) for tool in tools)
    for_5m = for_1h = False
    # All of it is looked at, because each part may be one to refuse.
    for path, value, is_prompt in _objects(body):
        if is_prompt:
            must_be_counted |= _has_no_bound(path, value)
        if value.get("cache_control") is not None:
            # Writes of an hour can come back without the split, and then count as ones of five minutes.
            for_5m = True
            for_1h |= _get(value["cache_control"], "ttl") not in (None, "5m")
    # Without a cache_control nothing is written.
    classes = ("input", "cache_read", *["cache_write_5m"] * for_5m, *["cache_write_1h"] * for_1h)
    tokens = text_bytes + _FRAMING_TOKENS + _TOOL_TOKENS * sum(_is_made_upstream(tool) for tool in tools)
    if any(body.get(name) for name in _FEATURES):
        tokens += _FEATURE_TOKENS
    models, max_tokens = _attempts(body)
    budget = _get(body.get("thinking"), "budget_tokens")
    least = max(LEAST_MAX_TOKENS, budget + 1 if type(budget) is int else 0)
    return Survey(models, None if must_be_counted else tokens, classes, max_tokens, min(least, max_tokens))


def _refuse_fields(body: Mapping[str, Any]) -> None:
    if body.get("thread") is not None:
        # The tool runners of the SDKs ask for one, and go on without when they are told this.
        detail = "thread is not taken: what it remembers has no bound. Send the whole conversation without it."
        raise Problem("thread_unsupported_request", detail, {"unsupported": []})
    for name, harmless in _REFUSED_FIELDS.items():
        if body.get(name) not in harmless:
            raise _unbounded(name, "is not taken: what it costs cannot be bounded. Leave it out")
    for number, edit in enumerate(_list(body, "context_management", "edits")):
        if str(_get(edit, "type")).startswith("compact"):
            raise _unbounded(f"context_management.edits.{number}", "is not taken: summaries cost more than max_tokens")


def counting_request(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The request to count_tokens for a request to messages, as `model` would read it."""
    return {"model": model, **{name: body[name] for name in COUNTED_FIELDS if name in body}}


def with_margin(counted: int, body: Mapping[str, Any]) -> int:
    """What a prompt that was counted cannot exceed."""
    rest = {name: body[name] for name in body if name not in (*COUNTED_FIELDS, *_NOT_IN_THE_PROMPT)}
    uncounted = len(json.dumps(rest)) + _FEATURE_TOKENS if rest else 0
    return counted + -(-counted // _COUNT_MARGIN) + _FRAMING_TOKENS + uncounted


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


def _attempts(body: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """The models that may run, and the largest max_tokens of any of them."""
    fallbacks = body.get("fallbacks") or []
    if not isinstance(fallbacks, list):
        raise _unbounded("fallbacks", "must name its models here: those that it stands for have other prices")
    if len(fallbacks) > _MOST_FALLBACKS:
        raise _invalid("fallbacks", f"must have {_MOST_FALLBACKS} models at most")
    models, max_tokens = [body["model"]], body["max_tokens"]
    for number, entry in enumerate(fallbacks):
        path = f"fallbacks.{number}"
        model, most = _get(entry, "model"), _get(entry, "max_tokens")
        if not isinstance(model, str) or not _MODEL.fullmatch(model):
            raise _invalid(f"{path}.model", "must be the name of a model")
        if most is not None and not (type(most) is int and 0 <= most <= MAX_OUTPUT_TOKENS):
            raise _invalid(f"{path}.max_tokens", f"must be a whole number from 0 to {MAX_OUTPUT_TOKENS}")
        if entry.get("speed") not in _REFUSED_FIELDS["speed"]:
            raise _unbounded(f"{path}.speed", "is not taken: it has another price. Leave it out")
        models.append(model)
        max_tokens = max(max_tokens, most or 0)
    return tuple(models), max_tokens


def _is_made_upstream(tool: object) -> bool:
    """Whether the description of a tool is the upstream's, and not in the request."""
    return _get(tool, "type") not in (None, "custom")


def _is_counted_tool(tool: object) -> bool:
    """Whether a tool is several (a toolset is as many as the upstream pleases), or comes later."""
    return "_toolset_" in str(_get(tool, "type")) or bool(_get(tool, "defer_loading"))


def _check_tool(path: str, tool: object) -> None:
    kind = _get(tool, "type")
    if kind is not None and not str(kind).startswith(_CLIENT_TOOLS):
        raise _unbounded(f"{path}.type", f"{str(kind)[:100]!r} is not taken: the price book has no price for it")


def _objects(body: Mapping[str, Any]) -> Iterator[tuple[_Path, Mapping[str, Any], bool]]:
    """Every object in the request, however deep: where it is, and whether it can be a content block
    of the prompt (in tool results, in documents, in the results of tools that ran on the upstream's
    side in an earlier turn). It takes memory for the depth of the request and not for its size."""
    yield (None, "request"), body, False
    levels = [_children((None, name), value, name in ("messages", "system")) for name, value in body.items()]
    seen = 0
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
            continue
        seen += 1
        if seen > _MOST_PARTS:
            raise _invalid("messages", f"must have {_MOST_PARTS} objects and lists at most")
        path, value, is_prompt = found
        if isinstance(value, Mapping):
            yield path, value, is_prompt
        levels.append(_children(path, value, is_prompt))


def _children(path: _Path, value: object, is_prompt: bool) -> Iterator[tuple[_Path, object, bool]]:
    """The objects and lists in one; for a value that is neither, none."""
    if isinstance(value, Mapping):
        # What a tool was called with is any JSON, and only text to the model.
        is_call = str(value.get("type")).endswith("tool_use")
        for name, inner in value.items():
            if isinstance(inner, (list, Mapping)):
                yield (path, name), inner, is_prompt and not (is_call and name == "input")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            if isinstance(inner, (list, Mapping)):
                yield (path, number), inner, is_prompt


def _has_no_bound(path: _Path, block: Mapping[str, Any]) -> bool:
    """Whether bytes do not bound the tokens of a block, so that the upstream has to count."""
    kind, source = block.get("type"), block.get("source")
    if kind == "container_upload":
        raise _unbounded(_dotted(path), "is not taken: nobody can tell what the file holds")
    if kind == "tool_definition":
        _check_tool(_dotted((path, "definition")), block.get("definition"))
    is_tool = kind == "tool_definition" and _is_made_upstream(block.get("definition"))
    # Documents to be cited are cut into sentences, with marks of the upstream's own.
    is_cited = bool(_get(block.get("citations"), "enabled"))
    is_longer = is_tool or is_cited or kind in _STANDS_FOR_MORE
    if not isinstance(source, Mapping):
        return is_longer
    if source.get("type") not in _INLINE_SOURCES:
        message = "must hold the data itself: what a URL or a file id stands for has no bound"
        raise _unbounded(_dotted((path, "source")), message)
    return is_longer or source.get("type") == "base64"


def _get(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _list(value: object, *names: str) -> list[Any]:
    for name in names:
        value = _get(value, name)
    return value if isinstance(value, list) else []


def _dotted(path: _Path) -> str:
    names: list[str] = []
    rest: _Path | None = path
    while rest is not None:
        rest, name = rest
        names.append(str(name))
    return ".".join(reversed(names))


def _unbounded(path: str, message: str) -> Problem:
    return Problem("cost_unbounded", f"{path} {message}.", {"errors": [{"field": path, "message": message}]})


def _invalid(path: str, message: str) -> Problem:
    return Problem("validation_failed", f"{path}: {message}", {"errors": [{"field": path, "message": message}]})
