"""What the tests of metrics and traces share: the figures, and how they have changed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apps import create_app
from factories import License
from flask.testing import FlaskClient

from service import metrics
from service.config import load
from service.http.services import services_of

sys.path.insert(0, str(Path(__file__).parent))

from scraping import parse, total


@pytest.fixture
def grown() -> Callable[..., float]:
    """`grown("obol_credits_total", kind="charge")`: what was added since the test began."""
    before = parse(metrics.scrape())
    return lambda name, **labels: total(parse(metrics.scrape()), name, **labels) - total(before, name, **labels)


@pytest.fixture
def make_client(environ: dict[str, str]) -> Any:
    """`make_client(OBOL_REPLAY_KEYS=None)`: a client of another configuration."""
    apps = []

    def make(**more: str | None) -> FlaskClient:
        merged = {**environ, **more}
        apps.append(create_app(load({name: value for name, value in merged.items() if value is not None})))
        return apps[-1].test_client()

    yield make
    for app in apps:
        services_of(app).lease.stop()


@pytest.fixture
def ask(client: FlaskClient) -> Callable[..., Any]:
    """`ask(license, "Hello", client=…, headers={}, **fields)`: a message's response, read to its end."""
    default = client

    def post(
        license: License,
        prompt: str = "Hello",
        *,
        client: FlaskClient | None = None,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> Any:
        body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], **fields}
        return (client or default).post(
            "/v1/messages",
            data=json.dumps(body),
            content_type="application/json",
            headers={**license.headers, **(headers or {})},
            buffered=True,
        )

    return post
