"""Fifty calls at once: limits are kept exactly, whoever comes first."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from factories import License
from hold_fixtures import outcome_of

from service import keys, operator
from service.repository import holds, licenses

CALLS = 50


@pytest.fixture
def limited(owner, new_license):
    """`limited(requests_per_minute=5)`: a key with limits, of a license with enough of everything."""

    def make(**limits):
        license = new_license(credits=100_000)
        made = operator.create_key(owner, license.id, limits=limits)
        return License(license.id, made.license_key, keys.parse(made.license_key), made.key.key_id)

    return make


def at_the_same_time(call):
    with ThreadPoolExecutor(CALLS) as pool:
        return list(pool.map(lambda _: outcome_of(call), range(CALLS)))


def refused(outcomes):
    return Counter(outcome for outcome in outcomes if isinstance(outcome, str))


def test_no_more_open_holds_than_there_may_be(db, limited, client_hold):
    key = limited(concurrent_holds=5)
    outcomes = at_the_same_time(lambda: client_hold(key))
    assert refused(outcomes) == {"limit_exceeded": CALLS - 5}

    # And as they end, others take their places, one for one.
    for hold in (outcome for outcome in outcomes if not isinstance(outcome, str)):
        holds.release(db, key.key, hold.hold_id)
    assert refused(at_the_same_time(lambda: client_hold(key))) == {"limit_exceeded": CALLS - 5}


def test_no_more_calls_than_a_minute_has(limited, deduct, client_hold):
    # Of two: the third comes half a minute later.
    key = limited(requests_per_minute=2)
    assert refused(at_the_same_time(lambda: deduct(key))) == {"limit_exceeded": CALLS - 2}


def test_no_more_credits_than_a_day_has_whichever_key_they_go_by(owner, limited, deduct, sql):
    key = limited(credits_per_day=1000)
    licenses.set_license(owner, key.id, limits={"credits_per_day": 100})
    assert refused(at_the_same_time(lambda: deduct(key, 7))) == {"limit_exceeded": CALLS - 14}
    assert sql("SELECT day_credits::int, count(*)::int FROM obol.limit_states GROUP BY 1") == [(98, 2)]


def test_holds_that_open_and_end_at_once_leave_nothing_counted(db, limited, client_hold, sql):
    key = limited(concurrent_holds=3, credits_per_month=10_000)

    def open_and_end():
        hold = client_hold(key, 20, hold_id=uuid4())
        if hold.hold_id.int % 2:
            return holds.settle(db, key.key, hold.hold_id, amount=hold.hold_id.int % 20)
        return holds.release(db, key.key, hold.hold_id)

    outcomes = at_the_same_time(open_and_end)
    charged = sum(outcome.charge for outcome in outcomes if isinstance(outcome, holds.SettledHold))
    assert set(refused(outcomes)) <= {"limit_exceeded"}
    assert sql("SELECT open_holds, day_credits::int, month_credits::int FROM obol.limit_states") == [
        (0, charged, charged)
    ]
