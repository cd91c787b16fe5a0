"""What the tests of clients ask for, and what it costs."""

from typing import Any

MODEL = "claude-sonnet-5-5"
TEXT = "This answer comes from the sandbox, not from a model."

TOOL = {
    "name": "next_step",
    "description": "What is to be done next.",
    "input_schema": {"type": "object", "properties": {"turn": {"type": "integer"}}, "required": ["turn"]},
}


def asked(directives: str = "", **more: Any) -> dict[str, Any]:
    """Arguments for `messages.create` and the like, with directives for the sandbox."""
    prompt = f"[sandbox {directives}] Hello" if directives else "Hello"
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], **more}


def cost_of(usage: Any) -> int:
    """What a usage costs: in the price book of a new database every token is one credit."""
    figures = usage if isinstance(usage, dict) else usage.model_dump()
    classes = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(figures[name] or 0 for name in classes)


def message_calls(upstream: Any) -> int:
    """How many calls for an answer the upstream has received in this test."""
    return sum(call.path.partition("?")[0] == "/v1/messages" for call in upstream.received)
