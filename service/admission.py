"""What a request to the Messages API can cost at most, told from the request alone.

A token is one byte of text at least, so the bytes of the request bound the tokens of its text.
Images and documents have no such bound: the upstream counts those. What neither can bound (what
is fetched, run or remembered on the upstream's side) is refused by name, before anything is held.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Union

from .pricing import LEAST_MAX_TOKENS
from .problems import Problem

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
_COUNTED_FIELDS = ("messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")

# Fallback models of one request; the upstream takes three.
_MOST_FALLBACKS = 10
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
    tools = _list(body, "tools")
    for number, tool in enumerate(tools):
        _check_tool(f"tools.{number}", tool)
    made_upstream = sum(_get(tool, "type") not in (None, "custom") for tool in tools)
    tokens = text_bytes + _FRAMING_TOKENS + _TOOL_TOKENS * made_upstream
    if any(body.get(name) for name in _FEATURES):
        tokens += _FEATURE_TOKENS
    # All of them are looked at, because each may be one to refuse.
    must_be_counted = [_has_no_bound(path, block) for path, block in _blocks(body)]
    models, max_tokens = _attempts(body)
    budget = _get(body.get("thinking"), "budget_tokens")
    least = max(LEAST_MAX_TOKENS, budget + 1 if type(budget) is int else 0)
    return Survey(models, None if any(must_be_counted) else tokens, _classes(body), max_tokens, min(least, max_tokens))


def counting_request(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The request to count_tokens for a request to messages, as `model` would read it."""
    return {"model": model, **{name: body[name] for name in _COUNTED_FIELDS if name in body}}


def with_margin(counted: int) -> int:
    """What a prompt that was counted cannot exceed."""
    return counted + -(-counted // _COUNT_MARGIN) + _FRAMING_TOKENS


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


def _check_tool(path: str, tool: object) -> None:
    kind = _get(tool, "type")
    if kind is not None and not str(kind).startswith(_CLIENT_TOOLS):
        raise _unbounded(f"{path}.type", f"{str(kind)[:100]!r} is not taken: the price book has no price for it")


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[_Path, Mapping[str, Any]]]:
    """Everything in the prompt that can be a content block, however deep: in tool results, in
    documents, in the results of tools that ran on the upstream's side in an earlier turn."""
    found: list[tuple[_Path, object]] = [((None, name), body.get(name)) for name in ("messages", "system")]
    while found:
        path, value = found.pop()
        if isinstance(value, list):
            found += [((path, number), inner) for number, inner in enumerate(value)]
        elif isinstance(value, Mapping):
            yield path, value
            # What a tool was called with is any JSON, and only text to the model.
            is_call = str(value.get("type")).endswith("tool_use")
            found += [((path, name), inner) for name, inner in value.items() if not (is_call and name == "input")]


def _has_no_bound(path: _Path, block: Mapping[str, Any]) -> bool:
    """Whether bytes do not bound the tokens of a block, so that the upstream has to count."""
    kind, source = block.get("type"), block.get("source")
    if kind == "container_upload":
        raise _unbounded(_dotted(path), "is not taken: nobody can tell what the file holds")
    if kind == "tool_definition":
        _check_tool(_dotted((path, "definition")), block.get("definition"))
    # Documents to be cited are cut into sentences, with marks of the upstream's own.
    cited = bool(_get(block.get("citations"), "enabled"))
    if not isinstance(source, Mapping):
        return cited
    if source.get("type") not in _INLINE_SOURCES:
        message = "must hold the data itself: what a URL or a file id stands for has no bound"
        raise _unbounded(_dotted((path, "source")), message)
    return cited or source.get("type") == "base64"


def _classes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The input classes that can be charged: without a cache_control nothing is written."""
    lifetimes: set[str] = set()
    found: list[object] = [body]
    while found:
        value = found.pop()
        if isinstance(value, Mapping):
            if value.get("cache_control") is not None:
                lifetimes.add("1h" if _get(value["cache_control"], "ttl") not in (None, "5m") else "5m")
            found += value.values()
        elif isinstance(value, list):
            found += value
    # Writes of an hour can come back without the split, and then count as ones of five minutes.
    written = {"1h": ("cache_write_5m", "cache_write_1h"), "5m": ("cache_write_5m",)}
    return ("input", "cache_read", *written.get(min(lifetimes, default=""), ()))


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
