"""The HTTP interface in JSON: thin blueprints, one for each resource."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from ..http import body, errors, openapi, request_log
from ..http.services import Services, provide
from . import (
    deductions,
    entries,
    generate,
    health,
    holds,
    license,
    messages,
    metrics,
    own_keys,
    payments,
    prices,
    usage,
)
from .admin import audit, batch, events, grants, imports, keys, licenses, overview, tokens, verify, webhooks
from .admin import holds as admin_holds
from .admin import payments as admin_payments
from .admin import prices as admin_prices
from .admin import usage as admin_usage

_MODULES = (
    *(generate, messages, deductions, holds, license, own_keys, entries, usage, payments, prices, health, metrics),
    *(licenses, imports, keys, grants, admin_holds, admin_prices, admin_payments, admin_usage),
    *(batch, tokens, audit, overview, verify, webhooks, events),
)


class _App(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view here is a coroutine: a request asked a dozen times whether one is."""
        return func


def create(services: Services) -> Flask:
    """The Flask application over these services."""
    app = _App("obol", static_folder=None)
    provide(app, services)
    # A prompt's order of fields is the client's business; an answer's is ours.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # No redirect from "//x" to "/x": it would lose a POST's body.
    app.url_map.merge_slashes = False
    request_log.init(app)
    body.init(app)
    documentation = openapi.init(app)
    for module in _MODULES:
        documentation.register_blueprint(module.blueprint)
    documentation.register_blueprint(payments.webhook)
    errors.init(app)
    return app
