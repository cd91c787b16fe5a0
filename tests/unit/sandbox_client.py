"""Asking the sandbox: whole answers as objects, and streams as events."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from threading import Event
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from service.dev.sandbox import Sandbox

KEY = {"x-api-key": "k"}
FRESH = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
TEXT = "This answer comes from the sandbox, not from a model."

# Nested more deeply than json reads.
DEEP = b'{"model": "m", "max_tokens": 1, "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def send(
    upstream: Sandbox, path: str, data: bytes | None = None, headers: dict[str, str] = KEY
) -> tuple[int, Any, Message]:
    """Status, document and headers of the answer."""
    try:
        with urlopen(Request(upstream.url + path, data, {"content-type": "application/json", **headers})) as response:
            return response.status, json.loads(response.read()), response.headers
    except HTTPError as error:
        return error.code, json.loads(error.read()), error.headers


def request_for(prompt: Any = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": prompt}], **more}


def call(
    upstream: Sandbox,
    prompt: Any = "Hello",
    headers: dict[str, str] = KEY,
    path: str = "/v1/messages",
    raw: bytes | None = None,
    **more: Any,
) -> tuple[int, Any]:
    """Status and document of the answer to a prompt."""
    return send(upstream, path, json.dumps(request_for(prompt, **more)).encode() if raw is None else raw, headers)[:2]


class Polled(Event):
    """An event that counts how often somebody has looked for it."""

    looks = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.looks += 1
        return super().wait(timeout)


@contextmanager
def asked(upstream: Sandbox, prompt: str, path: str = "/v1/messages", **more: Any) -> Iterator[HTTPResponse]:
    """The response, its body unread."""
    with closing(HTTPConnection(upstream.url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("POST", path, json.dumps(request_for(prompt, **more)), KEY)
        with connection.getresponse() as response:
            yield response


def read(upstream: Sandbox, prompt: str, **more: Any) -> bytes:
    with asked(upstream, prompt, **more) as response:
        return response.read()


def parse(body: bytes) -> list[tuple[str, Any]]:
    """The events of a stream, as names and data."""
    events = []
    for event in body.decode().split("\n\n")[:-1]:
        first, _, second = event.partition("\n")
        name, data = first.removeprefix("event: "), json.loads(second.removeprefix("data: "))
        assert data["type"] == name
        events.append((name, data))
    return events


def stream(upstream: Sandbox, prompt: str, **more: Any) -> list[tuple[str, Any]]:
    return parse(read(upstream, prompt, stream=True, **more))


# Of three words, and so of these nine events.
SHORT = "[sandbox output_tokens=3]"
SHORT_EVENTS = [
    "message_start",
    "content_block_start",
    "ping",
    *["content_block_delta"] * 3,
    "content_block_stop",
    "message_delta",
    "message_stop",
]
