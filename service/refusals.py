"""What gunicorn itself refuses, said as the application would say it, and logged without keys."""

import json
import logging
import re
import socket
from typing import Any
from uuid import uuid4

from gunicorn.glogging import Logger

from .problems import Problem

# A license key, or the beginning of one: what a client mistypes around it is logged as it is.
_KEY = re.compile(r"obol_\w+")


class _Mask(logging.Filter):
    """gunicorn quotes the line that it could not read, and a key may be in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _KEY.sub("obol_[masked]", record.getMessage()), None
        return True


class MaskingLogger(Logger):  # type: ignore[misc]
    """gunicorn's logger, for `logger_class`."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.addFilter(_Mask())


def write_problem(connection: socket.socket, status: int, reason: str, _message: str) -> None:
    """In place of `gunicorn.util.write_error`, which answers in HTML and repeats the request."""
    if status >= 500:
        problem = Problem("internal_error", "Something went wrong before the request was read.")
    else:
        problem = Problem("malformed_request", f"The request is no HTTP that can be read here ({reason}).")
    request_id = f"req_{uuid4().hex}"
    document = {
        "type": f"urn:obol:problem:{problem.code}",
        "title": problem.type.title,
        "status": problem.type.status,
        "detail": problem.detail,
        "instance": f"urn:obol:request:{request_id}",
        "code": problem.code,
    }
    body = json.dumps(document, separators=(",", ":")) + "\n"
    head = (
        f"HTTP/1.1 {problem.type.status} {problem.type.title}\r\nConnection: close\r\n"
        f"request-id: {request_id}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    # The connection is closed next; a client that does not read must not keep the thread.
    connection.settimeout(1)
    connection.sendall((head + body).encode())
