"""obol.heartbeat: the lease of a serving process."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from service.repository import processes

LEASES = "SELECT process_id::text, lease_expires_at, started_at FROM obol.processes"


def test_the_first_one_begins_a_lease(db, sql):
    process_id = uuid4()

    now = processes.heartbeat(db, process_id, 30)

    assert sql(LEASES) == [(str(process_id), now + timedelta(seconds=30), now)]
    assert abs(datetime.now(UTC) - now) < timedelta(seconds=10)


def test_the_next_one_renews_it(db, sql):
    process_id = uuid4()
    first = processes.heartbeat(db, process_id, 30)

    second = processes.heartbeat(db, process_id, 0.5)

    assert second > first
    assert sql(LEASES) == [(str(process_id), second + timedelta(seconds=0.5), first)]


def test_zero_ends_it(db, sql):
    process_id = uuid4()
    processes.heartbeat(db, process_id, 30)
    processes.heartbeat(db, process_id, 0)

    assert sql("SELECT lease_expires_at <= clock_timestamp() FROM obol.processes") == [(True,)]


def test_each_process_has_its_own(db, sql):
    one, other = uuid4(), uuid4()
    lives = processes.heartbeat(db, one, 30)
    processes.heartbeat(db, other, 0)

    assert (str(one), lives + timedelta(seconds=30), lives) in sql(LEASES)
    assert sql("SELECT count(*) FROM obol.processes") == [(2,)]
