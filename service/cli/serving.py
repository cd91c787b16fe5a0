"""The commands that serve: the API, its migrations, the sandbox."""

import os
import signal
import sys
import threading

import click

from .. import migrations, operator
from ..config import Config
from ..dev import sandbox
from ..repository import licenses
from .common import WRONG_USAGE, database, environment, fail

DEMO_CREDITS = 100_000

_STOP = (signal.SIGINT, signal.SIGTERM)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--demo", is_flag=True, help="First migrate, and make a license to try out if there is none.")
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def serve(demo: bool, gunicorn_options: tuple[str, ...]) -> None:
    """Serve the API with gunicorn. Other options are gunicorn's own."""
    with environment() as config:
        if demo:
            migrations.upgrade(config.require_migrate_url())
            _demo_license(config)
        # gunicorn takes its configuration from the folder that it is imported in.
        os.chdir(migrations.ROOT)
        sys.path.insert(0, str(migrations.ROOT))
        # In this process, so that what it has started (the embedded PostgreSQL) stops with it.
        from gunicorn.app.wsgiapp import WSGIApplication

        sys.argv = ["obol serve", *gunicorn_options, "wsgi:app"]
        WSGIApplication("%(prog)s [OPTIONS]").run()


def _demo_license(config: Config) -> None:
    with database(config) as opened:
        if licenses.overview(opened):
            click.echo("Licenses are there already; `obol license create` makes another key.")
            return
        key = operator.create_license(opened, credits=DEMO_CREDITS, name="demo").license_key
    click.echo(
        f"A demo license with {DEMO_CREDITS} credits. This is its key; it is shown only now:\n\n    {key}\n\n"
        "Once the server is up, try:\n\n"
        f"    curl -sS http://127.0.0.1:{config.port}/api/v1/generate -H 'Authorization: Bearer {key}' "
        "-H 'Content-Type: application/json' -d '{\"prompt\": \"Hello\"}'\n"
    )


@click.command()
@click.option("--revision", default="head", show_default=True)
def migrate(revision: str) -> None:
    """Bring the database to the newest migration (`alembic upgrade head`)."""
    with environment() as config:
        migrations.upgrade(config.require_migrate_url(), revision)
    click.echo(f"The database is at {revision}.")


@click.command(name="sandbox")
@click.option("--port", default=8001, show_default=True, type=click.IntRange(1, 65535))
@click.option("--delay-ms", default=0, show_default=True, type=click.IntRange(0), help="How long answers take.")
def serve_sandbox(port: int, delay_ms: int) -> None:
    """Serve a local stand-in for the model's API, for trying out and for tests."""
    try:
        server = sandbox.Sandbox(port, delay_ms)
    except OSError as error:
        fail(f"port {port} cannot be used ({error.strerror}); choose another with --port", WRONG_USAGE)
    click.echo(f"The sandbox, not a model, answers at {server.url} (ANTHROPIC_BASE_URL).")
    # Waited for and not handled: a handler's exception can come where Python has to swallow it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.exit(128 + signal.sigwait(_STOP))


COMMANDS = (serve, migrate, serve_sandbox)
