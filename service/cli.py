"""The `obol` command: what an operator types.

Exit codes: 0 done; 1 refused, or `verify` found something; 2 wrong usage or configuration;
3 the database could not be reached.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID, uuid4, uuid5

import click

from . import dev, keys, migrations, sandbox
from .config import Config, ConfigError, load
from .db import Database
from .embedded import EmbeddedError
from .problems import Problem
from .repository import credits, holds, licenses

REFUSED, WRONG_CONFIGURATION, NO_DATABASE = 1, 2, 3

# With an idempotency key, a license's id is made from it: the same key can only make one.
_LICENSE_IDS = UUID("5b0c1d0e-6f6c-4f0a-9d3a-0b01c0de0001")

DEMO_CREDITS = 100_000

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def main() -> NoReturn:
    """The console script: errors become one line and an exit code."""
    try:
        sys.exit(cli(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ConfigError, EmbeddedError) as error:
        _fail(str(error), WRONG_CONFIGURATION)
    except Problem as problem:
        _fail(
            problem.detail,
            NO_DATABASE if problem.code in ("database_error", "over_capacity") else REFUSED,
            problem.code,
        )


def _fail(message: str, code: int, problem: str | None = None) -> NoReturn:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": message, "code": problem}))
    else:
        click.echo(f"obol: {message}", err=True)
    sys.exit(code)


@contextmanager
def _environment() -> Iterator[Config]:
    """The configuration, with what development mode fills in."""
    with dev.environment(os.environ) as environ:
        os.environ.update(environ)
        yield load(environ)


@contextmanager
def _database() -> Iterator[Database]:
    with _environment() as config:
        database = Database(config.require_migrate_url(), pool_size=1, wait_s=5)
        try:
            yield database
        finally:
            database.close()


def _say(data: Any, text: str, as_json: bool) -> None:
    click.echo(json.dumps(data) if as_json else text)


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@click.group()
@click.version_option(package_name="obol")
def cli() -> None:
    """Obol sells AI answers for prepaid credits, each paid for exactly once."""


@cli.command(context_settings={"ignore_unknown_options": True})
@click.option("--demo", is_flag=True, help="First migrate, and make a license to try out if there is none.")
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def serve(demo: bool, gunicorn_options: tuple[str, ...]) -> None:
    """Serve the API with gunicorn. Other options are gunicorn's own."""
    with _environment() as config:
        if demo:
            migrations.upgrade(config.require_migrate_url())
            _demo_license(config)
        # In this process, so that what it has started (the embedded PostgreSQL) stops with it.
        from gunicorn.app.wsgiapp import WSGIApplication

        os.chdir(migrations.ROOT)
        sys.path.insert(0, str(migrations.ROOT))
        sys.argv = ["obol serve", *gunicorn_options, "wsgi:app"]
        WSGIApplication("%(prog)s [OPTIONS]").run()


def _demo_license(config: Config) -> None:
    database = Database(config.require_migrate_url(), pool_size=1, wait_s=5)
    try:
        if licenses.overview(database):
            click.echo("Licenses are there already; `obol license create` makes another key.")
            return
        license_id = uuid4()
        key = keys.make(license_id)
        licenses.create(
            database, keys.LicenseKey(license_id, keys.digest(key)), "demo", None, DEMO_CREDITS, b"demo".ljust(32)
        )
    finally:
        database.close()
    click.echo(
        f"A demo license with {DEMO_CREDITS} credits. This is its key; it is shown only now:\n\n    {key}\n\n"
        "Once the server is up, try:\n\n"
        f"    curl -sS http://127.0.0.1:{config.port}/api/v1/generate -H 'Authorization: Bearer {key}' "
        "-H 'Content-Type: application/json' -d '{\"prompt\": \"Hello\"}'\n"
    )


@cli.command()
@click.option("--revision", default="head", show_default=True)
def migrate(revision: str) -> None:
    """Bring the database to the newest migration (`alembic upgrade head`)."""
    with _environment() as config:
        migrations.upgrade(config.require_migrate_url(), revision)
    click.echo(f"The database is at {revision}.")


@cli.command(name="sandbox")
@click.option("--port", default=8001, show_default=True, type=click.IntRange(1, 65535))
@click.option("--delay-ms", default=0, show_default=True, type=click.IntRange(0), help="How long answers take.")
def serve_sandbox(port: int, delay_ms: int) -> None:
    """Serve a local stand-in for the model's API, for trying out and for tests."""
    try:
        server = sandbox.Sandbox(port, delay_ms)
    except OSError as error:
        _fail(f"port {port} cannot be used ({error.strerror}); choose another with --port", WRONG_CONFIGURATION)
    click.echo(f"The sandbox, not a model, answers at {server.url} (ANTHROPIC_BASE_URL).")
    server.serve_forever()


@cli.command()
@as_json
def verify(as_json: bool) -> None:
    """Check every invariant of the ledger; exit code 1 if anything disagrees."""
    with _database() as database:
        rows = credits.verify(database)
        count = len(licenses.overview(database))
    findings = [{"license_id": str(row.license_id), "rule": row.rule, "detail": row.detail} for row in rows]
    if as_json:
        click.echo(json.dumps({"clean": not findings, "licenses": count, "findings": findings}))
    for finding in findings if not as_json else ():
        click.echo(f"{finding['license_id']}: NOT {finding['rule']}: {finding['detail']}")
    if findings:
        sys.exit(REFUSED)
    if not as_json:
        click.echo(f"Clean. Licenses checked: {count}; every balance is what its ledger says.")


@cli.group()
def license() -> None:
    """Licenses and their keys."""


class Expiry(click.ParamType[datetime]):
    """An ISO 8601 time; without a zone it is UTC."""

    name = "ISO8601"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not an ISO 8601 time such as 2027-01-31T00:00:00Z.", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


CREDITS = click.IntRange(0, 2**63 - 1)


@license.command()
@click.option("--credits", "amount", required=True, type=CREDITS, help="The opening grant.")
@click.option("--name", default="", help="For you to know it by.")
@click.option("--expires", type=Expiry(), help="When it ends, e.g. 2027-01-31T00:00:00Z. Default: never.")
@click.option("--idempotency-key", help="Makes the command safe to repeat.")
@as_json
def create(amount: int, name: str, expires: datetime | None, idempotency_key: str | None, as_json: bool) -> None:
    """Make a license and print its key, which is shown only this once."""
    license_id = uuid5(_LICENSE_IDS, idempotency_key) if idempotency_key else uuid4()
    key = keys.make(license_id)
    fingerprint = _fingerprint(amount, name, _moment(expires))
    with _database() as database:
        made = licenses.create(
            database, keys.LicenseKey(license_id, keys.digest(key)), name, expires, amount, fingerprint
        )
    shown = key if made.created else None
    text = (
        f"License {license_id} with {made.balance} credits. Its key, shown only now:\n\n    {key}\n"
        if made.created
        else f"License {license_id} was made by this idempotency key before, and its key was shown then.\n"
        f"If it is lost: obol license rotate {license_id}"
    )
    _say({"license_id": str(license_id), "license_key": shown, "balance": made.balance}, text, as_json)


def _fingerprint(*values: object) -> bytes:
    return hashlib.sha256(json.dumps(values).encode()).digest()


def _license_document(row: Any) -> dict[str, Any]:
    return {
        "license_id": str(row.license_id),
        "name": row.name,
        "status": row.status,
        "expires_at": _moment(row.expires_at),
        "balance": row.balance,
        "held": row.held,
        "available": row.available,
    }


def _license_line(row: Any) -> str:
    expires = f", until {_moment(row.expires_at)}" if row.expires_at else ""
    return f"{row.license_id}  {row.status}{expires}, balance {row.balance}, held {row.held}  {row.name}"


@license.command(name="list")
@as_json
def list_licenses(as_json: bool) -> None:
    """All licenses, oldest first."""
    with _database() as database:
        rows = licenses.overview(database)
    text = "\n".join(map(_license_line, rows)) or "No licenses yet: obol license create --credits 1000"
    _say([_license_document(row) for row in rows], text, as_json)


@license.command()
@click.argument("license_id", type=click.UUID)
@as_json
def show(license_id: UUID, as_json: bool) -> None:
    """One license."""
    with _database() as database:
        row = licenses.show(database, license_id)
    _say(_license_document(row), _license_line(row), as_json)


def _set_status(license_id: UUID, status: str, as_json: bool) -> None:
    with _database() as database:
        licenses.set_status(database, license_id, status)
        row = licenses.show(database, license_id)
    _say(_license_document(row), _license_line(row), as_json)


@license.command()
@click.argument("license_id", type=click.UUID)
@as_json
def suspend(license_id: UUID, as_json: bool) -> None:
    """Refuse the license from the next call on; calls that run are finished and paid for."""
    _set_status(license_id, "suspended", as_json)


@license.command()
@click.argument("license_id", type=click.UUID)
@as_json
def resume(license_id: UUID, as_json: bool) -> None:
    """Let a suspended license be used again."""
    _set_status(license_id, "active", as_json)


@license.command()
@click.argument("license_id", type=click.UUID)
@click.option(
    "--overlap-s",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**31 - 1),
    help="How long older keys stay good.",
)
@as_json
def rotate(license_id: UUID, overlap_s: int, as_json: bool) -> None:
    """Make a new key and let the older ones end."""
    key = keys.make(license_id)
    with _database() as database:
        ends_at = licenses.rotate_key(database, keys.LicenseKey(license_id, keys.digest(key)), overlap_s)
    text = f"The new key, shown only now:\n\n    {key}\n\nKeys before it end at {_moment(ends_at)}."
    document = {"license_id": str(license_id), "license_key": key, "older_keys_end_at": _moment(ends_at)}
    _say(document, text, as_json)


@cli.command()
@click.argument("license_id", type=click.UUID)
@click.argument("amount", type=click.IntRange(1, 2**63 - 1))
@click.option("--reference", help="What for; stands in the statement.")
@click.option("--idempotency-key", help="Makes the command safe to repeat.")
@as_json
def grant(license_id: UUID, amount: int, reference: str | None, idempotency_key: str | None, as_json: bool) -> None:
    """Give credits to a license."""
    with _database() as database:
        granted = credits.grant(
            database, license_id, uuid4(), amount, idempotency_key, _fingerprint(amount, reference), reference
        )
    document = {"id": str(granted.grant_id), "amount": granted.amount, "balance": granted.balance}
    _say(document, f"Granted {granted.amount} credits; the balance is {granted.balance}.", as_json)


@cli.command(name="holds")
@click.option("--undelivered", is_flag=True, required=True, expose_value=False, help="The only list there is yet.")
@as_json
def list_holds(as_json: bool) -> None:
    """Charges whose answers may not have reached their clients: settled, without an idempotency
    key that a retry could use, and never noted as delivered."""
    with _database() as database:
        rows = holds.undelivered(database)
    documents = [
        {
            "license_id": str(row.license_id),
            "hold_id": str(row.hold_id),
            "charge": row.charge,
            "model": row.model,
            "settled_at": _moment(row.settled_at),
        }
        for row in rows
    ]
    lines = [
        f"{item['settled_at']}  {item['charge']} credits  obol refund {item['license_id']} {item['hold_id']}"
        for item in documents
    ]
    _say(documents, "\n".join(lines) or "None: every charged answer was delivered.", as_json)


@cli.command()
@click.argument("license_id", type=click.UUID)
@click.argument("hold_id", type=click.UUID)
@click.option("--reference", default="refunded by the operator", show_default=True)
@as_json
def refund(license_id: UUID, hold_id: UUID, reference: str, as_json: bool) -> None:
    """Give back what a hold or a deduction was charged, whole and once."""
    with _database() as database:
        refunded = credits.refund(database, license_id, hold_id, reference)
    document = {"id": str(hold_id), "amount": refunded.amount, "balance": refunded.balance}
    _say(document, f"Refunded {refunded.amount} credits; the balance is {refunded.balance}.", as_json)
