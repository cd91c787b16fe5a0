"""Pages for people: what this is, what each call does, and what a problem means."""

from flask import Flask

from ..http import openapi
from . import public


def init(app: Flask) -> None:
    """Serve the pages."""
    openapi.api_of(app).register_blueprint(public.blueprint)
