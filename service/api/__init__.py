"""The HTTP interface: thin blueprints, one for each resource."""

from dataclasses import dataclass

from flask import Flask

from ..completions import Completions
from ..db import Database
from ..leases import Leases
from ..upstream import Upstream
from . import access, deductions, errors, generate, health, holds, license, messages, openapi, prices


@dataclass(frozen=True)
class Services:
    """What the views work with, as `current_app.extensions["obol"]`."""

    database: Database
    leases: Leases
    completions: Completions
    upstream: Upstream
    default_model: str
    default_max_tokens: int


def create(services: Services) -> Flask:
    """The Flask application over these services."""
    app = Flask("obol", static_folder=None)
    app.extensions["obol"] = services
    # A prompt's order of fields is the client's business; an answer's is ours.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # No redirect from "//x" to "/x": it would lose a POST's body.
    app.url_map.merge_slashes = False
    access.init(app)
    documentation = openapi.init(app)
    for module in (generate, messages, deductions, holds, license, prices, health):
        documentation.register_blueprint(module.blueprint)
    errors.init(app)
    return app
