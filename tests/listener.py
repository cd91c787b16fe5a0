"""An endpoint of the tests' own, for what webhooks deliver."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Listener", "listening"]


class Listener(ThreadingHTTPServer):
    """It answers when `go_on` is set; `received` is what came, as (headers, body)."""

    def __init__(self) -> None:
        received: list[tuple[dict[str, str], bytes]] = []
        go_on = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append((dict(self.headers), body))
                go_on.wait(60)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.received = received
        self.go_on = go_on
        self.url = f"http://127.0.0.1:{self.server_address[1]}/events"


@contextmanager
def listening() -> Iterator[Listener]:
    server = Listener()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
