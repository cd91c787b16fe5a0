"""What a message of the Anthropic wire tells of itself, whole or while it streams in.

Only what has to do with money is read: everything else is between the model and the client.
"""

import re
from collections.abc import Mapping
from typing import Any

from .. import strict_json
from ..problems import Problem
from .sse import Event
from .usage import merge_usage

# Events whose data is not parsed: none of it has to do with money. The last one is a block of comments.
CONTENT = ("content_block_start", "content_block_delta", "content_block_stop", "ping", "")

# Marks an event that says of itself that it is a message_… event. A text of the answer cannot hold
# this: there the quotes are escaped.
_SAYS_MESSAGE = re.compile(rb'"type"\s*:\s*"message_')


class Message:
    """`model`, `stop_reason` (None until the answer has ended), `usage` as the wire has it, and
    whether there is any output.

    Args:
        reads_text: whether the client is told the text of a stream and not its bytes; then that
            has to be readable too.
    """

    def __init__(self, reads_text: bool = False) -> None:
        self._reads_text = reads_text
        # The blocks that have begun before there was any output, unread.
        self._begun: list[bytes] = []
        self._is_metered = False
        self.model = ""
        self.stop_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self.has_output = False

    @classmethod
    def from_body(cls, body: bytes) -> tuple["Message", dict[str, Any]]:
        """A message that came in one piece, and all of it as an object.

        Raises:
            Problem: it cannot be delivered: better no answer than one that nobody can read.
        """
        message, document = cls(), parse_object(body)
        content = document.get("content")
        if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
            raise unreadable()
        message._read_head(document)
        message._read_end(document)
        if message.stop_reason is None:
            raise unreadable()
        message.has_output = any(not _is_empty(block) for block in content)
        return message, document

    def read(self, event: Event) -> None:
        """The next event of a stream. Of content only the beginning of its data is looked at, unless
        text is read.

        Raises:
            Problem: it cannot be read, or is another than its name says: clients go by either.
        """
        if event.name in CONTENT:
            if _SAYS_MESSAGE.search(event.raw):
                raise unreadable()
            self._read_content(event)
        elif event.name.startswith("message_") or event.data():
            document = parse_object(event.data())
            if document.get("type") != event.name:
                raise unreadable()
            self._read_message(event.name, document)

    def _read_content(self, event: Event) -> None:
        if event.name == "content_block_start" and not self.has_output:
            self._begun.append(event.data())
        elif event.name == "content_block_delta":
            self.has_output = True
            self._begun.clear()
            if self._reads_text:
                parse_object(event.data())

    def _read_message(self, name: str, document: dict[str, Any]) -> None:
        if name == "message_start":
            if self.model:
                # Its usage would take the place of the first one's.
                raise unreadable()
            message = _object(document.get("message"))
            self._read_head(message)
            self.has_output = bool(message.get("content"))
        elif name == "message_delta":
            self._read_end(_object(document.get("delta")))
            self.usage = merge_usage(self.usage, document.get("usage"))
            self._is_metered |= type(_object(document.get("usage") or {}).get("output_tokens")) is int
        elif name == "message_stop" and not self._is_metered:
            # message_start counts one output token, whatever follows. Without a message_delta that
            # counts them all, nobody knows how many there were, and nothing can be charged.
            self.usage = {}

    def is_empty_refusal(self) -> bool:
        """Whether the model refused before it wrote anything."""
        if self.stop_reason != "refusal" or self.has_output:
            return False
        # Looked into only now: of thousands of streams one is a refusal.
        return all(_is_empty(_begun_block(data)) for data in self._begun)

    def _read_head(self, document: Mapping[str, Any]) -> None:
        if not isinstance(document.get("model"), str):
            raise unreadable()
        self.model = document["model"]
        self.usage = merge_usage({}, document.get("usage"))

    def _read_end(self, document: Mapping[str, Any]) -> None:
        if isinstance(document.get("stop_reason"), str):
            self.stop_reason = document["stop_reason"]


def _begun_block(data: bytes) -> object:
    try:
        return parse_object(data).get("content_block")
    except Problem:
        return None


def _is_empty(block: object) -> bool:
    """Whether a content block says nothing: an empty text, or the mark of where a fallback goes on."""
    kind = block.get("type") if isinstance(block, dict) else None
    return kind == "fallback" or (kind == "text" and not block.get("text"))  # type: ignore[attr-defined]


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        Problem: upstream_error; the body is none.
    """
    try:
        return _object(strict_json.decode(body))
    except (ValueError, RecursionError) as error:
        raise unreadable() from error


def unreadable() -> Problem:
    """The answer is none that could be delivered and charged."""
    return Problem("upstream_error", "The model's answer could not be read. Nothing was charged.", retry_after_s=1)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise unreadable()
    return value
