"""Answers at rest: AES-256-GCM, bound to the license and the hold that paid for them."""

import secrets
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Stored answers live a day; the idempotency key outlives them (purge_expired) and then says
# "gone", so that no retry is ever a second charge.
ANSWER_TTL_S = 24 * 3600

_NONCE_LENGTH = 12


def _context(license_id: UUID, hold_id: UUID) -> bytes:
    """Authenticated with the answer: a row copied to another license or hold does not open."""
    return license_id.bytes + hold_id.bytes


def seal(keys: Sequence[bytes], license_id: UUID, hold_id: UUID, answer: bytes) -> bytes:
    """Encrypt an answer with the newest key (the first): nonce + ciphertext."""
    nonce = secrets.token_bytes(_NONCE_LENGTH)
    return nonce + AESGCM(keys[0]).encrypt(nonce, answer, _context(license_id, hold_id))


def unseal(keys: Sequence[bytes], license_id: UUID, hold_id: UUID, sealed: bytes) -> bytes | None:
    """The answer, or None when no configured key opens it."""
    for key in keys:
        try:
            return AESGCM(key).decrypt(sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:], _context(license_id, hold_id))
        except InvalidTag:
            continue
    return None
