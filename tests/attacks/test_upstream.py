"""An upstream that sends more than anybody can want."""

import gzip
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest
from factories import wait_until

MEBIBYTE = 1024 * 1024

# What it sends in answer to a prompt that has this word; everything else is the sandbox's to answer.
ATTACKS = {
    b"bomb": (200, "application/json", "gzip", gzip.compress(bytes(8 * MEBIBYTE))),
    b"endless-answer": (200, "application/json", None, b" " * 65536),
    b"endless-error": (500, "application/json", None, b" " * 65536),
    b"endless-event": (200, "text/event-stream", None, b"a" * 65536),
}
# Of each answer, if nobody stops it: 512 MiB, and of the bomb 64 GiB when it is unpacked.
PIECES = 8192

MOST_LEFT_MIB = 150

# Headers that the sandbox is to see.
KEPT = ("authorization", "content-type", "x-api-key", "anthropic-version")


class Hostile(BaseHTTPRequestHandler):
    server: "Upstream"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        attack = next((attack for word, attack in ATTACKS.items() if word in body), None)
        with suppress(OSError):
            if attack is None:
                self._hand_on(body)
            else:
                self._attack(*attack)

    def _attack(self, status: int, kind: str, encoding: str | None, piece: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        if encoding is not None:
            self.send_header("content-encoding", encoding)
        self.end_headers()
        for _ in range(PIECES):
            self.wfile.write(piece)

    def _hand_on(self, body: bytes) -> None:
        kept = {name: value for name, value in self.headers.items() if name.lower() in KEPT}
        with closing(HTTPConnection(self.server.sandbox)) as connection:
            connection.request("POST", self.path, body, kept)
            with connection.getresponse() as answer:
                self.send_response(answer.status)
                self.send_header("content-type", answer.headers["content-type"])
                self.end_headers()
                while piece := answer.read1(65536):
                    self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Not in the tests' output."""


class Upstream(ThreadingHTTPServer):
    daemon_threads = True
    sandbox: str


@pytest.fixture
def served(serve, upstream) -> Iterator[object]:
    hostile = Upstream(("127.0.0.1", 0), Hostile)
    hostile.sandbox = urlsplit(upstream.url).netloc
    Thread(target=hostile.serve_forever, daemon=True).start()
    yield serve(WEB_CONCURRENCY="2", ANTHROPIC_BASE_URL=f"http://127.0.0.1:{hostile.server_port}")
    hostile.shutdown()
    hostile.server_close()


def test_what_has_no_end_is_given_up_and_takes_no_memory(bystander, served, memory, new_license):
    license = new_license(credits=100_000)

    def ask(word, stream):
        body = {"model": "m", "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": word}]}
        headers = license.headers | {"Content-Type": "application/json"}
        return served.request("POST", "/v1/messages", json.dumps(body).encode(), headers)

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(ask, word.decode(), stream) for word in ATTACKS for stream in (False, True)]
        most = 0.0
        while not all(call.done() for call in calls):
            bystander.is_well()
            most = max(most, memory.now() - memory.before)

    # Its own error crosses with its own status; what is no answer is 502, or an error event.
    for status, body in (call.result()[:2] for call in calls):
        assert status in (500, 502) or (status == 200 and b"event: error" in body)
        assert len(body) < 10_000
    with suppress(AssertionError):
        wait_until(lambda: memory.now() - memory.before < MOST_LEFT_MIB)
    assert memory.now() - memory.before < MOST_LEFT_MIB, f"of {most:.0f} MiB"
    balance = json.loads(served.get("/api/v1/license", license.headers)[1])
    assert (balance["balance"], balance["held"]) == (100_000, 0)
    sys.stdout.write(f"{most:.0f} MiB more at most, {memory.now() - memory.before:.0f} MiB in the end\n")
