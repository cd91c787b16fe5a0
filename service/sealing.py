"""Sealing with AES-256-GCM under one of several keys, the newest first. In front stands the id of the key, in clear: so
that anybody can tell what a key still opens."""

import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# The view obol.undelivered_charges cuts it off the stored bytes.
KEY_ID_LENGTH = 8
NONCE_LENGTH = 12


def key_id(key: bytes) -> bytes:
    """What a key is known by. A key is 32 random bytes: its digest tells nothing of it."""
    return hashlib.sha256(key).digest()[:KEY_ID_LENGTH]


def seal(key: bytes, plain: bytes, context: bytes, *, nonce: bytes | None = None) -> bytes:
    """Id of the key + nonce + ciphertext, which opens only with the same context.

    Args:
        nonce: 12 bytes that no other plain text or context has under this key; None: random ones.
    """
    nonce = nonce or secrets.token_bytes(NONCE_LENGTH)
    return key_id(key) + nonce + AESGCM(key).encrypt(nonce, plain, context)


def unseal(keys: Sequence[bytes], sealed: bytes, context: bytes) -> bytes | None:
    """What was sealed; None when no key of these opens it."""
    # From the database it is a view, which equals no bytes.
    sealed_with, sealed = bytes(sealed[:KEY_ID_LENGTH]), sealed[KEY_ID_LENGTH:]
    for key in keys:
        if key_id(key) == sealed_with:
            try:
                return AESGCM(key).decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], context)
            except InvalidTag:
                return None
    return None
