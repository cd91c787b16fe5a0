"""What a message of the Anthropic wire tells of itself, whole or while it streams in.

Only what has to do with money is read: everything else is between the model and the client.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from . import metering
from .problems import Problem
from .sse import Event


class Message:
    """`model`, `stop_reason` (None until the answer has ended), `usage` as the wire has it, and
    whether there is any output.

    Args:
        reads_text: whether the client is told the text of a stream and not its bytes; then that
            has to be readable too.
    """

    def __init__(self, reads_text: bool = False) -> None:
        self._reads_text = reads_text
        self.model = ""
        self.stop_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self.has_output = False

    @classmethod
    def whole(cls, body: bytes) -> tuple["Message", dict[str, Any]]:
        """A message that came in one piece, and all of it as an object.

        Raises:
            Problem: it cannot be delivered: better no answer than one that nobody can read.
        """
        message, document = cls(), parsed(body)
        content = document.get("content")
        if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
            raise unreadable()
        message._read_head(document)
        message._read_end(document)
        if message.stop_reason is None:
            raise unreadable()
        # The mark of a fallback says only which model goes on.
        message.has_output = any(block.get("type") != "fallback" and block.get("text") != "" for block in content)
        return message, document

    def read(self, event: Event) -> None:
        """The next event of a stream; only `message_*` events are parsed, unless text is read.

        Raises:
            Problem: it cannot be read.
        """
        if event.name == "content_block_delta":
            self.has_output = True
            if self._reads_text:
                parsed(event.data())
        elif event.name == "message_start":
            self._read_head(_object(parsed(event.data()).get("message")))
        elif event.name == "message_delta":
            document = parsed(event.data())
            self._read_end(_object(document.get("delta")))
            self.usage = metering.merged(self.usage, document.get("usage"))

    def is_empty_refusal(self) -> bool:
        """Whether the model refused before it wrote anything."""
        return self.stop_reason == "refusal" and not self.has_output

    def _read_head(self, document: Mapping[str, Any]) -> None:
        if not isinstance(document.get("model"), str):
            raise unreadable()
        self.model = document["model"]
        self.usage = metering.merged({}, document.get("usage"))

    def _read_end(self, document: Mapping[str, Any]) -> None:
        if isinstance(document.get("stop_reason"), str):
            self.stop_reason = document["stop_reason"]


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        Problem: it is none. Python would read NaN and Infinity; other clients could not.
    """
    try:
        return _object(json.loads(body, parse_constant=_no_constant))
    except (ValueError, RecursionError) as error:
        raise unreadable() from error


def unreadable() -> Problem:
    """The answer is none that could be delivered and charged."""
    return Problem("upstream_error", "The model's answer could not be read. Nothing was charged.", retry_after_s=1)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise unreadable()
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
