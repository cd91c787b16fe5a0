"""What a process notices is kept until somebody takes it, and no more of it than there is room for."""

from uuid import uuid4

import pytest

from service import noticed


@pytest.fixture(autouse=True)
def nothing():
    """What other tests of this process have noticed is gone, and so is what these leave."""
    noticed.take()
    yield
    noticed.take()


def test_it_is_taken_once():
    one, other, holds = uuid4(), uuid4(), [uuid4() for _ in range(3)]
    for license_id, hold_id in ((one, holds[0]), (other, holds[1]), (one, holds[2]), (one, holds[2])):
        noticed.undelivered(license_id, hold_id)
    noticed.upstream_refusal(401)
    noticed.upstream_refusal(403)
    assert noticed.take() == ({one: {holds[0], holds[2]}, other: {holds[1]}}, [403])
    assert noticed.take() == ({}, [])


def test_where_nobody_takes_it_no_more_is_kept_also_of_one_license(monkeypatch):
    monkeypatch.setattr(noticed, "MOST", 2)
    license_id, holds = uuid4(), [uuid4() for _ in range(3)]
    for hold_id in holds:
        noticed.undelivered(license_id, hold_id)
    assert noticed.take() == ({license_id: set(holds[:2])}, [])
    noticed.undelivered(license_id, holds[2])
    assert noticed.take() == ({license_id: {holds[2]}}, [])
