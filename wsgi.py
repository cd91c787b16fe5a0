"""The application for gunicorn: `gunicorn wsgi:app`."""

import os

from service import create_app
from service.config import load

app = create_app(load(os.environ))
