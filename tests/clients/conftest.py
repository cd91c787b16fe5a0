"""What the tests of clients share: one server for all tests of a file, seen through the official
SDKs, and a relay that loses what an answer was on its way in."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from types import SimpleNamespace
from typing import Any

import anthropic
import httpx2
import pytest
from factories import License, Served, make_license

from service.db import Database

sys.path.insert(0, str(Path(__file__).parent))

from one_server import *  # noqa: F403 - all of its fixtures


@pytest.fixture
def wait_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """`wait_with(wait)`: where the sandbox would be late by so many milliseconds, it calls `wait()`."""

    def replace(wait: Callable[[], Any]) -> None:
        sleep = {"sleep": lambda seconds: seconds and wait()}
        monkeypatch.setattr("service.dev.sandbox.time", SimpleNamespace(**vars(time) | sleep))

    return replace


@pytest.fixture
def license(owner: Database) -> License:
    return make_license(owner, credits=100_000)


class Requests(list[httpx2.Request]):
    """The requests that an SDK has sent, its retries too."""

    def __call__(self, request: httpx2.Request) -> None:
        self.append(request)


@pytest.fixture
def requests() -> Requests:
    """What the client of `make_client` has sent."""
    return Requests()


@pytest.fixture
def make_client(served: Served, license: License, requests: Requests) -> Iterator[Callable[..., anthropic.Anthropic]]:
    """`make_client(base_url=…, api_key=…, max_retries=2)`: the Python SDK, which notes what it sends.

    Without retries, unless the test is about them: they would hide what the server says."""
    clients = []

    def make(**options: Any) -> anthropic.Anthropic:
        http = anthropic.DefaultHttpxClient(event_hooks={"request": [requests]})
        defaults = {"base_url": served.url, "api_key": license.raw_key, "max_retries": 0}
        clients.append(anthropic.Anthropic(http_client=http, **(defaults | options)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., anthropic.Anthropic]) -> anthropic.Anthropic:
    """The Python SDK with nothing changed but base URL, key and retries."""
    return make_client()


@pytest.fixture
def books(sql: Callable[..., Any]) -> Callable[..., tuple[int, int, list[int]]]:
    """`books(license)`: balance, held, and what each charge in the ledger took, oldest first."""

    def read(license: License) -> tuple[int, int, list[int]]:
        ((balance, held),) = sql("SELECT balance, held FROM obol.licenses WHERE license_id = %s", (str(license.id),))
        charges = sql(
            "SELECT -amount FROM obol.ledger_entries WHERE license_id = %s AND kind = 'charge' ORDER BY entry_no",
            (str(license.id),),
        )
        return balance, held, [amount for (amount,) in charges]

    return read


class Relay:
    """Passes connections on to a server, and loses the end of the first answer.

    Args:
        port: of the server on loopback.
        keep: bytes of the first answer that still get through.
    """

    def __init__(self, port: int, keep: int) -> None:
        self._port, self._keep = port, keep
        self._lock = Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(65536):
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            piece = server.recv(65536)
            with self._lock:
                left, self._keep = self._keep, sys.maxsize
            while piece and left:
                client.sendall(piece[:left])
                left -= len(piece[:left])
                piece = left and server.recv(65536)
        for end in (client, server):
            # The other thread still waits on it: closing alone would not wake it up.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def relay(served: Served) -> Iterator[Callable[[int], Relay]]:
    """`relay(keep)`: a way to the server that loses the first answer after so many bytes."""
    relays: list[Relay] = []

    def start(keep: int) -> Relay:
        relays.append(Relay(served.port, keep))
        return relays[-1]

    yield start
    for made in relays:
        made.close()
