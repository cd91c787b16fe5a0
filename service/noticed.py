"""What a process notices that others want to know, until `chores` tells the database. It is not kept safe: what a
process that dies has not told is found by looking, or happens again."""

import threading
from collections import defaultdict
from uuid import UUID

# Holds; where nobody tells, the rest is found by looking.
MOST = 10_000

_lock = threading.Lock()
_undelivered: set[tuple[UUID, UUID]] = set()
_refusals: list[int] = []


def undelivered(license_id: UUID, hold_id: UUID) -> None:
    """An answer was charged, and its end was not written to its client."""
    with _lock:
        if len(_undelivered) < MOST:
            _undelivered.add((license_id, hold_id))


def upstream_refusal(status: int) -> None:
    """The upstream refuses the operator's account."""
    with _lock:
        _refusals[:] = [status]


def take() -> tuple[dict[UUID, set[UUID]], list[int]]:
    """What was noticed since the last time: holds by license, and the last status if there was one."""
    by_license: dict[UUID, set[UUID]] = defaultdict(set)
    with _lock:
        for license_id, hold_id in _undelivered:
            by_license[license_id].add(hold_id)
        refusals = list(_refusals)
        _undelivered.clear()
        _refusals.clear()
    return by_license, refusals
