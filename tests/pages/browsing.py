"""A person with a browser, without the browser: logs in, reads pages, and sends the forms that stand in them."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

from flask.testing import FlaskClient

BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
CONFIRMED = {"idempotency_key", "confirmed"}


class _Forms(HTMLParser):
    """The forms of a page: where each is sent, and the fields that it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        said = dict(attrs)
        if tag == "form":
            self.found.append((said.get("method", "get"), said["action"], {}))
        elif tag in ("input", "select", "textarea") and self.found and "name" in said:
            self.found[-1][2][said["name"]] = said.get("value") or ""


class Person:
    """Whoever holds a token or a license key."""

    def __init__(self, client: FlaskClient, face: str) -> None:
        self.client = client
        self.face = face

    def log_in(self, secret: str, **more: str) -> Any:
        self.get(f"/{self.face}/login")
        field = "token" if self.face == "console" else "license_key"
        return self.send(f"/{self.face}/login", {field: secret, **more}, of=f"/{self.face}/login")

    def get(self, path: str, status: int = 200, **headers: str) -> str:
        response = self.client.get(path, headers=BROWSER | headers)
        assert response.status_code == status, response.get_data(as_text=True)
        return response.get_data(as_text=True)

    def forms(self, path: str) -> dict[str, dict[str, str]]:
        """The forms of a page that change something, by where they are sent."""
        return posts(self.get(path))

    def send(self, path: str, fields: dict[str, Any], of: str, **headers: str) -> Any:
        """Send the form of page `of` that goes to `path`, filled in."""
        form = self.forms(of)[path]
        assert fields.keys() <= form.keys() | {"scopes"}, f"the form has {sorted(form)}"
        return self.client.post(path, data=form | fields, headers=BROWSER | headers)

    def confirm(self, asked: Any) -> Any:
        """Agree to what a page asks once more."""
        html = asked.get_data(as_text=True)
        assert asked.status_code == 200, html
        assert "Nothing has happened yet" in html
        ((path, form),) = [(path, form) for path, form in posts(html).items() if form.keys() >= CONFIRMED]
        pairs = fields_of(html)
        assert dict(pairs) == form
        return self.client.post(path, data=multi(pairs), headers=BROWSER)

    def act(self, path: str, fields: dict[str, Any], of: str) -> Any:
        """Send a form and agree; what comes of it."""
        return self.confirm(self.send(path, fields, of))


def posts(html: str) -> dict[str, dict[str, str]]:
    return {path: fields for method, path, fields in _Forms(html).found if method == "post"}


def fields_of(html: str) -> list[tuple[str, str]]:
    """All hidden fields of the form that agrees, those of one name too, in their order."""
    start = html.rindex("<form", 0, html.index('name="confirmed"'))
    body = html[start : html.index("</form>", start)]
    return [
        (unescape(n), unescape(v)) for n, v in re.findall('<input type="hidden" name="([^"]*)" value="([^"]*)">', body)
    ]


def multi(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found
