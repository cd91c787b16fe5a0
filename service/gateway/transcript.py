"""Answers that are kept for a retry: compressed, then sealed, bound to the license and the hold that paid for
them."""

import zlib
from collections.abc import Iterator, Sequence
from uuid import UUID

from .. import sealing
from ..sealing import key_id as key_id

# Stored answers live a day; the idempotency key outlives them (purge_expired) and then says
# "gone", so that no retry is ever a second charge.
ANSWER_TTL_S = 24 * 3600

# Compressed bytes. A stream repeats itself, so this is far more than the longest answer; what is
# longer all the same is not stored, and its retry gets "gone".
MOST_STORED = 16 * 1024 * 1024

_PIECE = 64 * 1024


class Transcript:
    """An answer while it comes in, in a tenth of the memory that it would take as it is.

    Args:
        keys: as for `seal`; none: nothing is kept.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = keys
        self._compressor = zlib.compressobj()
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        """The next bytes of the answer."""
        if self._keys and len(self._kept) <= MOST_STORED:
            self._kept += self._compressor.compress(piece)

    def seal(self, license_id: UUID, hold_id: UUID) -> bytes | None:
        """Encrypt what was added with the first key: id of the key + nonce + ciphertext. None when
        there is no key, or the answer is too long to be stored."""
        self._kept += self._compressor.flush()
        if not self._keys or len(self._kept) > MOST_STORED:
            return None
        return sealing.seal(self._keys[0], bytes(self._kept), _context(license_id, hold_id))


def unseal(keys: Sequence[bytes], license_id: UUID, hold_id: UUID, *, sealed: bytes) -> bytes | None:
    """The answer as it was kept, for `pieces`; None when no configured key opens it."""
    return sealing.unseal(keys, sealed, _context(license_id, hold_id))


def pieces(kept: bytes) -> Iterator[bytes]:
    """The answer, some of it at a time: it is ten times as long as what is kept."""
    decompressor = zlib.decompressobj()
    while not decompressor.eof:
        yield decompressor.decompress(kept, _PIECE)
        # What is kept is whole, or it would not have opened: the end comes.
        kept = decompressor.unconsumed_tail


def _context(license_id: UUID, hold_id: UUID) -> bytes:
    """Authenticated with the answer: a row copied to another license or hold does not open."""
    return license_id.bytes + hold_id.bytes
