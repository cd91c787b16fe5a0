"""How many bytes of large bodies a process keeps at once."""

import threading
from collections import Counter
from collections.abc import Hashable

from ..problems import Problem


class Budget:
    """Counts bytes from when they are received until their request has been acted on. One owner has half of them at
    most, so that nobody's slow bodies shut out those of all others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def take(self, owner: Hashable, length: int) -> None:
        """Count more bytes of an owner: a license, or None for all who have none.

        Raises:
            Problem: over_capacity.
        """
        with self._lock:
            if self._taken.total() + length <= self._most and self._taken[owner] + length <= self._most // 2:
                self._taken[owner] += length
                return
        raise Problem("over_capacity", "Too many large bodies are in hand here. Nothing was charged; ask again.")

    def give_back(self, owner: Hashable, length: int) -> None:
        """The bytes are in use no more."""
        with self._lock:
            self._taken[owner] -= length
            if not self._taken[owner]:
                del self._taken[owner]
