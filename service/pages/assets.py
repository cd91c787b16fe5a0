"""What pages are made of beside HTML: our style and script, and the vendored htmx and uPlot.

Each has the digest of its content in its address, so a browser keeps it for good, and a new release has new addresses.
"""

import hashlib
from importlib.resources import files

from flask import Blueprint, Response

from ..http.auth import no_auth
from ..problems import Problem

_TYPES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "uplot.min.css": "text/css; charset=utf-8",
    "uplot.min.js": "text/javascript; charset=utf-8",
}

_CONTENT = {name: (files("service.pages") / "static" / name).read_bytes() for name in _TYPES}
_DIGESTS = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in _CONTENT.items()}

blueprint = Blueprint("assets", __name__)
blueprint.auth = no_auth  # type: ignore[attr-defined]
blueprint.before_request(no_auth)


def address(name: str) -> str:
    """Where a browser finds a file."""
    return f"/static/{_DIGESTS[name]}/{name}"


@blueprint.get("/static/<digest>/<name>")
def asset(digest: str, name: str) -> Response:
    """A file, if it is still this one."""
    if _DIGESTS.get(name) != digest:
        raise Problem("not_found", "There is no such file in this release.")
    response = Response(_CONTENT[name], content_type=_TYPES[name])
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
