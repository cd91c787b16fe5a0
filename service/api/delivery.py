"""Answers on their way to the client: what they cost, and whether their end was written."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, g, request

from .. import metrics, noticed
from ..gateway.completions import Answer
from ..gateway.live_hold import Receipt
from ..gateway.sse import Event
from ..gateway.streams import AnswerStream, ReplayedStream
from ..http import outcomes
from ..http.connection import as_it_comes, has_hung_up, in_time, is_in_chunks
from ..http.errors import unexpected
from ..http.request_log import request_id
from ..http.services import services
from ..keys import KeyDigest
from ..problems import Problem
from .relaying import Relaying

_EVENT_STREAM = "text/event-stream"

_FIGURES = ("obol-charge-id", "obol-max-tokens", "obol-credits-held", "obol-credits-charged", "obol-credits-balance")
_REPLAYED = "obol-replayed"


def described(*, events: str) -> dict[str, Any]:
    """For the description of a call that can also answer with events: these, and the headers of a receipt."""
    # A schema would be one for each event to some programs, and one for all of the text to others.
    said = {"schema": {"description": "server-sent events"}, "example": events}
    return {"headers": outcomes.headers(*_FIGURES, _REPLAYED), "content": {_EVENT_STREAM: said}}


def deliver_whole(key: KeyDigest, answer: Answer, body: bytes) -> Response:
    """A response of one JSON document that is paid for."""
    pieces = in_time([body], request.environ.get("gunicorn.socket"))
    response = _deliver(key, answer, pieces, content_type="application/json")
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

    connection = request.environ.get("gunicorn.socket")
    if isinstance(stream, ReplayedStream):
        pieces = in_time(chunks(), connection)
    elif is_in_chunks(connection):
        relaying = Relaying(services().relay, stream, connection=connection, translate=translate)
        pieces = as_it_comes(chunks(), connection, relaying.between)
    else:
        pieces = as_it_comes(chunks(), connection)
    response = _deliver(key, stream, pieces, content_type=f"{_EVENT_STREAM}; charset=utf-8", source=stream)
    # A proxy that collects an answer before it passes it on would make a stream of it no more.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def encode_event(name: str, data: bytes) -> bytes:
    """A server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + b"\ndata: ".join(data.splitlines()) + b"\n\n"


def headers(receipt: Receipt) -> dict[str, str]:
    """What a receipt says, as far as it is filled in."""
    figures = (receipt.hold_id, receipt.max_tokens, receipt.held, receipt.charged, receipt.balance)
    said = {name: str(value) for name, value in zip(_FIGURES, figures, strict=True) if value is not None}
    return said if receipt.held is not None else {**said, _REPLAYED: "true"}


def has_client() -> bool:
    """Whether the client of the current request has not closed its side."""
    return not has_hung_up(request.environ.get("gunicorn.socket"))


def _deliver(
    key: KeyDigest,
    answer: Answer | AnswerStream | ReplayedStream,
    pieces: Iterator[bytes],
    *,
    content_type: str,
    source: AnswerStream | ReplayedStream | None = None,
) -> Response:
    """A response whose receipt goes into its headers as far as it is filled in by now, and into the
    log when all is over; `source`, what the pieces are made of, is closed then."""
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
        if receipt.balance is None:
            return
        if whole and "code" not in fields:
            lease.note_delivered(key.license_id, receipt.hold_id)
        elif not replayed and not receipt.is_stored:
            metrics.UNDELIVERED.inc()
            noticed.undelivered(key.license_id, receipt.hold_id)

    connection = request.environ.get("gunicorn.socket")
    body = _Delivery(pieces, source=source, ended=ended, connection=connection)
    response = Response(body, content_type=content_type)
    response.headers.update(headers(receipt))
    return response


class _Delivery:
    """A response's body that knows whether its end was written to the client."""

    def __init__(
        self,
        pieces: Iterator[bytes],
        *,
        source: AnswerStream | ReplayedStream | None,
        ended: Callable[[bool], None],
        connection: socket.socket | None,
    ) -> None:
        self._pieces = pieces
        self._source = source
        self._ended = ended
        self._connection = connection
        self._gone = self._whole = self._is_closed = False
        if source is not None:
            metrics.STREAMS_OPEN.inc()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece = next(self._pieces)
        except StopIteration:
            # The server asks for more only when the piece before was written to the client.
            self._whole = not self._gone
            raise
        # A write to a client that has hung up still succeeds: the kernel takes the bytes.
        self._gone = has_hung_up(self._connection)
        return piece

    def close(self) -> None:
        # A response can be closed twice.
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._source is not None:
                self._source.close()
        except Exception as error:
            # Nobody is there to be told; the log is.
            unexpected(error)
        if self._source is not None:
            metrics.STREAMS_OPEN.dec()
        self._ended(self._whole)
        if self._connection is not None:
            self._connection.settimeout(None)
