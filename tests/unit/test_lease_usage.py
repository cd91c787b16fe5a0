"""The heartbeat brings usage forward that many entries have been added to."""

from uuid import uuid4

import pytest

from service.lease import ROLL_UP_EVERY_S, SEEN_LATE_S
from service.repository import ledger, usage

ROLLED_UP = "SELECT sum(entry_no) FROM obol.usage_watermarks"


@pytest.fixture
def many_entries(db, monkeypatch):
    """`many_entries(license)`: it gets three more entries, which is many from here on."""
    monkeypatch.setattr(usage.due_rollups, "__defaults__", (3, 100))
    monkeypatch.setattr(usage.roll_up, "__defaults__", (2,))

    def make(license):
        for _ in range(3):
            ledger.deduct(db, license.key, uuid4(), amount=1)

    return make


def test_usage_is_rolled_up_now_and_then(lease, clock, new_license, many_entries, sql):
    license = new_license()
    many_entries(license)
    lease.beat()
    # All that is due, in as many steps as it takes; what is left is few.
    assert sql(ROLLED_UP) == [(2,)]
    many_entries(license)

    clock.now += ROLL_UP_EVERY_S - 1
    lease.beat()
    assert sql(ROLLED_UP) == [(2,)]
    clock.now += 1
    lease.beat()
    assert sql(ROLLED_UP) == [(6,)]


def test_all_licenses_are_looked_at_once_and_then_those_with_new_entries(lease, clock, monkeypatch):
    asked = []
    monkeypatch.setattr(usage, "due_rollups", lambda _db, within_s: asked.append(within_s) or [])
    for _ in range(2):
        lease.beat()
        clock.now += ROLL_UP_EVERY_S + 0.5
    clock.now += 3600
    lease.beat()
    assert asked == [None, 61 + SEEN_LATE_S, 3661 + SEEN_LATE_S]


def test_what_is_left_to_roll_up_is_for_the_next_beat(lease, clock, new_license, many_entries, sql, monkeypatch):
    license = new_license()
    many_entries(license)
    many_entries(license)
    roll_up = usage.roll_up

    def for_long(*arguments):
        clock.now += 3600
        return roll_up(*arguments)

    monkeypatch.setattr(usage, "roll_up", for_long)
    lease.beat()
    assert sql(ROLLED_UP) == [(2,)]
    monkeypatch.setattr(usage, "roll_up", roll_up)
    lease.beat()
    assert sql(ROLLED_UP) == [(6,)]


def test_nobody_waits_for_who_rolls_up_already(lease, clock, new_license, many_entries, monkeypatch):
    many_entries(new_license())
    asked = []
    monkeypatch.setattr(usage, "roll_up", lambda _db, license_id: asked.append(license_id) or 0)

    lease.beat()
    assert len(asked) == 1
    # The other one may end before it is done: the next look is at all licenses, and not at new entries alone.
    looks = []
    monkeypatch.setattr(usage, "due_rollups", lambda _db, within_s: looks.append(within_s) or [])
    for _ in range(2):
        clock.now += ROLL_UP_EVERY_S
        lease.beat()
    assert looks == [None, ROLL_UP_EVERY_S + SEEN_LATE_S]
