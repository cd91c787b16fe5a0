"""The model's API that costs nothing: bytes that were made before, from one thread without threads.

    python -m bench.upstream PORT

A request whose body asks for a stream gets EVENTS events, at the pace of its model's name (`paced` or anything
else: at once); any other a whole answer. Nothing of the request is parsed but its length.
"""

import asyncio
import json
import re
import resource
import sys

EVENTS = 40
EVENTS_PER_S = 10
INPUT_TOKENS, OUTPUT_TOKENS = 20, EVENTS

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_USAGE = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
_HEAD = {"id": "msg_bench", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5"}


def whole() -> bytes:
    """A response with one answer."""
    text = " ".join(["answer"] * OUTPUT_TOKENS)
    ended = {"stop_reason": "end_turn", "stop_sequence": None, "usage": _USAGE}
    body = json.dumps(_HEAD | {"content": [{"type": "text", "text": text}]} | ended).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_bench\r\n"
        b"content-length: %d\r\n\r\n" % len(body) + body
    )


def events(tokens: int) -> list[bytes]:
    """The events of an answer: its beginning, its tokens, its end."""

    def event(name: str, **fields: object) -> bytes:
        return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()

    started = _HEAD | {"content": [], "stop_reason": None, "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1}}
    delta = event("content_block_delta", index=0, delta={"type": "text_delta", "text": " answer"})
    return [
        event("message_start", message=started)
        + event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *[delta] * tokens,
        event("content_block_stop", index=0)
        + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": tokens})
        + event("message_stop"),
    ]


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)
_WHOLE = whole()
_BEGIN, *_DELTAS, _END = [_chunk(piece) for piece in events(EVENTS)]
_LAST = b"0\r\n\r\n"
_AT_ONCE = b"".join([_STREAM_HEAD, _BEGIN, *_DELTAS, _END, _LAST])


# LiteLLM says also when it wants none.
_STREAM = re.compile(rb'"stream": ?true')


class Upstream(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._received, 0, end)
            end += 4 + (int(length[1]) if length else 0)
            if len(self._received) < end:
                return
            asked, self._received = self._received[:end], self._received[end:]
            self._answer(asked)

    def _answer(self, asked: bytes) -> None:
        if not _STREAM.search(asked):
            self._transport.write(_WHOLE)
        elif b'"claude-paced"' not in asked:
            self._transport.write(_AT_ONCE)
        else:
            self._transport.write(_STREAM_HEAD + _BEGIN)
            self._loop = asyncio.get_running_loop()
            self._next(0, self._loop.time())

    def _next(self, number: int, at: float) -> None:
        if number == EVENTS:
            self._transport.write(_END + _LAST)
            return
        self._transport.write(_DELTAS[number])
        # By the clock and not by the event before: one that is late delays no other.
        self._loop.call_at(at + 1 / EVENTS_PER_S, self._next, number + 1, at + 1 / EVENTS_PER_S)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(_serve(int(sys.argv[1])))
