"""Pages for people: what this is, what each call does, what a problem means; the console of operators, and the
account of whoever holds a license key."""

from flask import Flask

from ..http import openapi
from . import account, account_keys, assets, console, public, top_up
from .console import (
    alerts,
    credits,
    entry,
    health,
    keys,
    license,
    licenses,
    overview,
    packages,
    payments,
    prices,
    tokens,
    webhooks,
)  # fmt: skip

# Each adds its views to the console's blueprint.
CONSOLE = (
    *(entry, overview, licenses, license, credits, keys, alerts, prices, packages, payments, webhooks, tokens, health),
)
# And these their own to the account's.
ACCOUNT = (account, account_keys, top_up)


def init(app: Flask) -> None:
    """Serve the pages."""
    openapi.api_of(app).register_blueprint(public.blueprint)
    # These are for people: /openapi.json has none of them.
    for blueprint in (assets.blueprint, console.blueprint, account.blueprint):
        app.register_blueprint(blueprint)
