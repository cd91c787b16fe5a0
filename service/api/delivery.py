"""Answers on their way to the client: what they cost, and whether their end was written."""

import select
import socket
from collections.abc import Callable, Iterator

from flask import Response, g, request

from ..gateway.completions import Answer
from ..gateway.live_hold import Receipt
from ..gateway.sse import Event
from ..gateway.streams import AnswerStream, ReplayedStream
from ..http.errors import unexpected
from ..http.request_log import request_id
from ..http.services import services
from ..keys import KeyDigest
from ..problems import Problem

# A client that takes nothing for so long is gone; its answer is settled without it.
WRITE_STALL_S = 60

# The time limit is for one write as a whole: a slow client that goes on reading must get through it.
_LONGEST_WRITE = 64 * 1024


_EVENT_STREAM = "text/event-stream"
# For the description of a call that can also answer with events.
EVENTS = {"content": {_EVENT_STREAM: {"schema": {"type": "string"}}}}


def deliver_whole(key: KeyDigest, answer: Answer, body: bytes) -> Response:
    """A response of one JSON document that is paid for."""
    response = _deliver(key, answer, iter([body]), content_type="application/json")
    response.content_length = len(body)
    return response


def deliver_stream(
    key: KeyDigest,
    stream: AnswerStream | ReplayedStream,
    *,
    translate: Callable[[Event], bytes],
    error_data: Callable[[Problem, str], bytes],
) -> Response:
    """A response of events.

    Args:
        translate: from an event of the upstream to what the client gets for it, maybe nothing.
        error_data: what an error event says of a Problem, given the id of the request.
    """
    # The view has returned by the time the stream runs, and no request is there to ask any more.
    fields, id = g.log_fields, request_id()

    def chunks() -> Iterator[bytes]:
        try:
            for event in stream:
                if chunk := translate(event):
                    yield chunk
        except Exception as error:
            problem = error if isinstance(error, Problem) else unexpected(error)
            fields["code"] = problem.code
            yield encode_event("error", error_data(problem, id))

    response = _deliver(key, stream, chunks(), content_type=f"{_EVENT_STREAM}; charset=utf-8", source=stream)
    # A proxy that collects an answer before it passes it on would make a stream of it no more.
    response.headers.update({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
    return response


def encode_event(name: str, data: bytes) -> bytes:
    """A server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + b"\ndata: ".join(data.splitlines()) + b"\n\n"


def headers(receipt: Receipt) -> dict[str, str]:
    """What a receipt says, as far as it is filled in."""
    figures = {
        "obol-charge-id": receipt.hold_id,
        "obol-max-tokens": receipt.max_tokens,
        "obol-credits-held": receipt.held,
        "obol-credits-charged": receipt.charged,
        "obol-credits-balance": receipt.balance,
    }
    said = {name: str(value) for name, value in figures.items() if value is not None}
    return said if receipt.held is not None else {**said, "obol-replayed": "true"}


def _deliver(
    key: KeyDigest,
    answer: Answer | AnswerStream | ReplayedStream,
    chunks: Iterator[bytes],
    *,
    content_type: str,
    source: AnswerStream | ReplayedStream | None = None,
) -> Response:
    """A response whose receipt goes into its headers as far as it is filled in by now, and into the
    log when all is over; `source`, what the chunks are made of, is closed then."""
    lease = services().lease
    fields = g.log_fields
    receipt = answer.receipt

    def ended(whole: bool) -> None:
        replayed = receipt.held is None
        fields.update(
            credits=0 if replayed else receipt.charged or 0,
            replayed=replayed,
            hold_id=str(receipt.hold_id),
            model=answer.message.model,
            delivered=whole,
        )
        if whole and "code" not in fields and receipt.balance is not None:
            lease.note_delivered(key.license_id, receipt.hold_id)

    body = _Delivery(_in_pieces(chunks), source=source, ended=ended, connection=request.environ.get("gunicorn.socket"))
    response = Response(body, content_type=content_type)
    response.headers.update(headers(receipt))
    return response


def _in_pieces(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for begin in range(0, len(chunk), _LONGEST_WRITE):
            yield chunk[begin : begin + _LONGEST_WRITE]


class _Delivery:
    """A response's body that knows whether its end was written to the client."""

    def __init__(
        self,
        chunks: Iterator[bytes],
        *,
        source: AnswerStream | ReplayedStream | None,
        ended: Callable[[bool], None],
        connection: socket.socket | None,
    ) -> None:
        self._chunks = chunks
        self._source = source
        self._ended = ended
        self._connection = connection
        self._gone = self._whole = False
        if connection is not None:
            connection.settimeout(WRITE_STALL_S)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            # The server asks for more only when the chunk before was written to the client.
            self._whole = not self._gone
            raise
        # A write to a client that has hung up still succeeds: the kernel takes the bytes.
        self._gone = self._connection is not None and _has_hung_up(self._connection)
        return chunk

    def close(self) -> None:
        try:
            if self._source is not None:
                self._source.close()
        except Exception as error:
            # Nobody is there to be told; the log is.
            unexpected(error)
        self._ended(self._whole)
        if self._connection is not None:
            self._connection.settimeout(None)


def _has_hung_up(connection: socket.socket) -> bool:
    """Whether the client has closed its side: its end of the stream is there to be read."""
    poll = select.poll()
    try:
        poll.register(connection, select.POLLIN)
        # Asked first, because a socket with a time limit waits in recv, whatever its flags say.
        return bool(poll.poll(0)) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True
