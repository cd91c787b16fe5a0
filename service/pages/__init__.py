"""Pages for people: what this is, what each call does, what a problem means; the console of operators, and the
account of whoever holds a license key."""

from flask import Flask

from ..http import openapi
from . import account, assets, console, public, top_up
from .console import credits, entry, health, keys, license, licenses, overview, packages, payments, prices, tokens

# Each adds its views to the console's blueprint.
CONSOLE = (entry, overview, licenses, license, credits, keys, prices, packages, payments, tokens, health)
# And this one its own to the account's.
ACCOUNT = (account, top_up)


def init(app: Flask) -> None:
    """Serve the pages."""
    openapi.api_of(app).register_blueprint(public.blueprint)
    # These are for people: /openapi.json has none of them.
    for blueprint in (assets.blueprint, console.blueprint, account.blueprint):
        app.register_blueprint(blueprint)
