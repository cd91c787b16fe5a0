"""Applications for tests. Routes and their description are the same for every configuration, and to make them takes a
fifth of a second: they are made once a process, and each test's application has services of its own."""

import copy
from functools import cache
from unittest.mock import patch

from flask import Flask

import service
from service import api, pages
from service.config import Config
from service.http.services import Services, provide

_create, _init = api.create, pages.init


@cache
def _routes() -> Flask:
    app = _create(None)  # type: ignore[arg-type]
    _init(app)
    return app


def _with(services: Services) -> Flask:
    app = copy.copy(_routes())
    app.extensions = dict(app.extensions)
    app.config = copy.copy(app.config)
    # What a test adds would be in the applications of all tests after it: Flask refuses it as after a first request.
    app._got_first_request = True
    provide(app, services)
    return app


def create_app(config: Config) -> Flask:
    """As the service's. Whoever adds to what it serves needs the real one."""
    with patch.object(api, "create", _with), patch.object(pages, "init"):
        return service.create_app(config)
