"""What the tests of the API share: other configurations, the shape of a problem, the ledger's state,
the log, and an upstream that says what it is told to."""

import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from factories import License
from flask.testing import FlaskClient
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from service import create_app, leases_of, sandbox
from service.config import load

# The contract's table once more, so that a change of problems.py does not pass unseen.
STATUS = {
    "insufficient_credits": 402,
    "license_invalid": 403,
    "license_inactive": 403,
    "license_expired": 403,
    "credentials_missing": 401,
    "hold_not_found": 404,
    "hold_not_open": 409,
    "settle_exceeds_hold": 422,
    "idempotency_in_progress": 409,
    "idempotency_key_reused": 422,
    "answer_gone": 410,
    "amount_invalid": 422,
    "model_not_priced": 422,
    "malformed_request": 400,
    "validation_failed": 422,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "not_found": 404,
    "method_not_allowed": 405,
    "upstream_error": 502,
    "upstream_timeout": 504,
    "over_capacity": 503,
    "database_error": 500,
    "internal_error": 500,
}


@pytest.fixture
def upstream() -> Iterator[sandbox.Sandbox]:
    """As everywhere, but stopped within a blink and not within half a second: there are many tests here."""
    server = sandbox.Sandbox()
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def make_client(environ: dict[str, str]) -> Iterator[Callable[..., FlaskClient]]:
    """`make_client(OBOL_POOL_SIZE="1", OBOL_REPLAY_KEYS=None)`: a client of another configuration."""
    apps = []

    def make(**more: str | None) -> FlaskClient:
        merged = {**environ, **more}
        apps.append(create_app(load({name: value for name, value in merged.items() if value is not None})))
        return apps[-1].test_client()

    yield make
    for app in apps:
        leases_of(app).stop()


@pytest.fixture
def problem() -> Callable[..., dict[str, Any]]:
    """`problem(response, code, retry_after=None)`: assert that this is what came, whole; the document."""

    def check(response: Any, code: str, retry_after: str | None = None) -> dict[str, Any]:
        document: dict[str, Any] = response.get_json()
        assert (response.status_code, document["code"]) == (STATUS[code], code), document
        assert response.content_type == "application/problem+json"
        assert document["type"] == f"urn:obol:problem:{code}"
        assert document["status"] == response.status_code
        assert document["instance"] == f"urn:obol:request:{response.headers['request-id']}"
        assert document["title"]
        assert document["detail"]
        assert response.headers.get("Retry-After") == retry_after
        return document

    return check


@pytest.fixture
def state(sql: Callable[..., Any]) -> Callable[..., tuple[int, int, int]]:
    """`state(license)`: balance, held and the number of entries, as they are in the tables."""
    statement = "SELECT balance, held, entry_count FROM obol.licenses WHERE license_id = %s"

    def read(license: License) -> tuple[int, int, int]:
        balance, held, entries = sql(statement, (str(license.id),))[0]
        return balance, held, entries

    return read


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What is logged during the test."""
    with capture_logs(processors=[merge_contextvars]) as lines:
        yield lines


@pytest.fixture
def upstream_saying() -> Iterator[Callable[..., str]]:
    """`upstream_saying(status, body, **headers)`: the URL of an upstream that answers so, always."""
    servers = []

    def start(status: int, body: bytes, **headers: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": len(body), **headers}.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def refusing_url() -> Iterator[str]:
    """A URL at which nobody listens, for as long as the test runs."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"
