"""Imported keys, which do not name their license: who was looked up is remembered."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from .. import keys
from ..keys import KeyDigest
from ..repository.imports import FoundKey

# How long it is believed that there are none.
BELIEVED_S = 10.0

# Keys that are remembered; who is forgotten is looked up again.
_MOST_KNOWN = 10_000


class ImportedKeys:
    """Finds the license of an imported key. The answer never changes, so it may be kept: whether the key is still
    good is for the call itself to find out. Where nothing was imported, nobody is asked.

    Args:
        find: asks the database for the license of a key, by its digest.
        now: seconds.
    """

    def __init__(self, find: Callable[[bytes], FoundKey], now: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._now = now
        self._known: OrderedDict[bytes, UUID] = OrderedDict()
        self._none_until: float | None = None
        self._lock = threading.Lock()

    def find(self, presented: str) -> KeyDigest | None:
        """What the database is asked with for an imported key; None when there is none like it.

        Raises:
            Problem: over_capacity, database_error.
        """
        digest = keys.parse_imported(presented)
        if digest is None:
            return None
        with self._lock:
            license_id = self._known.get(digest)
            if license_id is not None:
                self._known.move_to_end(digest)
                return KeyDigest(license_id, digest)
            if self._none_until is not None and self._now() < self._none_until:
                return None
        found = self._find(digest)
        with self._lock:
            self._none_until = None if found.are_any else self._now() + BELIEVED_S
            if found.license_id is None:
                return None
            self._known[digest] = found.license_id
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return KeyDigest(found.license_id, digest)
