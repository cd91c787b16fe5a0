"""License keys, and the tokens of the admin API.

A license key is `obol_` + license id + `_` + random part + checksum:

    obol_018f3c5e9a7b4d21b6a0c4d2e8f90a1b_hG7…32 characters…x2R4tYk1

The license id (32 hex digits) says where the license lives. The random part is 32 characters
of base62, 190 bits. The checksum is the CRC-32 of all before it in six characters of base62,
so that a mistyped key is refused without asking the database; it proves nothing. Only the
SHA-256 of the whole key is stored: 190 random bits need no salt and no slow hash.

An imported key is one that another system made: what clients of it go on using. It can be anything that a header can
carry, and names no license, so the database is asked for its license by its digest. It may be less random than ours, so
that digest is shown to nobody, and no id is made from it.

A token of the admin API is `obol_admin_` + random part + checksum, made and kept in the same way. The first one,
OBOL_ADMIN_TOKEN, is whatever its operator chose.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import NamedTuple
from uuid import UUID

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 32
_CHECKSUM_LENGTH = 6
_TOKEN_PREFIX = "obol_admin_"  # noqa: S105 (how each of them begins)
LEAST_TOKEN_LENGTH = 32
_KEY = re.compile(rf"obol_([0-9a-f]{{32}})_[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}", re.ASCII)
# What begins so is ours, and never another system's.
_OWN = re.compile(r"obol_[0-9a-f]{32}_|obol_admin_")
LEAST_IMPORTED_LENGTH = 8
MOST_IMPORTED_LENGTH = 256
_IMPORTED = re.compile(rf"[!-~]{{{LEAST_IMPORTED_LENGTH},{MOST_IMPORTED_LENGTH}}}")


class KeyDigest(NamedTuple):
    """What the database is asked with in place of a license key: it opens nothing by itself that a
    client could send."""

    license_id: UUID
    digest: bytes


class NewKey(NamedTuple):
    """A license key and its digest. This is the only copy of the key: show it once and forget it."""

    license_key: str
    digest: KeyDigest


class NewToken(NamedTuple):
    """A token of the admin API and its digest. This is the only copy of the token: show it once and forget it."""

    token: str
    digest: bytes


def _checksum(body: str) -> str:
    number, characters = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        characters = _ALPHABET[index] + characters
    return characters


def make(license_id: UUID) -> NewKey:
    """A new key for a license."""
    license_key = _with_random_part(f"obol_{license_id.hex}_")
    return NewKey(license_key, KeyDigest(license_id, _sha256(license_key)))


def make_token() -> NewToken:
    """A new token of the admin API."""
    token = _with_random_part(_TOKEN_PREFIX)
    return NewToken(token, _sha256(token))


def parse(license_key: str) -> KeyDigest | None:
    """The digest of a well-formed key; None for anything else."""
    match = _KEY.fullmatch(license_key)
    if match is None or not _has_checksum(license_key):
        return None
    return KeyDigest(UUID(match[1]), _sha256(license_key))


def is_own(license_key: str) -> bool:
    """Whether this is, or is meant to be, a key or a token that was made here."""
    return _OWN.match(license_key) is not None


def parse_imported(license_key: str) -> bytes | None:
    """The digest of what can be an imported key; None for what cannot."""
    if is_own(license_key) or _IMPORTED.fullmatch(license_key) is None:
        return None
    return _sha256(license_key)


def parse_token(token: str) -> bytes | None:
    """The digest of what can be a token of the admin API; None for what is none. What begins as the tokens that
    are made here has to be one; anything else long enough may be OBOL_ADMIN_TOKEN."""
    if token.startswith(_TOKEN_PREFIX):
        length = len(_TOKEN_PREFIX) + _RANDOM_LENGTH + _CHECKSUM_LENGTH
        return _sha256(token) if len(token) == length and _has_checksum(token) else None
    return _sha256(token) if len(token) >= LEAST_TOKEN_LENGTH else None


def _with_random_part(prefix: str) -> str:
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return body + _checksum(body)


def _has_checksum(text: str) -> bool:
    return _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
