"""Who is logged in to a page: a sealed cookie. The server keeps nothing of it.

What is in the cookie is encrypted and authenticated with AES-256-GCM, under a key that OBOL_SESSION_KEY makes: the
digest of the token or the license key, which is what the database is asked with, never the token or key itself; what
the page shows; and the secret of its forms. So a cookie that is read tells nothing, none can be made up, and one of the
console is none of the account. The database looks at the token or key in every request, so one that is revoked ends
its sessions. Whoever is not logged in has a cookie of another name, only for the form to log in with: a session begins
with a new one, and nobody can be given one that somebody else knows.
"""

import base64
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Response, request

from ..http.services import services
from ..problems import Problem

LIFE_S = 8 * 3600
# How long a form to log in with may stand open.
GUEST_LIFE_S = 3600

_NONCE_LENGTH = 12
# Longer than any session: nothing else is looked at.
_LONGEST = 4096


@dataclass(frozen=True)
class Face:
    """Pages that are logged in to together: the console, or an account. `path` is where they are."""

    name: str
    path: str


class Session(NamedTuple):
    """Who is logged in. `digest` is of a token, or, with a `license_id`, of a license key; `scopes` are the token's, or
    `keys` of a license key that may make others. They decide what is shown; what is allowed is decided by the database,
    each time."""

    digest: bytes
    license_id: UUID | None
    name: str
    scopes: tuple[str, ...]
    csrf: str
    expires_at: int


def begin(face: Face, response: Response, *, digest: bytes, license_id: UUID | None = None, name: str = "",
          scopes: tuple[str, ...] = ()) -> None:  # fmt: skip
    """Log in: a new session, with a secret of its own, whatever cookies the browser had."""
    said = {
        "digest": digest.hex(),
        "license_id": None if license_id is None else str(license_id),
        "name": name,
        "scopes": scopes,
        "csrf": secrets.token_urlsafe(24),
        "expires_at": int(time.time()) + LIFE_S,
    }
    _set(response, _cookie(face, "session"), said=said, life_s=LIFE_S)
    _drop(response, _cookie(face, "guest"))


def end(face: Face, response: Response) -> None:
    """Log out: the browser forgets the session."""
    _drop(response, _cookie(face, "session"))


def find(face: Face) -> Session | None:
    """The session of the current request; None where there is none that is good."""
    said = _read(_cookie(face, "session"))
    if said is None:
        return None
    return Session(
        bytes.fromhex(said["digest"]),
        None if said["license_id"] is None else UUID(said["license_id"]),
        said["name"],
        tuple(said["scopes"]),
        said["csrf"],
        said["expires_at"],
    )


def guest_csrf(face: Face) -> str | None:
    """The secret of the form to log in with; None where the browser has none that is good."""
    said = _read(_cookie(face, "guest"))
    return None if said is None else str(said["csrf"])


def welcome(face: Face, response: Response, csrf: str) -> None:
    """Give a browser that is not logged in what the form to log in with has to match."""
    said = {"csrf": csrf, "expires_at": int(time.time()) + GUEST_LIFE_S}
    _set(response, _cookie(face, "guest"), said=said, life_s=GUEST_LIFE_S)


def new_csrf() -> str:
    return secrets.token_urlsafe(24)


def is_same(expected: str | None, given: str) -> bool:
    """Whether a form has the secret of its session, in a time that tells nothing of it."""
    return expected is not None and hmac.compare_digest(expected.encode(), given.encode())


def is_set_up() -> bool:
    """Whether anybody can log in: there is a key to seal sessions with."""
    return services().session_key is not None


def check_set_up() -> None:
    """Raises: Problem not_found, where nobody can log in."""
    if not is_set_up():
        raise Problem(
            "not_found", "The console and the account pages are off: the operator has not set OBOL_SESSION_KEY."
        )


def _cookie(face: Face, of: str) -> str:
    # With this prefix a browser takes the cookie from nobody but this host itself, over TLS.
    return f"{'__Host-' if _is_secure() else ''}obol_{face.name}_{of}"


def _is_secure() -> bool:
    # What a proxy on another machine says of TLS is not believed, but the operator is.
    return request.is_secure or (services().public_url or "").startswith("https://")


def _set(response: Response, name: str, *, said: dict[str, Any], life_s: int) -> None:
    nonce = secrets.token_bytes(_NONCE_LENGTH)
    sealed = nonce + _aead().encrypt(nonce, json.dumps(said).encode(), name.encode())
    value = base64.urlsafe_b64encode(sealed).decode()
    response.set_cookie(name, value, max_age=life_s, path="/", secure=_is_secure(), httponly=True, samesite="Strict")


def _drop(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=_is_secure(), httponly=True, samesite="Strict")


def _read(name: str) -> dict[str, Any] | None:
    value = request.cookies.get(name, "")
    if not 0 < len(value) <= _LONGEST:
        return None
    try:
        sealed = base64.b64decode(value.encode("ascii"), altchars=b"-_", validate=True)
        opened = _aead().decrypt(sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:], name.encode())
    except (ValueError, InvalidTag):
        return None
    # Nobody but this service can have written it.
    said: dict[str, Any] = json.loads(opened)
    return said if said["expires_at"] > time.time() else None


def _aead() -> AESGCM:
    key = services().session_key
    assert key is not None, "check_set_up comes first"
    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=b"obol sessions of pages").derive(key))
