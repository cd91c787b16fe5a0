"""Who asks: the credentials of a request."""

from collections.abc import Callable

from flask import Response, after_this_request, g, request

from .. import keys
from ..keys import KeyDigest
from ..problems import Problem
from ..repository import licenses
from .request_log import note, noted
from .services import services


def license_auth() -> None:
    """Requires a license key: `Authorization: Bearer KEY` or `x-api-key: KEY`; and a thread for it.

    Whether it is a good one is found out later, by `license_key`: the shape of a request is
    judged before the license is.
    """
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not presented:
        presented = request.headers.get("x-api-key", "")
    if not presented.strip():
        raise Problem(
            "credentials_missing", "Send the license key as `Authorization: Bearer KEY` or as `x-api-key: KEY`."
        )
    g.presented_key = presented.strip()
    # What is no key at all is refused without the database, and has a thread for no longer than anybody.
    if (key := keys.parse(g.presented_key)) is not None:
        _take_thread(key)


def no_auth() -> None:
    """Open to everybody."""


def _take_thread(key: KeyDigest) -> None:
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
    no_auth: [],
}

# What everybody who has to show credentials can be refused for, and what only they see of the database.
PROBLEMS: dict[Callable[[], None], tuple[str, ...]] = {
    license_auth: ("credentials_missing", "license_invalid", "limit_exceeded", "over_capacity", "database_error"),
    no_auth: (),
}


def license_key() -> KeyDigest:
    """What the database is asked with for the license key of this request.

    Raises:
        Problem: license_invalid, with the very words of the database for an unknown key.
    """
    key = keys.parse(g.presented_key)
    if key is None:
        raise Problem("license_invalid", "The license key is not valid.")
    note(license_id=str(key.license_id))
    return key
