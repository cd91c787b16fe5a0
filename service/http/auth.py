"""Who asks: the credentials of a request."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from flask import Response, after_this_request, current_app, g, request

from .. import keys
from ..keys import KeyDigest
from ..problems import Problem
from ..repository import admin, licenses
from ..repository.admin import Actor
from .connection import peer_address
from .request_log import note, noted, request_id
from .services import services


def license_auth() -> None:
    """Requires a license key: `Authorization: Bearer KEY` or `x-api-key: KEY`; and a thread for it.

    Whether it is a good one is found out later, by `license_key`: the shape of a request is
    judged before the license is.
    """
    presented = _bearer() or request.environ.get("HTTP_X_API_KEY", "")
    if not presented.strip():
        raise Problem(
            "credentials_missing", "Send the license key as `Authorization: Bearer KEY` or as `x-api-key: KEY`."
        )
    presented = presented.strip()
    # What is no key at all is refused without the database, and has a thread for no longer than anybody.
    key = keys.parse(presented) or services().imported_keys.find(presented)
    g.license_key = key
    if key is not None:
        take_thread(key)


def admin_auth() -> None:
    """Requires an admin token, `Authorization: Bearer TOKEN`, with the scope that the view's blueprint names for
    it. Before the request is looked at: its shape is nobody else's business."""
    blueprint: Any = current_app.blueprints[str(request.blueprint)]
    admin_token(blueprint.scopes[str(request.endpoint).rpartition(".")[2]])


def admin_token(scope: str) -> Actor:
    """Who the bearer token of this request is of, once the database has found it good for a scope. The functions
    that are called with it look again, in the transaction of the act.

    Raises:
        Problem: credentials_missing; admin_forbidden, with the scope that is missing.
    """
    presented = _bearer()
    if not presented:
        raise Problem("credentials_missing", "Send an admin token as `Authorization: Bearer TOKEN`.")
    digest = keys.parse_token(presented)
    if digest is None:
        # The very words of the database for an unknown one.
        raise Problem("admin_forbidden", "The admin token is not valid.")
    g.actor = Actor(digest, request_id())
    note(actor=admin.check(services().database, g.actor, scope))
    return actor()


def actor() -> Actor:
    """Who the admin token of this request is of."""
    found: Actor = g.actor
    return found


def no_auth() -> None:
    """Open to everybody."""


def _bearer() -> str:
    """What is presented as `Authorization: Bearer`; empty when nothing is."""
    scheme, _, presented = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return presented.strip() if scheme.lower() == "bearer" else ""


def watcher_auth() -> None:
    """For callers on this machine, and for an admin token with the scope `read`."""
    if not _is_local():
        admin_token("read")


# What a proxy says of whom it asks for. Nothing is granted by it: anybody can write it.
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def _is_local() -> bool:
    """Whether the caller itself is on this machine, by the other end of its connection. A proxy on this machine
    is, too, and whomever it asks for: those that say so are told apart, and docs/operating.md has the others."""
    if any(name in request.headers for name in _PASSED_ON):
        return False
    peer = peer_address(request.environ.get("gunicorn.socket")) or request.environ.get("REMOTE_ADDR", "")
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    # ::ffff:127.0.0.1, where one socket listens for both kinds of addresses.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def take_thread(key: KeyDigest) -> None:
    """Count this request for the license of a key until its answer is delivered. Raises: Problem limit_exceeded, or
    license_invalid."""
    threads = services().threads
    if threads.is_in_doubt(key):
        licenses.find(services().database, key)
        threads.trust(key)
    threads.take(key)
    in_hand = [key]

    def end() -> None:
        # A response can be closed twice.
        if in_hand:
            threads.give_back(in_hand.pop())

    @after_this_request
    def release(response: Response) -> Response:
        if response.status_code < 400:
            threads.trust(key)
        elif noted("code") == "license_invalid":
            threads.distrust(key)
        response.call_on_close(end)
        return response


SECURITY: dict[Callable[[], None], list[dict[str, list[str]]]] = {
    license_auth: [{"license_key": []}, {"x_api_key": []}],
    admin_auth: [{"admin_token": []}],
    no_auth: [],
    watcher_auth: [{}, {"admin_token": []}],
}

_OF_TOKENS = ("credentials_missing", "admin_forbidden", "over_capacity", "database_error")

# What everybody who has to show credentials can be refused for, and what only they see of the database.
PROBLEMS: dict[Callable[[], None], tuple[str, ...]] = {
    license_auth: ("credentials_missing", "license_invalid", "limit_exceeded", "over_capacity", "database_error"),
    admin_auth: _OF_TOKENS,
    no_auth: (),
    watcher_auth: _OF_TOKENS,
}


def license_key() -> KeyDigest:
    """What the database is asked with for the license key of this request.

    Raises:
        Problem: license_invalid, with the very words of the database for an unknown key.
    """
    key: KeyDigest | None = g.license_key
    if key is None:
        raise Problem("license_invalid", "The license key is not valid.")
    note(license_id=str(key.license_id))
    return key
