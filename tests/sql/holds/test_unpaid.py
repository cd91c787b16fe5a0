"""What clients got of answers that broke off: it is kept on the released hold, listed, and limited for a
license and an hour."""

from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import holds, ledger
from service.repository.holds import HoldAmounts, Unpaid

PRICE = {"input": 1, "output": 1}


def unpaid(tokens=60):
    return Unpaid("upstream_error", 70, 9000, tokens)


@pytest.fixture
def break_off(db, process_id, process_hold):
    """`break_off(license, tokens)`: a generation that ends without an answer; its hold."""

    def release(license, tokens=60):
        hold = process_hold(license)
        holds.release(db, license.key, hold.hold_id, process_id=process_id, unpaid=unpaid(tokens))
        return hold

    return release


@pytest.fixture
def ask(db, process_id):
    """`ask(license, limit)`: open a generation's hold, or check that it could be; whether that is admitted."""

    def try_both(license, limit=100):
        outcomes = []
        for call, more in (
            (holds.open_for_process, {"process_id": process_id, "amounts": HoldAmounts(1, 1)}),
            (holds.check_admission, {}),
        ):
            try:
                call(db, license.key, uuid4(), model="a-model", price=PRICE, max_unpaid_tokens=limit, **more)
                outcomes.append(None)
            except Problem as problem:
                outcomes.append(problem)
        return outcomes

    return try_both


def test_what_was_let_through_is_kept_and_listed(owner, new_license, break_off, process_hold, db, process_id):
    license = new_license()
    hold = break_off(license)
    other = process_hold(license)
    holds.release(db, license.key, other.hold_id, process_id=process_id)

    (listed,) = holds.every(owner, "unpaid")
    assert (listed.license_id, listed.hold_id, listed.model) == (license.id, hold.hold_id, "a-model")
    assert Unpaid(**listed.unpaid) == unpaid()


def test_the_same_release_again_counts_once(owner, db, new_license, break_off, process_id, sql):
    license = new_license()
    hold = break_off(license)
    for _ in range(3):
        holds.release(db, license.key, hold.hold_id, process_id=process_id, unpaid=unpaid())

    assert sql("SELECT unpaid_tokens FROM obol.licenses") == [(60,)]
    assert len(holds.every(owner, "unpaid")) == 1


def test_of_a_hold_that_had_expired_it_counts_too(owner, db, new_license, process_hold, process_id, lapse, sql):
    license = new_license()
    hold = process_hold(license)
    lapse()
    for _ in range(2):
        holds.release(db, license.key, hold.hold_id, process_id=process_id, unpaid=unpaid())

    assert sql("SELECT unpaid_tokens FROM obol.licenses") == [(60,)]
    assert [row.hold_id for row in holds.every(owner, "unpaid")] == [hold.hold_id]


def test_a_license_that_had_too_much_is_refused_until_the_hour_is_over(new_license, break_off, ask, sql):
    license, other = new_license(), new_license()
    break_off(license, 60)
    assert ask(license) == [None, None]
    break_off(license, 40)

    for problem in ask(license):
        assert problem.code == "limit_exceeded"
        wait_s = problem.extra["retry_after_s"]
        assert problem.extra == {
            "limit": "unpaid_tokens_per_hour",
            "limit_value": 100,
            "used": 100,
            "retry_after_s": wait_s,
        }
        assert 3500 < wait_s <= 3600
        assert problem.retry_after == wait_s
    assert ask(license, 101) == [None, None]
    assert ask(license, None) == [None, None]
    assert ask(other) == [None, None]

    sql("UPDATE obol.licenses SET unpaid_until = clock_timestamp()")
    assert ask(license) == [None, None]
    # The next hour begins at nothing.
    break_off(license, 99)
    assert ask(license) == [None, None]
    break_off(license, 1)
    assert [problem.code for problem in ask(license)] == ["limit_exceeded"] * 2


def test_an_hour_is_counted_from_its_first_answer(new_license, break_off, sql):
    license = new_license()
    break_off(license)
    (first,) = sql("SELECT unpaid_until FROM obol.licenses")
    break_off(license)
    assert sql("SELECT unpaid_until FROM obol.licenses") == [first]


def test_what_is_paid_is_not_limited(db, new_license, break_off, client_hold, process_hold, settle, deduct):
    license = new_license()
    paid = process_hold(license, key="k")
    settle(license, paid, 5, answer=b"sealed")
    break_off(license, 10**6)

    assert client_hold(license).outcome == "opened"
    assert deduct(license).amount == 1
    # An answer that is paid for is given again.
    assert process_hold(license, key="k").outcome == "replayed"


def test_it_moves_no_credits(owner, new_license, break_off, money):
    license = new_license(credits=1000)
    break_off(license, 10**6)
    assert money(license) == (1000, 0)
    assert ledger.verify(owner) == []
