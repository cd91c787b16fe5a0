"""License keys: `obol_` + license id + `_` + random part + checksum.

    obol_018f3c5e9a7b4d21b6a0c4d2e8f90a1b_hG7…32 characters…x2R4tYk1

The license id (32 hex digits) says where the license lives. The random part is 32 characters
of base62, 190 bits. The checksum is the CRC-32 of all before it in six characters of base62,
so that a mistyped key is refused without asking the database; it proves nothing. Only the
SHA-256 of the whole key is stored: 190 random bits need no salt and no slow hash.
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
_KEY = re.compile(rf"obol_([0-9a-f]{{32}})_[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}", re.ASCII)


class LicenseKey(NamedTuple):
    """What the database is asked with: never the key itself."""

    license_id: UUID
    digest: bytes


def _checksum(body: str) -> str:
    number, characters = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        characters = _ALPHABET[index] + characters
    return characters


def make(license_id: UUID) -> str:
    """A new key for a license. It is the only copy: show it once and forget it."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    body = f"obol_{license_id.hex}_{random}"
    return body + _checksum(body)


def digest(key: str) -> bytes:
    """The 32 bytes that are stored of a key."""
    return hashlib.sha256(key.encode()).digest()


def parse(key: str) -> LicenseKey | None:
    """The license id and digest of a well-formed key; None for anything else."""
    match = _KEY.fullmatch(key)
    if match is None or _checksum(key[:-_CHECKSUM_LENGTH]) != key[-_CHECKSUM_LENGTH:]:
        return None
    return LicenseKey(UUID(match[1]), digest(key))
