"""gunicorn for Obol; plain `gunicorn wsgi:app` in this folder picks it up."""

import os

import gunicorn.util

from service import logs
from service.server import (  # noqa: F401 (gunicorn finds its hooks by their names)
    MaskingLogger,
    child_exit,
    load_settings,
    on_exit,
    on_starting,
    post_fork,
    post_worker_init,
    pre_fork,
    share_metrics,
    when_ready,
    worker_exit,
    write_problem,
)

_settings = load_settings()

bind = f"127.0.0.1:{_settings.port}"

# gunicorn's gthread, in which a slow client has no thread. Threads, because an answer is a minute of
# waiting, and because there the time limit below is for the worker as a whole and not for a request: an
# answer may take ten minutes.
worker_class = "service.worker.Worker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = _settings.threads
# One has a thread for as long as its answer takes, and the rest wait for their clients, or for a thread.
worker_connections = 1000 + threads
timeout = 60
keepalive = 30

# After SIGTERM running answers have this long to finish; an idle worker stops at once. What is
# not finished then is killed, and its holds go back when the lease lapses.
graceful_timeout = 600

# No unix socket in the home folder of whoever runs this.
control_socket_disable = True

# By default a client on this machine, and whatever a proxy on it passes on, may choose the path in these headers.
forwarder_headers = ""

# What gunicorn itself refuses (a malformed header, say) never reaches the application.
logger_class = MaskingLogger
gunicorn.util.write_error = write_problem

# One line a request is written by the application, with what it charged.
accesslog = None
errorlog = "-"

logs.configure()
share_metrics(_settings.metrics_dir)
