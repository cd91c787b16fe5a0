"""An endpoint for webhooks, on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    server: "Listener"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((dict(self.headers), body))
        self.server.go_on.wait(60)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Listener(ThreadingHTTPServer):
    """It answers with `status` when `go_on` is set; `received` is what came, as (headers, body)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/events"
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.go_on = threading.Event()
        self.status = 204


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener that waits to go on; nobody waits there any more afterwards."""
    listener = Listener()
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    yield listener
    listener.go_on.set()
    listener.shutdown()
    listener.server_close()
