#!/usr/bin/env python3
"""Write a database as this release leaves it, schema and rows, for the test that upgrades it from then on.

usage: scripts/dump_release.py [OUTPUT]        default: tests/migrations/released/<version>.sql

Once a release, after its last change of SQL. A temporary PostgreSQL is migrated and used as clients and
operators use it: answers, deductions, holds in every state, refunds, prices. Then pg_dump prints it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dump_schema import connection, normalise
from flask.testing import FlaskClient

from service import create_app
from service.config import load
from service.dev import sandbox
from service.dev.embedded import EmbeddedPostgres, Urls, wheel_binaries
from service.http.services import services_of

RELEASED = Path(__file__).resolve().parent.parent / "tests" / "migrations" / "released"
HEADER = """\
-- A database as Obol {version} leaves it: written once by scripts/dump_release.py, never changed after the release.
-- license key of it, good nowhere else: {key}
"""
# Those before version 17 do not know it.
UNKNOWN_BEFORE_17 = "SET transaction_timeout = 0;\n"
REPLAY_KEY = "A" * 43


def obol(environ: dict[str, str], *arguments: str) -> str:
    """What the command prints."""
    program = Path(sys.executable).parent / "obol"
    done = subprocess.run([program, *arguments], env=os.environ | environ, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"obol {arguments} failed: {done.stdout}{done.stderr}")
    return done.stdout


def asked(client: FlaskClient, path: str, idempotency_key: str | None = None, **document: Any) -> Any:
    """The whole answer to a call that must succeed."""
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    response = client.post(path, json=document, headers=headers)
    if response.status_code >= 300:
        raise RuntimeError(f"{path}: {response.status} {response.text}")
    return response.get_json() if response.is_json else response.data


def use(client: FlaskClient, environ: dict[str, str], license_id: str) -> None:
    """Leave a row of every kind behind, and holds in every state that they can be in while nothing runs."""
    told = asked(client, "/api/v1/generate", "answer-1", prompt="Hello")
    asked(client, "/api/v1/generate", prompt="Hello", stream=True)
    messages = [{"role": "user", "content": "Hello"}]
    asked(client, "/v1/messages", model="claude-sonnet-5-5", max_tokens=5, messages=messages)
    obol(environ, "refund", license_id, told["id"])
    deduction = asked(client, "/api/v1/deductions", "invoice-1", amount=250, reference="invoice 1")
    obol(environ, "refund", license_id, deduction["id"], "--reference", "paid twice")
    asked(client, "/api/v1/deductions", "invoice-2", amount=250, reference="invoice 2")
    for end, used in (("settle", {"amount": 700}), ("release", {})):
        hold = asked(client, "/api/v1/holds", f"hold-{end}", amount=1000)
        asked(client, f"/api/v1/holds/{hold['id']}/{end}", **used)
    obol(environ, "grant", license_id, "5000", "--reference", "invoice 3", "--idempotency-key", "grant-1")
    obol(environ, "prices", "import", str(RELEASED.parents[2] / "docs" / "prices.example.toml"))
    obol(environ, "license", "create", "--credits", "0", "--name", "no credits")
    # Last, and so short that no test has to wait for it: what is open when the service is stopped for the upgrade.
    asked(client, "/api/v1/holds", "hold-open", amount=1000, expires_in_s=5)


@contextmanager
def served(urls: Urls) -> Any:
    """An application over a database, with the sandbox for its model; and its environment."""
    model = sandbox.start()
    environ = {
        "DATABASE_URL": urls.service,
        "OBOL_MIGRATE_URL": urls.owner,
        "ANTHROPIC_API_KEY": "of-the-sandbox",
        "ANTHROPIC_BASE_URL": model.url,
        "OBOL_REPLAY_KEYS": REPLAY_KEY,
    }
    obol(environ, "migrate")
    app = create_app(load(environ))
    try:
        yield app, environ
    finally:
        services_of(app).lease.stop()
        model.shutdown()
        model.server_close()


def dump_used() -> str:
    """The dump of a new database that was used for a while."""
    folder = Path(tempfile.mkdtemp(prefix="obol-release-"))
    # The server runs as another user when this runs as root.
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder)
    try:
        urls = server.acquire()
        with served(urls) as (app, environ):
            key = obol(environ, "license", "create", "--credits", "100000", "--name", "first", "--json").split('"')[7]
            client = app.test_client()
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
            use(client, environ, client.get("/api/v1/license").get_json()["license_id"])
        dsn, environment = connection(urls.owner)
        dump = [wheel_binaries() / "pg_dump", "--schema=obol", "--no-owner", "--dbname", dsn]
        dumped = subprocess.run(dump, env=environment, capture_output=True, text=True, check=True).stdout
    finally:
        server.release()
        shutil.rmtree(folder)
    header = HEADER.format(version=version("obol"), key=key)
    return header + normalise(dumped).partition("\n\n")[2].replace(UNKNOWN_BEFORE_17, "")


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else RELEASED / f"{version('obol')}.sql"
    output.write_text(dump_used())


if __name__ == "__main__":
    main()
