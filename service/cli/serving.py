"""The commands that serve: the API, its migrations, the sandbox."""

import os
import shlex
import signal
import socket
import sys
import threading
from typing import Any

import click

from .. import migrations, operator
from ..config import Config, load
from ..dev import sandbox
from ..operator import OWNER
from ..repository import licenses, sharding
from .common import REFUSED, WRONG_USAGE, Whole, database, environment, fail, owner

DEMO_CREDITS = 100_000

# gunicorn's options for an address and for a file that may have one, and all that begins like them.
_NAMES_AN_ADDRESS = ("-b", "--b", "-c", "--c")

_STOP = (signal.SIGINT, signal.SIGTERM)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--demo", is_flag=True, help="First migrate, and make a license to try out if there is none.")
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def serve(demo: bool, gunicorn_options: tuple[str, ...]) -> None:
    """Serve the API with gunicorn. Other options are gunicorn's own."""
    program = sys.argv[0]
    settings = load(os.environ)
    # What is missing is named before a port is taken, which may be somebody else's.
    settings.check_served()
    bind: tuple[str, ...] = ()
    if "GUNICORN_CMD_ARGS" not in os.environ and not any(o.startswith(_NAMES_AN_ADDRESS) for o in gunicorn_options):
        bind = ("--bind", _listen(settings.port, "make run" if demo else "obol serve"))
    with environment() as config:
        license_key = None
        if demo:
            migrations.upgrade(config.require_migrate_url(), admin_token=config.admin_token)
            license_key = _demo_license(config)
        # gunicorn takes its configuration from the folder that it is imported in.
        os.chdir(migrations.ROOT)
        sys.path.insert(0, str(migrations.ROOT))
        # In this process, so that what it has started (the embedded PostgreSQL) stops with it.
        from gunicorn.app.wsgiapp import WSGIApplication

        sys.argv = ["obol serve", *bind, *gunicorn_options, "wsgi:app"]
        server = WSGIApplication("%(prog)s [OPTIONS]")
        if demo:
            _say_when_ready(server.cfg, _how_to_ask(config, license_key, program))
        server.run()


def _listen(port: int, command: str) -> str:
    """Take the port before anything is started or shown, and return it as gunicorn is told of it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError as error:
        listener.close()
        other = 8081 if port == 8080 else 8080
        fail(f"port {port} cannot be used ({error.strerror}). Choose another: PORT={other} {command}", WRONG_USAGE)
    # From here on it is gunicorn's to close.
    return f"fd://{listener.detach()}"


def _demo_license(config: Config) -> str | None:
    """Make a license unless there is one; its key."""
    with database(config) as opened:
        if licenses.list_licenses(opened, limit=1):
            return None
        key = operator.create_license(opened, credits=DEMO_CREDITS, name="demo", actor=OWNER).license_key
    click.echo(f"A demo license with {DEMO_CREDITS} credits. This is its key; it is shown only now:\n\n    {key}\n")
    return key


def _how_to_ask(config: Config, license_key: str | None, program: str) -> str:
    """Where Obol is, who answers, and lines to paste into a second terminal."""
    base_url = config.anthropic_base_url
    if config.anthropic_api_key is not None:
        source = "the real model" if base_url is None else f"the real model, at {base_url}"
    else:
        source = base_url or "the sandbox, not from a model"
    url = f"http://127.0.0.1:{config.port}"
    lines = [
        f'curl -sS {url}/api/v1/generate -H "Authorization: Bearer {license_key or "$KEY"}" '
        "-H 'Content-Type: application/json' -d '{\"prompt\": \"Hello\"}'"
    ]
    what = "Try"
    if license_key is None:
        what = "Licenses are there already, and their keys were shown then. To make another and try it"
        obol = f"{'OBOL_DEV=1 ' if config.dev else ''}{shlex.quote(program)}"
        lines.insert(0, f"KEY=$({obol} license create --credits 1000 --json | cut -d'\"' -f8)")
    paste = "\n".join(f"    {line}" for line in lines)
    return f"\nObol is ready at {url}. Answers come from {source}.\n{what}, in a second terminal:\n\n{paste}\n"


def _say_when_ready(settings: Any, text: str) -> None:
    """Have it printed once the first worker takes calls."""
    begin = settings.post_worker_init

    def begin_and_say(worker: Any) -> None:
        begin(worker)
        if worker.age == 1:
            click.echo(text)

    settings.set("post_worker_init", begin_and_say)


@click.command()
@click.option("--revision", default="head", show_default=True)
def migrate(revision: str) -> None:
    """Bring the database to the newest migration (`alembic upgrade head`)."""
    with environment() as config:
        migrations.upgrade(config.require_migrate_url(), revision, admin_token=config.admin_token)
    click.echo(f"The database is at {revision}.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the statements that would be run, and run none.")
def shard(dry_run: bool) -> None:
    """Distribute the migrated database over the nodes of its Citus cluster; again after every migration."""
    with owner() as opened:
        try:
            plan = sharding.plan(opened, migrations.granted())
        except sharding.CannotShard as error:
            fail(str(error), REFUSED)
        for statement in (*plan.steps, *plan.grants):
            if not dry_run:
                sharding.run(opened, statement)
            click.echo(f"{statement};")
    if not plan.steps:
        click.echo("-- All of the schema is distributed.")


@click.command(name="sandbox")
@click.option("--port", default=8001, show_default=True, type=Whole(1, 65535))
@click.option("--delay-ms", default=0, show_default=True, type=Whole(0, 3_600_000), help="How long answers take.")
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


COMMANDS = (serve, migrate, shard, serve_sandbox)
