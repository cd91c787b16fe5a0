"""An answer as the events of a stream, in the order of the real one."""

import json
from collections.abc import Iterator
from typing import Any

from .answers import Answer
from .directives import Directives

# What a stream can do instead of its next event.
_BREAKS = ("cut_after", "end_after", "error_after", "stall_after")


# Made once: json.dumps would make another for each of a hundred thousand events.
_compact = json.JSONEncoder(separators=(",", ":")).encode


def _event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {_compact({'type': name, **data})}\n\n".encode()


PING = _event("ping")
MESSAGE_STOP = _event("message_stop")
OVERLOADED = _event("error", error={"type": "overloaded_error", "message": "The prompt asked for this error."})


def breaks_at(directives: Directives) -> dict[int, str]:
    """After how many events a stream is to break, and how."""
    return {directives.number(name, 0): name for name in _BREAKS if name in directives}


def of(answer: Answer, directives: Directives) -> Iterator[bytes]:
    """The events of an answer, each as its bytes, made one by one."""
    events = _events(answer, repeat_delta="repeat_delta" in directives)
    return _with_future(events) if "future" in directives else events


def _events(answer: Answer, repeat_delta: bool) -> Iterator[bytes]:
    head = answer.head([], None)
    if answer.usage is not None:
        at_start = {name: value for name, value in answer.usage.items() if name != "iterations"}
        head["usage"] = at_start | {"output_tokens": 1}
    yield _event("message_start", message=head)
    for index, block in enumerate(answer.blocks):
        yield _event("content_block_start", index=index, content_block=block.start)
        if index == 0:
            yield PING
        for part in block.parts:
            for piece in part.pieces:
                yield _event("content_block_delta", index=index, delta={"type": part.delta_type, part.field: piece})
        yield _event("content_block_stop", index=index)
    yield from _message_deltas(answer, repeat_delta)
    yield MESSAGE_STOP


def _message_deltas(answer: Answer, repeat: bool) -> Iterator[bytes]:
    """The end of the message; its counts are totals, and do not add up with earlier ones."""
    ending = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    going_on = {"stop_reason": None, "stop_sequence": None}
    if answer.usage is None:
        for delta in ([going_on, going_on] if repeat else []) + [ending]:
            yield _event("message_delta", delta=delta)
        return
    # As of the real one, how long the written ones stay in the cache stands in message_start only.
    usage = {name: value for name, value in answer.usage.items() if name != "cache_creation"}
    if repeat:
        output = answer.usage["output_tokens"]
        yield _event("message_delta", delta=going_on, usage={"output_tokens": output // 3})
        so_far = {name: value for name, value in usage.items() if name != "iterations"}
        yield _event("message_delta", delta=going_on, usage=so_far | {"output_tokens": output * 2 // 3})
    yield _event("message_delta", delta=ending, usage=usage)


def _with_future(events: Iterator[bytes]) -> Iterator[bytes]:
    """Between the events what a client must skip, and another way to end a line that it must take."""
    for event in events:
        yield event
        if event == PING:
            yield _event("content_block_future", index=0, note="This event is not in the documentation.")
            yield b": note\n\n"
            yield next(events).replace(b"\n", b"\r\n")
