"""What the tests of the API share: other configurations, requests to /v1, the shapes of a problem,
the ledger's state, the log, and upstreams that say what they are told to."""

import json
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import psycopg2
import psycopg2.extensions
import pytest
from apps import create_app
from factories import License
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from service.config import load
from service.dev import sandbox
from service.dev.embedded import Urls
from service.http.services import services_of

sys.path.insert(0, str(Path(__file__).parent))

# The contract's table once more, so that a change of problems.py does not pass unseen.
STATUS = {
    "insufficient_credits": 402,
    "license_invalid": 403,
    "license_inactive": 403,
    "license_expired": 403,
    "credentials_missing": 401,
    "admin_forbidden": 403,
    "license_not_found": 404,
    "key_not_found": 404,
    "model_not_allowed": 403,
    "keys_not_allowed": 403,
    "already_exists": 409,
    "hold_not_found": 404,
    "hold_not_open": 409,
    "settle_exceeds_hold": 422,
    "idempotency_in_progress": 409,
    "idempotency_key_reused": 422,
    "answer_gone": 410,
    "payments_not_configured": 404,
    "package_not_found": 404,
    "payment_not_found": 404,
    "signature_invalid": 400,
    "stripe_error": 502,
    "limit_exceeded": 429,
    "grant_not_found": 404,
    "grant_ended": 409,
    "refund_exceeds_charge": 422,
    "amount_invalid": 422,
    "model_not_priced": 422,
    "cost_unbounded": 422,
    "thread_unsupported_request": 400,
    "max_credits_exceeded": 422,
    "malformed_request": 400,
    "validation_failed": 422,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "not_found": 404,
    "method_not_allowed": 405,
    "client_gone": 499,
    "upstream_error": 502,
    "upstream_timeout": 504,
    "over_capacity": 503,
    "database_error": 500,
    "internal_error": 500,
}
# And where /v1 has another.
WIRE_STATUS = STATUS | {"license_invalid": 401, "validation_failed": 400, "model_not_priced": 404}


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
        services_of(app).lease.stop()


@pytest.fixture
def problem() -> Callable[..., dict[str, Any]]:
    """`problem(response, code, retry_after=None)`: assert that this is what came, whole; the document."""

    def check(response: Any, code: str, retry_after: str | None = None) -> dict[str, Any]:
        document: dict[str, Any] = response.get_json()
        assert (response.status_code, document["code"]) == (STATUS[code], code), document
        assert response.content_type == "application/problem+json"
        assert document["type"] == f"/problems/{code}"
        assert document["status"] == response.status_code
        assert document["instance"] == f"urn:obol:request:{response.headers['request-id']}"
        assert document["title"]
        assert document["detail"]
        assert response.headers.get("Retry-After") == retry_after
        return document

    return check


# What the wire calls each status; any other one is about the request.
WIRE_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@pytest.fixture
def wire_error() -> Callable[..., dict[str, Any]]:
    """`wire_error(response, code, retry_after=None, status=None)`: assert that this is what came, whole
    and in the shape of the Messages API; its details."""

    def check(response: Any, code: str, retry_after: str | None = None, status: int | None = None) -> dict[str, Any]:
        document: dict[str, Any] = response.get_json()
        details: dict[str, Any] = document["error"]["details"]
        assert (response.status_code, details["error_code"]) == (status or WIRE_STATUS[code], code), document
        assert response.content_type == "application/json"
        assert document["error"]["message"]
        assert document == {
            "type": "error",
            "error": {
                "type": WIRE_TYPES.get(status or WIRE_STATUS[code], "invalid_request_error"),
                "message": document["error"]["message"],
                "details": details,
            },
            "request_id": response.headers["request-id"],
        }
        assert response.headers.get("Retry-After") == retry_after
        if status is None:
            assert response.headers["x-should-retry"] == ("false" if retry_after is None else "true")
        return details

    return check


@pytest.fixture
def send(client: FlaskClient) -> Callable[..., Any]:
    """`send(license, "Hello", headers={}, client=…, path="/v1/messages", raw=None, **fields)`: the
    response to a request to the Messages API, read to its end."""
    default = client

    def post(
        license: License | None,
        prompt: Any = "Hello",
        headers: dict[str, str] | None = None,
        client: FlaskClient | None = None,
        path: str = "/v1/messages",
        buffered: bool = True,
        raw: bytes | None = None,
        **fields: Any,
    ) -> Any:
        message = {"role": "user", "content": prompt}
        body = {"model": "m", "max_tokens": 100, "messages": [message], **fields}
        return (client or default).post(
            path,
            data=json.dumps(body).encode() if raw is None else raw,
            content_type="application/json",
            headers={**(license.headers if license else {}), **(headers or {})},
            buffered=buffered,
        )

    return post


@pytest.fixture
def ask(client: FlaskClient) -> Callable[..., Any]:
    """`ask(license, "Hello", headers={}, client=…, **fields)`: the response of /api/v1/generate, read to its end."""
    default = client

    def post(
        license: License,
        prompt: str = "Hello",
        headers: dict[str, str] | None = None,
        client: FlaskClient | None = None,
        **fields: Any,
    ) -> Any:
        return (client or default).post(
            "/api/v1/generate",
            json={"prompt": prompt, **fields},
            headers={**license.headers, **(headers or {})},
            buffered=True,
        )

    return post


@pytest.fixture
def admin(client: FlaskClient, new_token: Callable[..., str]) -> Callable[..., Any]:
    """`admin("GET", "licenses", "read", json=…, headers={}, **query)`: the response of the admin API, below
    /api/v1/admin/ unless the path begins with a slash, to a token with these scopes (by default with all)."""

    def ask(
        method: str, path: str, *scopes: str, json: Any = None, headers: dict[str, str] | None = None, **query: Any
    ) -> Any:
        return client.open(
            path if path.startswith("/") else f"/api/v1/admin/{path}",
            method=method,
            json=json,
            query_string={name.rstrip("_"): value for name, value in query.items()},
            headers={"Authorization": f"Bearer {new_token(*scopes)}", **(headers or {})},
        )

    return ask


@pytest.fixture
def upstream_s_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., bytes]]:
    """`upstream_s_own(raw, path="/v1/messages")`: what a sandbox answers without Obol before it. While
    a test uses this, the sandbox gives every answer the same id."""
    monkeypatch.setattr(secrets, "token_hex", lambda length: "0" * 2 * length)
    server = sandbox.start()

    def ask(raw: bytes | None, path: str = "/v1/messages") -> bytes:
        headers = {"content-type": "application/json", "x-api-key": "k"}
        with urlopen(Request(server.url + path, data=raw, headers=headers), timeout=10) as response:
            return bytes(response.read())

    yield ask
    server.shutdown()
    server.server_close()


@pytest.fixture
def priced(sql: Callable[..., Any]) -> Callable[..., None]:
    """`priced("m", input=3, cache_read=0)`: a price in credits for each token; 1 where nothing is said."""
    classes = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")

    def insert(pattern: str, **credits: float) -> None:
        figures = [round(credits.get(name, 1) * 1_000_000) for name in classes]
        sql(
            f"INSERT INTO obol.prices (model_pattern, effective_from, {', '.join(classes)})"
            " VALUES (%s, '2026-01-02T00:00:00Z', %s, %s, %s, %s, %s)",
            (pattern, *figures),
        )

    return insert


@pytest.fixture
def state(sql: Callable[..., Any]) -> Callable[..., tuple[int, int, int]]:
    """`state(license)`: balance, held and the number of entries, as they are in the tables."""
    statement = "SELECT balance, held, entry_count FROM obol.licenses WHERE license_id = %s"

    def read(license: License) -> tuple[int, int, int]:
        balance, held, entries = sql(statement, (str(license.id),))[0]
        return balance, held, entries

    return read


@pytest.fixture
def lock(urls: Urls) -> Iterator[Callable[[], Any]]:
    """`lock()`: somebody else locks the rows of all licenses, until what this returns is closed."""
    connections = []

    def take() -> Any:
        connections.append(psycopg2.connect(urls.owner))
        connections[-1].cursor().execute("SELECT FROM obol.licenses FOR UPDATE")
        return connections[-1]

    yield take
    for connection in connections:
        connection.close()


@pytest.fixture
def statements(app: Flask) -> list[str]:
    """The statements that the pool of the application runs from now on, as they are sent."""
    ran = []

    class Recording(psycopg2.extensions.cursor):
        def execute(self, query: Any, vars: Any = None) -> None:
            ran.append(self.mogrify(query, vars).decode())
            super().execute(query, vars)

    def record(connection: Any, *_: Any) -> None:
        connection.cursor_factory = Recording

    event.listen(services_of(app).database._engine, "checkout", record)
    return ran


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What is logged during the test."""
    with capture_logs(processors=[merge_contextvars]) as lines:
        yield lines


@pytest.fixture
def upstream_saying() -> Iterator[Callable[..., str]]:
    """`upstream_saying(status, body, **headers)`: the URL of an upstream that answers so, always; when
    the body is a list, with its pieces in turn, as events."""
    servers = []

    def start(status: int, body: bytes | list[bytes], **headers: str) -> str:
        events, whole = isinstance(body, list), b"".join(body) if isinstance(body, list) else body
        content_type = "text/event-stream" if events else "application/json"

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(status)
                told = {"content_type": content_type, "content_length": str(len(whole)), **headers}
                for name, value in told.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                for piece in body if isinstance(body, list) else [body]:
                    self.wfile.write(piece)

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
