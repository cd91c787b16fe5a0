"""HTML out of templates, that needs nothing from anywhere else and may not fetch it."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from typing import Any

from flask import Response, request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from .. import money

HTML = "text/html"
JSON = "application/json"


def _marked_up(text: str) -> Markup:
    """Text in which `backticks` are around code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def _preformatted(text: str) -> Markup:
    """Text between tags, where quotes mean nothing; in long examples each would take five characters."""
    marked = escape(text)
    return Markup('"').join(marked.split("&#34;"))


def _credits(number: int) -> str:
    """A whole number as people read it, with the sign that a typesetter takes."""
    return f"{number:,}".replace("-", "\u2212")


def lifetime(days: int | None) -> str:
    """How long credits are usable."""
    return "for good" if days is None else "one day" if days == 1 else f"{days:,} days"


def _moment(value: datetime | str | None, none: str = "never") -> Markup:
    """A time to the minute, and to the microsecond for who points at it."""
    if value is None:
        return Markup("<span class=quiet>{}</span>").format(none)
    utc = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(
        utc.isoformat().replace("+00:00", "Z"), utc.strftime("%Y-%m-%d %H:%M")
    )


_templates = Environment(
    loader=PackageLoader("service.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["marked_up"] = _marked_up
_templates.filters["preformatted"] = _preformatted
_templates.filters["credits"] = _credits
_templates.filters["moment"] = _moment
_templates.filters["money"] = money.show
_templates.filters["lifetime"] = lifetime
_templates.policies["json.dumps_kwargs"] = {"sort_keys": False, "ensure_ascii": False}

_style = _templates.get_template("style.css").render()
# Only this style, by its hash, and nothing else: no script, no form, no frame, no request to anywhere.
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_style.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# Pages that are logged in to have our own style and scripts, from here alone and from files: nothing that stands in a
# page is ever run.
_LOGGED_IN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action {}; "
    "base-uri 'none'; frame-ancestors 'none'"
)

# What a page may show of the Host that its reader sent, in a line to be pasted into a shell.
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:]{2,45}\](:\d{1,5})?", re.ASCII)
ANY_ORIGIN = "http://127.0.0.1:8000"


def wants_html() -> bool:
    """Whether a browser asks: whoever has no preference gets JSON."""
    return request.accept_mimetypes.best_match([JSON, HTML]) == HTML


def render(template: str, **values: Any) -> str:
    """A page of HTML."""
    return _templates.get_template(template).render(**values)


def respond(html: str) -> Response:
    """A page to a browser."""
    response = Response(html, content_type=f"{HTML}; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def respond_logged_in(html: str, status: int = 200, forms_lead_to: str | None = None) -> Response:
    """A page of the console or an account: nobody may frame it, or learn its address from a link.

    Args:
        forms_lead_to: another origin to which a form of this page, which is sent here, may be redirected: browsers
            look at that too.
    """
    response = Response(html, status=status, content_type=f"{HTML}; charset=utf-8")
    response.headers["Content-Security-Policy"] = _LOGGED_IN_POLICY.format(
        "'self'" if forms_lead_to is None else f"'self' {forms_lead_to}"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def origin() -> str:
    """Where its reader finds this service."""
    return f"{request.scheme}://{request.host}" if _HOST.fullmatch(request.host) else ANY_ORIGIN
