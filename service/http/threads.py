"""How many of this process's threads one license has."""

import threading
from collections import Counter, OrderedDict, defaultdict
from uuid import UUID

from ..keys import KeyDigest
from ..problems import Problem

RETRY_AFTER_S = 1

# Keys that are remembered as good; who is forgotten is found good again.
_MOST_KNOWN = 10_000


class Threads:
    """Counts the calls in hand, until their answers are delivered.

    The id of a license stands in its key, and anybody can make up the rest. So a key counts for itself, until
    the database has found it good, and only then for its license: nobody can shut out another's.
    """

    def __init__(self, per_license: int) -> None:
        self._per_license = per_license
        # By the digests of keys.
        self._taken: Counter[bytes] = Counter()
        self._good: OrderedDict[bytes, UUID] = OrderedDict()
        self._keys: defaultdict[UUID, set[bytes]] = defaultdict(set)
        self._lock = threading.Lock()

    def take(self, key: KeyDigest) -> None:
        """Count a call.

        Raises:
            Problem: limit_exceeded.
        """
        with self._lock:
            counted = self._keys[self._good[key.digest]] if key.digest in self._good else {key.digest}
            used = sum(self._taken[digest] for digest in counted)
            if used < self._per_license:
                self._taken[key.digest] += 1
                return
        raise Problem(
            "limit_exceeded",
            f"This license has {used} calls in hand here, and may have no more. Ask again when one has ended.",
            {"limit": "threads", "limit_value": self._per_license, "used": used, "retry_after_s": RETRY_AFTER_S},
            retry_after_s=RETRY_AFTER_S,
        )

    def give_back(self, key: KeyDigest) -> None:
        """The call has ended, and its answer is delivered."""
        with self._lock:
            self._taken[key.digest] -= 1
            if not self._taken[key.digest]:
                del self._taken[key.digest]

    def is_in_doubt(self, key: KeyDigest) -> bool:
        """Whether a key that was not yet found good has so many calls that it should be looked up: a license
        with several keys would have all of that for each."""
        with self._lock:
            return key.digest not in self._good and self._taken[key.digest] >= max(1, self._per_license // 4)

    def trust(self, key: KeyDigest) -> None:
        """The database has found a key good."""
        with self._lock:
            self._good[key.digest] = key.license_id
            self._good.move_to_end(key.digest)
            self._keys[key.license_id].add(key.digest)
            if len(self._good) > _MOST_KNOWN:
                self._forget(next(iter(self._good)))

    def distrust(self, key: KeyDigest) -> None:
        """The database does not know a key, or does no more."""
        with self._lock:
            if key.digest in self._good:
                self._forget(key.digest)

    def _forget(self, digest: bytes) -> None:
        license_id = self._good.pop(digest)
        self._keys[license_id].discard(digest)
        if not self._keys[license_id]:
            del self._keys[license_id]
