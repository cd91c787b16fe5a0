"""Obol as gunicorn serves it, and beside it in the same workers what it is compared with: a Flask application
with one route and nothing else."""

from flask import Flask

from wsgi import app

from . import BARE_PATH

_bare = Flask("bare", static_folder=None)


@_bare.get(BARE_PATH)
def bare() -> dict[str, bool]:
    return {"ok": True}


_obol = app.wsgi_app
app.wsgi_app = lambda environ, start: (_bare if environ["PATH_INFO"] == BARE_PATH else _obol)(environ, start)  # type: ignore
