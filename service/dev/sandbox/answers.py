"""What the sandbox answers: planned once, then sent whole or as events that say the same."""

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from .counting import InputTokens, input_tokens
from .directives import Directives

_WORDS = ["This", "answer", "comes", "from", "the", "sandbox,", "not", "from", "a", "model."]

TOOL_TOKENS = 5


@dataclass(frozen=True)
class _Words:
    """So many canned words, made while they are sent: a hundred thousand need no memory."""

    count: int

    def __iter__(self) -> Iterator[str]:
        for i in range(self.count):
            yield f"{' ' if i else ''}{_WORDS[i % len(_WORDS)]}"


class Part(NamedTuple):
    """What fills one field of a block: the deltas' type, their field, and one text for each."""

    delta_type: str
    field: str
    pieces: Iterable[str]


class Block(NamedTuple):
    """A content block: as it starts, and what fills it."""

    start: dict[str, Any]
    parts: tuple[Part, ...] = ()

    def whole(self) -> dict[str, Any]:
        """What a client has that puts all deltas together."""
        filled = {part.field: "".join(part.pieces) for part in self.parts}
        if "partial_json" in filled:
            filled = {"input": json.loads(filled["partial_json"])}
        return {**self.start, **filled}


class Answer(NamedTuple):
    """A message before it is sent; without `usage` when none is to be told."""

    id: str
    model: str
    blocks: list[Block]
    stop_reason: str
    usage: dict[str, Any] | None

    def message(self) -> dict[str, Any]:
        """As a JSON answer has it."""
        usage = {} if self.usage is None else {"usage": self.usage}
        return self.head([block.whole() for block in self.blocks], self.stop_reason) | usage

    def head(self, content: list[dict[str, Any]], stop_reason: str | None) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
        }


def make(body: dict[str, Any], directives: Directives) -> Answer:
    """The answer to a request.

    Raises:
        KeyError, TypeError, ValueError: the body is no message request.
    """
    requested, max_tokens = str(body["model"]), max(0, int(body["max_tokens"]))
    declined = "decline" in directives or "decline_after" in directives
    fallback = _first_fallback(body) if declined else None
    refused = "refusal" in directives or (declined and fallback is None)
    blocks, output, stop_reason = _content(body, max_tokens, directives)
    tokens = input_tokens(body, directives)
    usage = _usage(tokens, output, "unsplit" not in directives)
    if fallback is not None:
        hop = {"type": "fallback", "from": {"model": requested}, "to": {"model": fallback}}
        blocks.insert(0, Block(hop))
        first = _usage(InputTokens(tokens.fresh, 0, 0, 0), directives.number("decline_after", 0), split=False)
        iterations = [
            {"type": "message", "model": requested, **first},
            {"type": "fallback_message", "model": fallback, **usage},
        ]
        usage["iterations"] = iterations
    return Answer(
        id=f"msg_sandbox_{secrets.token_hex(8)}",
        model=f"sandbox/{fallback or requested}",
        blocks=[] if refused else blocks,
        stop_reason="refusal" if refused or "late_refusal" in directives else stop_reason,
        usage=None if "no_usage" in directives else usage,
    )


def _content(body: dict[str, Any], max_tokens: int, directives: Directives) -> tuple[list[Block], int, str]:
    """The blocks, the output tokens that they take, and why they end."""
    thinking_asked, words_asked = directives.number("thinking", 0), _words_asked(directives)
    thinking = min(thinking_asked, max_tokens)
    room = max_tokens - thinking
    words = min(words_asked, room)
    blocks = [Block({"type": "text", "text": ""}, (Part("text_delta", "text", _Words(words)),))]
    if thinking:
        blocks.insert(0, _thinking(thinking))
    call = _tool_call(body, directives)
    cut = thinking_asked + words_asked + (TOOL_TOKENS if call else 0) > max_tokens
    if call is None or cut:
        return blocks, thinking + words, "max_tokens" if cut else "end_turn"
    return [*blocks, call], thinking + words + TOOL_TOKENS, "tool_use"


def _words_asked(directives: Directives) -> int:
    asked = directives.position("output_tokens")
    return len(_WORDS) if asked is None else asked


def _thinking(tokens: int) -> Block:
    thought = Part("thinking_delta", "thinking", _Words(tokens))
    signature = Part("signature_delta", "signature", ("c2FuZGJveCBzaWduYXR1cmU=",))
    return Block({"type": "thinking", "thinking": "", "signature": ""}, (thought, signature))


def _tool_call(body: dict[str, Any], directives: Directives) -> Block | None:
    """A call of the first tool, for as long as fewer results came than turns were asked for."""
    tools = body.get("tools")
    results = _tool_results(body["messages"])
    if not tools or results >= directives.number("tool_turns", 0):
        return None
    turn = results + 1
    # The id is told by the turn, so that a stream says the same as a whole answer.
    start = {"type": "tool_use", "id": f"toolu_sandbox_{turn}", "name": str(tools[0]["name"]), "input": {}}
    return Block(start, (Part("input_json_delta", "partial_json", ('{"turn":', f" {turn}}}")),))


def _tool_results(messages: Any) -> int:
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    return sum(isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks)


def _first_fallback(body: dict[str, Any]) -> str | None:
    fallbacks = body.get("fallbacks")
    return str(fallbacks[0]["model"]) if isinstance(fallbacks, list) and fallbacks else None


def _usage(tokens: InputTokens, output: int, split: bool) -> dict[str, Any]:
    """As the wire has it; with the split of what was written only if there is something."""
    written = tokens.written_5m + tokens.written_1h
    usage: dict[str, Any] = {
        "input_tokens": tokens.fresh,
        "output_tokens": output,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": tokens.read,
    }
    if written and split:
        usage["cache_creation"] = {
            "ephemeral_5m_input_tokens": tokens.written_5m,
            "ephemeral_1h_input_tokens": tokens.written_1h,
        }
    return usage
