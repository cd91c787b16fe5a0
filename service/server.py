"""gunicorn's hooks: the lease of a worker, the server's parts in development, and what gunicorn refuses.

The master imports this, and nothing of ours that it does not need itself: that is imported in the workers, so that
they get the new code after a reload. The libraries it imports for them all.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import logging
import os
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

from gunicorn.glogging import Logger

from . import dev, memory, strict_json
from .config import Config, ConfigError, load
from .db import Database, why_unreachable
from .dev.embedded import EmbeddedError
from .logs import log
from .problems import Problem

if TYPE_CHECKING:
    from .http.services import Services

# A license key or one of the upstream, or the beginning of one: what a client mistypes around it is logged.
_KEY = re.compile(r"(obol_|sk-ant-)[\w-]+")
# After a body that was longer than its Content-Length the rest of it is no request, and may be a prompt.
_QUOTED = re.compile(r"(Invalid request from ip=\S*: [A-Za-z ]*).*", re.DOTALL)

_MOST_DESCRIPTORS = 65_536

_OWNER_WAIT_S = 3

_environment = dev.environment(os.environ)

# What takes a second and half of a worker's memory to import, and is the same for all of them. prometheus_client is not
# among these: it looks for its folder then.
_LIBRARIES = (
    "alembic.config",
    "anthropic",
    "cryptography.hazmat.primitives.ciphers.aead",
    "flask_smorest",
    "jinja2",
    "marshmallow",
)

_METRICS_FOLDER = "obol-metrics-"
# A folder that is older and not locked is a dead master's; a younger one may be about to be locked.
_ABANDONED_AFTER_S = 60
_metrics_folder: Path | None = None
_master: int | None = None

# Ctrl-C comes to a worker twice: from the terminal, and from the master, as SIGQUIT.
_QUIT = (signal.SIGINT, signal.SIGQUIT)
_ending = threading.Lock()


def load_settings() -> Config:
    """The configuration. Missing variables end the master here, by name, and not each worker in turn."""
    try:
        settings = load(os.environ)
        settings.check_served()
    except ConfigError as error:
        _give_up(error)
    return settings


def share_metrics(parent: Path) -> None:
    """Make the folder in which the workers put their metrics together, afresh, and remove what killed masters have
    left beside it. Once: after a reload the workers go on with the same one."""
    global _metrics_folder, _master
    if _metrics_folder is None:
        try:
            _remove_abandoned(parent)
            _metrics_folder = Path(tempfile.mkdtemp(prefix=_METRICS_FOLDER, dir=parent))
        except OSError as error:
            _give_up(ConfigError(f"OBOL_METRICS_DIR is not valid: {parent} cannot be used: {error.strerror}."))
        _master = os.getpid()
        # Open, and with it locked, for as long as this process or a worker of it lives.
        fcntl.flock(os.open(_metrics_folder, os.O_RDONLY), fcntl.LOCK_SH)
        # A master that cannot start ends without on_exit.
        atexit.register(_remove_metrics)
    # prometheus_client looks for it when it is imported, which only the workers do.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_folder)


def on_starting(server: Any) -> None:
    """In development: start the embedded PostgreSQL, which the workers then inherit."""
    try:
        os.environ.update(_environment.__enter__())
    except (ConfigError, EmbeddedError) as error:
        _give_up(error)
    # A master that cannot listen, say, ends without on_exit; where both run, the second does nothing.
    atexit.register(on_exit, server)
    # Said once, and not by each worker that finds it out.
    if (why := why_unreachable(load(os.environ).require_database_url())) is not None:
        _give_up(ConfigError(f"the database of DATABASE_URL cannot be used: {why}"))


def when_ready(server: Any) -> None:
    """Import the libraries that the workers share: they begin sooner, and have the memory of it together."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    # What is there by now stays. Looked through by each worker, it would be copied by each.
    gc.collect()
    gc.freeze()


def pre_fork(server: Any, worker: Any) -> None:
    """Give the folder of metrics to whom the worker will be: with `gunicorn --user` another than the master."""
    if _metrics_folder is not None:
        os.chown(_metrics_folder, worker.cfg.uid, worker.cfg.gid)


def post_fork(server: Any, worker: Any) -> None:
    """Give memory back, take as many connections as the system lets, and have SIGINT and SIGQUIT waited for,
    and not handled.

    gunicorn's handler raises SystemExit wherever the main thread is. The second signal's would cut short
    what the first one's began, before the lease is ended, and Python then waits for the running answers.
    It also takes the lock of the thread pool, for ever if the main thread has it.
    """
    memory.set_up()
    # The usual 1,024 descriptors are fewer than the connections that a worker may have.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _MOST_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    # All other threads begin after this one, and inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, _QUIT)
    threading.Thread(target=_wait_for_quit, args=(worker,), name="quit", daemon=True).start()


def post_worker_init(worker: Any) -> None:
    """Begin the heartbeat in the worker: threads do not survive a fork."""
    services = _services(worker)
    services.lease.start()
    services.chores.start()
    # All that is there by now stays, and need not be gone through whenever garbage is collected.
    gc.freeze()
    if worker.age == 1:
        _warn_of_excess(services)
        _warn_of_left_out(services)
        _register_admin_token(load(os.environ), services)


def worker_exit(server: Any, worker: Any) -> None:
    """End a worker whose main loop has ended."""
    # One that did not boot tells the master by its own exit code not to try again. The master calls
    # this, too, for a worker that it finds gone.
    if worker.booted:
        _end(worker)


def child_exit(server: Any, worker: Any) -> None:
    """Take a dead worker out of the gauges. What it has counted stays."""
    if _metrics_folder is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid, str(_metrics_folder))


def on_exit(server: Any) -> None:
    """Remove the folder of metrics; stop the embedded PostgreSQL, unless another process uses it."""
    _remove_metrics()
    _environment.__exit__(None, None, None)


class MaskingLogger(Logger):  # type: ignore[misc]
    """gunicorn's logger, for `logger_class`: it logs no key."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.addFilter(_mask)


def write_problem(  # noqa: PLR0917 (gunicorn calls it)
    connection: socket.socket, status: int, reason: str, message: str
) -> None:
    """Say what gunicorn itself refuses as the application would say it.

    In place of `gunicorn.util.write_error`, which answers in HTML and repeats the request. With 503 it is
    `service.worker` that refuses, and the message begins with the request's path."""
    request_id = f"req_{uuid4().hex}"
    more, content_type = "", "application/problem+json"
    if status == 503:
        problem = Problem("over_capacity", "All threads that this call could have are busy with others. Ask again.")
        more = f"Retry-After: {problem.retry_after}\r\n"
    # 501 is about a Transfer-Encoding that nobody knows.
    elif status >= 500 and status != 501:
        problem = Problem("internal_error", "Something went wrong before the request was read.")
    else:
        problem = Problem("malformed_request", f"The request is no HTTP that can be read here ({reason}).")
    document = problem.document(request_id)
    if status == 503 and message.startswith("/v1/"):
        # Here, because only a worker comes by, and the master must not import it.
        from .http.errors import wire_document

        document, content_type = wire_document(problem, request_id), "application/json"
        more += "x-should-retry: true\r\n"
    body = strict_json.encode(document) + b"\n"
    head = (
        f"HTTP/1.1 {problem.type.status} {problem.type.title}\r\nConnection: close\r\n{more}"
        f"request-id: {request_id}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    # The connection is closed next; a client that does not read must not keep the thread.
    connection.settimeout(1)
    connection.sendall(head.encode() + body)


def _wait_for_quit(worker: Any) -> None:
    signal.sigwait(_QUIT)
    # The main thread takes no new calls meanwhile.
    worker.alive = False
    _end(worker)


def _end(worker: Any) -> NoReturn:
    """End the lease, so that nothing this worker held has to wait for it to lapse; and the process."""
    # Who comes second waits here for the end of the process.
    with _ending:
        try:
            # Before it has booted it has no holds.
            if worker.booted:
                services = _services(worker)
                services.lease.stop()
                services.chores.stop()
                # Here, as above: the master imports none of this.
                from . import tracing

                tracing.stop()
        except Exception:
            worker.log.exception("The lease was not ended. It lapses by itself.")
        finally:
            # A thread that still runs has outlived the grace time, or Ctrl-C was quicker. Its hold is
            # given back, so it must not go on; and waiting for it would keep the terminal for minutes.
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(0)


def _remove_abandoned(parent: Path) -> None:
    """Remove what masters that were killed have left."""
    for folder in parent.glob(f"{_METRICS_FOLDER}*"):
        with contextlib.suppress(OSError):
            found = folder.stat(follow_symlinks=False)
            if found.st_uid != os.geteuid() or time.time() < found.st_mtime + _ABANDONED_AFTER_S:
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(descriptor)


def _remove_metrics() -> None:
    # A worker that cannot start ends with the master's handlers.
    if _metrics_folder is not None and os.getpid() == _master:
        shutil.rmtree(_metrics_folder, ignore_errors=True)


def _services(worker: Any) -> Services:
    from .http.services import services_of

    return services_of(worker.wsgi)


def _warn_of_excess(services: Services) -> None:
    """Log a warning when the database login can do more than the service needs, or shows what it does."""
    from .repository import processes

    try:
        if processes.login_can_do_too_much(services.database):
            log.warning(
                "login_can_do_too_much",
                hint="give DATABASE_URL a login that is only IN ROLE obol_service; the owner is for OBOL_MIGRATE_URL",
            )
        if statements := processes.settings_that_show_digests(services.database):
            log.warning(
                "digests_are_shown",
                hint="key digests can be read in the texts of statements: docs/operating.md, The service's login",
                run_as_superuser=statements,
            )
    except Problem as problem:
        log.warning("login_not_checked", problem=str(problem))


def _warn_of_left_out(services: Services) -> None:
    """Log a warning when a migration has made what the nodes of a sharded database do not have yet."""
    from .repository import sharding

    try:
        if left_out := sharding.left_out(services.database):
            log.warning("not_distributed", hint="run `obol shard` with the owner's URL", names=left_out)
    except Problem as problem:
        log.warning("sharding_not_checked", problem=str(problem))


def _register_admin_token(settings: Config, services: Services) -> None:
    """Have OBOL_ADMIN_TOKEN known to the database. Only the owner's login may add it: where this process has none,
    say who has to."""
    from . import keys
    from .migrations import REVOKED
    from .repository import admin
    from .repository.admin import Actor

    if settings.admin_token is None or (digest := keys.parse_token(settings.admin_token)) is None:
        return
    try:
        admin.check(services.database, Actor(digest, None), "tokens")
        return
    except Problem:
        # Unknown, or the database is away: the next call tells.
        pass
    owner = Database(settings.require_migrate_url(), pool_size=1, wait_s=_OWNER_WAIT_S)
    try:
        if admin.register_first_token(owner, digest) == "revoked":
            log.warning("admin_token_revoked", hint=REVOKED)
    except Problem as problem:
        log.warning(
            "admin_token_not_registered",
            hint="OBOL_ADMIN_TOKEN opens nothing yet: run `obol migrate` or `alembic upgrade head` with it, "
            "and with the owner's URL in OBOL_MIGRATE_URL",
            problem=str(problem),
        )
    finally:
        owner.close()


def _mask(record: logging.LogRecord) -> bool:
    """gunicorn quotes the line that it could not read, and a key or a prompt may be in it."""
    record.msg, record.args = _KEY.sub(r"\1[masked]", _QUOTED.sub(r"\1[…]", record.getMessage())), None
    return True


def _give_up(error: Exception) -> NoReturn:
    """End with the exit code that `obol` gives to a wrong configuration."""
    sys.stderr.write(f"obol: {error}\n")
    sys.exit(2)
