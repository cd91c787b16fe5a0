"""Bodies of any length: sent as they are read, and never held whole."""

import errno
from collections.abc import Iterator

from flask import Response, g, request
from werkzeug.datastructures import MIMEAccept

from ..problems import Problem
from .connection import has_hung_up, in_time


def accepted_of(offered: tuple[str, ...]) -> str:
    """The type of content, of those on offer, that the request accepts most; the first one where it accepts none. The
    parameters of its types (`text/csv; charset=utf-8`) are passed over: there is one of each on offer."""
    accepted = MIMEAccept([(type.partition(";")[0].strip(), quality) for type, quality in request.accept_mimetypes])
    return accepted.best_match(offered, default=offered[0])


def stream(chunks: Iterator[bytes], content_type: str) -> Response:
    """A response of chunks that are made while it is sent, as fast as the client takes them. One that leaves, or is
    too slow, ends it. What goes wrong on the way has no status any more: the connection breaks, so that nobody takes
    the beginning for the whole, and the log has the reason."""
    connection = request.environ.get("gunicorn.socket")
    fields = g.log_fields

    def told() -> Iterator[bytes]:
        try:
            for chunk in chunks:
                if has_hung_up(connection):
                    raise BrokenPipeError(errno.EPIPE, "the client has left")
                yield chunk
        except Problem as problem:
            fields["code"] = problem.code
            raise BrokenPipeError(errno.EPIPE, "the rest could not be read") from problem

    response = Response(in_time(told(), connection), content_type=content_type)

    @response.call_on_close
    def patient_again() -> None:
        if connection is not None:
            connection.settimeout(None)

    return response
