"""A gateway with its default settings, under attack while somebody else's answer is streamed."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from factories import Served, wait_until
from one_server import *  # noqa: F403 - all of its fixtures
from pacing import Pace
from wire_client import Exchange, name_of

# A second on a machine that does nothing else; the figure itself is printed.
LONGEST_HEALTH_S = 5

STREAM = (
    b'{"model": "m", "max_tokens": 5000, "stream": true, "messages":'
    b' [{"role": "user", "content": "[sandbox output_tokens=5000] [sandbox event_delay_ms=1]"}]}'
)


class Bystander:
    """A stream of another license, that goes on when the test says so, and a probe of /healthz."""

    def __init__(self, served: Served, pace: Pace, headers: dict[str, str]) -> None:
        self._served, self._pace = served, pace
        self._exchange = Exchange(served.port, STREAM, headers)
        self._events = self._exchange.events()
        self.slowest_s = 0.0
        self._has_ended = False
        assert name_of(next(self._events)) == "message_start"

    def is_well(self) -> None:
        """An event comes through, and the process answers, in time."""
        self._pace.step()
        event = next(self._events, None)
        assert event is not None, self._served.log.read_text()[-3000:]
        asked_at = time.monotonic()
        assert self._served.get("/healthz")[0] == 200
        self.slowest_s = max(self.slowest_s, time.monotonic() - asked_at)
        assert self.slowest_s < LONGEST_HEALTH_S

    def end(self) -> None:
        """The stream comes to its right end, and so does everything that waits for the upstream."""
        if self._has_ended:
            return
        self._has_ended = True
        self._pace.go_on()
        names = [name_of(event) for event in self._events if not event.startswith(b":")]
        assert names[-2:] == ["message_delta", "message_stop"]
        self._exchange.hang_up()
        sys.stdout.write(f"/healthz took {self.slowest_s:.3f} s at most\n")


@pytest.fixture
def bystander(served: Served, pace: Pace, new_license: Callable[..., Any]) -> Iterator[Bystander]:
    # As it comes, with two workers of 64 threads.
    wait_until(lambda: len(served.workers()) == 2, what="two workers")
    bystander = Bystander(served, pace, new_license(credits=10_000).headers)
    yield bystander
    bystander.end()


@pytest.fixture
def connect(served: Served) -> Iterator[Callable[..., socket.socket]]:
    """`connect(bytes, receive_buffer=None)`: a connection on which so much was sent, and nothing read."""
    with ExitStack() as stack:

        def send(request: bytes, receive_buffer: int | None = None) -> socket.socket:
            connection = stack.enter_context(socket.socket())
            if receive_buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(30)
            connection.connect(("127.0.0.1", served.port))
            connection.sendall(request)
            return connection

        yield send


@pytest.fixture
def descriptors(served: Served) -> Callable[[], int]:
    """`descriptors()`: the files and sockets that the workers have open."""
    folders = [Path(f"/proc/{pid}/fd") for pid in served.workers()]
    if not all(folder.exists() for folder in folders):
        pytest.skip("descriptors are counted where there is /proc")
    return lambda: sum(len(list(folder.iterdir())) for folder in folders)


class Memory:
    """What the workers have of the machine's memory, in MiB."""

    def __init__(self, served: Served) -> None:
        self._pids = served.workers()
        self.before = self.now()

    def now(self) -> float:
        if not Path("/proc/self/status").exists():
            pytest.skip("memory is measured where there is /proc")
        return sum(_resident(pid) for pid in self._pids)


@pytest.fixture
def memory(served: Served) -> Memory:
    return Memory(served)


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
