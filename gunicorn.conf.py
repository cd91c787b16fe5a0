"""gunicorn for Obol; plain `gunicorn wsgi:app` in this folder picks it up."""

import os
import sys

import gunicorn.util

from service import dev, leases_of, logs, warn_of_excess
from service.config import ConfigError, load
from service.embedded import EmbeddedError
from service.refusals import MaskingLogger, write_problem


def give_up(error):
    """End with the exit code that `obol` gives to a wrong configuration."""
    print(f"obol: {error}", file=sys.stderr)
    sys.exit(2)


try:
    settings = load(os.environ)
    if not settings.dev:
        # Missing variables end the master here, by name, and not each worker in turn.
        settings.require_database_url()
        settings.require_anthropic_api_key()
except ConfigError as error:
    give_up(error)

bind = f"127.0.0.1:{settings.port}"

# Threads, because an answer is a minute of waiting, and because there the time limit below is
# for the worker as a whole and not for a request: an answer may take ten minutes.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = settings.threads
timeout = 60
keepalive = 30

# After SIGTERM running answers have this long to finish; an idle worker stops at once. What is
# not finished then is killed, and its holds go back when the lease lapses.
graceful_timeout = 600

# No unix socket in the home folder of whoever runs this.
control_socket_disable = True

# What gunicorn itself refuses (a malformed header, say) never reaches the application.
logger_class = MaskingLogger
gunicorn.util.write_error = write_problem

# One line a request is written by the application, with what it charged.
accesslog = None
errorlog = "-"

logs.configure()
_environment = dev.environment(os.environ)


def on_starting(server):
    """In development: start the embedded PostgreSQL, which the workers then inherit."""
    try:
        os.environ.update(_environment.__enter__())
    except (ConfigError, EmbeddedError) as error:
        give_up(error)


def post_worker_init(worker):
    """Begin the heartbeat in the worker: threads do not survive a fork."""
    leases_of(worker.wsgi).start()
    if worker.age == 1:
        warn_of_excess(worker.wsgi)


def worker_exit(server, worker):
    """End the lease, so that nothing this worker held has to wait for it to lapse."""
    if not worker.booted:
        # Its own exit code tells the master not to try again.
        return
    leases_of(worker.wsgi).stop()
    # A thread that still runs has outlived the grace time, or Ctrl-C was quicker. Its hold is
    # given back, so it must not go on; and waiting for it would keep the terminal for minutes.
    sys.stdout.flush()
    os._exit(0)


def on_exit(server):
    """Stop the embedded PostgreSQL, unless another process uses it."""
    _environment.__exit__(None, None, None)
