"""/healthz (the process) and /readyz (the process and its database)."""

from typing import Any

from flask import Response
from marshmallow import fields, validate

from .. import migrations, strict_json
from ..http.auth import no_auth
from ..http.blueprint import Blueprint
from ..http.fields import Answer
from ..http.services import services
from ..problems import Problem
from ..repository import processes


class ProcessAnswer(Answer):
    status = fields.String(validate=validate.Equal("ok"))


class ReadyAnswer(Answer):
    status = fields.String(validate=validate.Equal("ready"))
    revision = fields.String(metadata={"description": "of the database: its newest migration"})


class NotReadyAnswer(Answer):
    status = fields.String(validate=validate.Equal("not ready"))
    reason = fields.String()


blueprint = Blueprint("health", no_auth, description="Whether the process and its database are well.")

_HEAD = migrations.head()


@blueprint.get("/healthz")
@blueprint.response(200, ProcessAnswer, example={"status": "ok"})
def healthz() -> Any:
    """The process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
@blueprint.response(200, ReadyAnswer, example={"status": "ready", "revision": _HEAD})
@blueprint.alt_response(
    503,
    schema=NotReadyAnswer,
    example={"status": "not ready", "reason": "The database could not be reached. Ask again."},
)
def readyz() -> Any:
    """The database answers and is at the newest migration."""
    try:
        revision = processes.revision(services().readiness)
    except Problem as problem:
        return _not_ready(problem.detail)
    if revision != _HEAD:
        return _not_ready(f"The database is at migration {revision}, this release at {_HEAD}: run `obol migrate`.")
    return {"status": "ready", "revision": revision}


def _not_ready(reason: str) -> Any:
    document = {"status": "not ready", "reason": reason}
    return Response(strict_json.encode(document) + b"\n", status=503, content_type="application/json")
