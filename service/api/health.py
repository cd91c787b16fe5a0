"""/healthz (the process) and /readyz (the process and its database)."""

from typing import Any

from flask import jsonify

from .. import migrations
from ..http.auth import no_auth
from ..http.blueprint import Blueprint
from ..http.services import services
from ..problems import Problem
from ..repository import processes

blueprint = Blueprint("health", no_auth)

_HEAD = migrations.head()


@blueprint.get("/healthz")
def healthz() -> Any:
    """The process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> Any:
    """The database answers and is at the newest migration."""
    try:
        revision = processes.revision(services().database)
    except Problem as problem:
        return _not_ready(problem.detail)
    if revision != _HEAD:
        return _not_ready(f"The database is at migration {revision}, this release at {_HEAD}: run `obol migrate`.")
    return {"status": "ready", "revision": revision}


def _not_ready(reason: str) -> Any:
    return jsonify(status="not ready", reason=reason), 503
