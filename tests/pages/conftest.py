"""What the tests of the pages share: a page as it was read, and what of it would leave this machine."""

import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from factories import License
from flask import Flask
from flask.testing import FlaskClient

sys.path.insert(0, str(Path(__file__).parent))

from browsing import Person

# They have no end tag.
VOID = {"meta", "link", "img", "br", "hr", "input"}
# Attributes by which a browser fetches something or goes somewhere.
REFERENCES = {"href", "src", "srcset", "action", "data", "poster", "background", "formaction", "ping"}


class Page(HTMLParser):
    """HTML in which every tag is closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"a script: {name}"
            assert name != "style", "a style that the policy forbids"
            if name == "id":
                self.ids.append(value or "")
            if name in REFERENCES:
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            assert "url(" not in data
            assert "@import" not in data
        else:
            self.text += data


@pytest.fixture
def read(client: FlaskClient) -> Callable[..., Any]:
    """`read("/docs")`: a page as a browser gets it."""

    def get(path: str) -> Page:
        response = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8")
        html = response.get_data(as_text=True)
        assert html.startswith("<!doctype html>\n")
        return Page(html)

    return get


@pytest.fixture
def operator(app: Flask, new_token: Callable[..., str]) -> Callable[..., Person]:
    """`operator("read", "grant")`: somebody who has logged in to the console with a token of these scopes, by default
    with all."""

    def log_in(*scopes: str, **values: Any) -> Person:
        person = Person(app.test_client(), "console")
        response = person.log_in(new_token(*scopes, **values))
        assert (response.status_code, response.headers["Location"]) == (303, "/console")
        return person

    return log_in


@pytest.fixture
def customer(app: Flask) -> Callable[[License], Person]:
    """`customer(license)`: somebody who has logged in to the account with its key."""

    def log_in(license: License) -> Person:
        person = Person(app.test_client(), "account")
        response = person.log_in(license.raw_key)
        assert (response.status_code, response.headers["Location"]) == (303, "/account")
        return person

    return log_in


@pytest.fixture
def ask(client: FlaskClient) -> Callable[[License], Any]:
    """`ask(license)`: the response to a call for an answer."""

    def post(license: License) -> Any:
        return client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=license.headers)

    return post
