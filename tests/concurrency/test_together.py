"""Deductions with one key that come while another is at the database go there together."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from uuid import uuid4

import pytest
from factories import wait_until
from hold_fixtures import outcome_of

from service import deductions
from service.deductions import Deductions
from service.problems import Problem
from service.repository import ledger
from service.repository.ledger import DeductionItem

CLIENTS = 12


@pytest.fixture
def asked(monkeypatch):
    """How many deductions each statement took to the database."""
    numbers = []
    deduct, deduct_several = ledger.deduct, ledger.deduct_several

    def one(*arguments, **named):
        numbers.append(1)
        return deduct(*arguments, **named)

    def several(db, key, items):
        numbers.append(len(items))
        return deduct_several(db, key, items)

    monkeypatch.setattr(ledger, "deduct", one)
    monkeypatch.setattr(ledger, "deduct_several", several)
    return numbers


@pytest.fixture
def call_while_locked(db, locked, waiting):
    """`call_while_locked(license, items)`: what becomes of each, in the order in which they came, when the first one
    has to wait at the license and the others come meanwhile."""
    together = Deductions(db, wait_s=30)

    def call(license, items):
        with ThreadPoolExecutor(len(items)) as pool:
            with locked(license):
                calls = [pool.submit(outcome_of, together.deduct, license.key, items[0])]
                wait_until(lambda: waiting() == 1)
                for item in items[1:]:
                    calls.append(pool.submit(outcome_of, together.deduct, license.key, item))
                    wait_until(lambda: len(together._queues[license.key]) == len(calls) - 1)
            return [call.result() for call in calls]

    yield call
    assert together._queues == {}


@pytest.fixture
def at_the_row(db, locked, waiting, monkeypatch):
    """`with at_the_row(license, number) as calls:` behind one that is done, so many wait together for the license."""

    @contextmanager
    def begin(license, number, wait_s=30):
        together, deduct = Deductions(db, wait_s), ledger.deduct
        has_come, may_go = Event(), Event()

        def slow(*arguments, **named):
            monkeypatch.setattr(ledger, "deduct", deduct)
            result = deduct(*arguments, **named)
            has_come.set()
            may_go.wait(30)
            return result

        monkeypatch.setattr(ledger, "deduct", slow)
        with ThreadPoolExecutor(1 + number) as pool:
            calls = [pool.submit(outcome_of, together.deduct, license.key, item())]
            has_come.wait(30)
            with locked(license):
                while len(calls) <= number:
                    calls.append(pool.submit(outcome_of, together.deduct, license.key, item()))
                    wait_until(lambda: len(together._queues[license.key]) == len(calls) - 1, every_s=0.001)
                may_go.set()
                wait_until(lambda: waiting() == 1)
                yield calls
        assert together._queues == {}

    return begin


def item(amount=10, key=None):
    return DeductionItem(uuid4(), amount, key, b"", None)


def test_each_has_its_own_answer_in_the_order_they_came(new_license, call_while_locked, asked, money):
    license = new_license(credits=100)

    outcomes = call_while_locked(license, [item() for _ in range(CLIENTS)])

    assert [outcome.balance for outcome in outcomes[:10]] == list(range(90, -10, -10))
    assert outcomes[10:] == ["insufficient_credits"] * 2
    assert asked == [1, CLIENTS - 1]
    assert money(license) == (0, 0)


def test_one_that_is_refused_keeps_nobody_else_from_an_answer(new_license, call_while_locked, asked, money):
    license = new_license(credits=100)

    outcomes = call_while_locked(license, [item(1), item(1000), item(2), item(0), item(3)])

    refused = [outcome if isinstance(outcome, str) else outcome.balance for outcome in outcomes]
    assert refused == [99, "insufficient_credits", 97, "amount_invalid", 94]
    assert asked == [1, 4]


def test_the_same_idempotency_key_is_one_charge(new_license, call_while_locked, money):
    license = new_license(credits=100)

    outcomes = call_while_locked(license, [item(key="once") for _ in range(CLIENTS)])

    assert len(set(outcomes)) == 1
    assert money(license) == (90, 0)


def test_more_than_the_most_go_in_turn(new_license, call_while_locked, asked, monkeypatch):
    monkeypatch.setattr(deductions, "_MOST", 3)

    outcomes = call_while_locked(new_license(credits=1000), [item() for _ in range(8)])

    assert [outcome.balance for outcome in outcomes] == list(range(990, 910, -10))
    assert asked == [1, 3, 3, 1]


@pytest.mark.parametrize(
    "error",
    [Problem("database_error", "The connection to the database was lost.", outcome_unknown=True), RuntimeError("new")],
    ids=["lost", "unexpected"],
)
def test_what_is_wrong_with_all_is_asked_again_by_each(
    new_license, call_while_locked, asked, money, monkeypatch, error
):
    license = new_license(credits=100)
    several = ledger.deduct_several
    monkeypatch.setattr(deductions, "_MOST", 3)

    def lost(db, key, items):
        monkeypatch.setattr(ledger, "deduct_several", several)
        several(db, key, items)
        raise error

    monkeypatch.setattr(ledger, "deduct_several", lost)
    outcomes = call_while_locked(license, [item() for _ in range(8)])

    # It has been done, and is not done again: each has its id. Those behind them have had their turn.
    assert [outcome.balance for outcome in outcomes] == list(range(90, 10, -10))
    assert sorted(asked) == [1] * 5 + [3, 3]
    assert money(license) == (20, 0)


def test_what_time_has_to_mend_is_told_to_all_at_once(new_license, call_while_locked, asked, money, monkeypatch):
    license = new_license(credits=100)

    def full(_db, _key, _items):
        raise Problem("over_capacity", "No database connection came free in time. Ask again.")

    monkeypatch.setattr(ledger, "deduct_several", full)
    outcomes = call_while_locked(license, [item() for _ in range(4)])

    assert (outcomes[0].balance, outcomes[1:]) == (90, ["over_capacity"] * 3)
    assert asked == [1]
    assert money(license) == (90, 0)


def test_a_connection_that_is_lost_while_they_wait_charges_each_once(at_the_row, new_license, sql, money):
    license = new_license(credits=100)
    with at_the_row(license, 7) as calls:
        assert sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database() AND query LIKE '%%deduct_several%%'"
        ) == [(True,)]
    assert [call.result().balance for call in calls] == list(range(90, 10, -10))
    assert money(license) == (20, 0)


def test_who_is_at_the_row_with_others_waits_for_what_comes_of_it(at_the_row, new_license):
    with at_the_row(new_license(credits=100), 2, wait_s=2.5) as calls:
        time.sleep(2.6)
    assert [call.result().balance for call in calls] == [90, 80, 70]


def test_nobody_waits_for_a_turn_for_ever(db, new_license, locked, waiting, money):
    """Who has waited too long is refused, and has taken nothing; who has the turn has an answer."""
    together, license = Deductions(db, wait_s=0.3), new_license(credits=100)
    with ThreadPoolExecutor(2) as pool:
        with locked(license):
            first = pool.submit(outcome_of, together.deduct, license.key, item())
            wait_until(lambda: waiting() == 1)
            assert outcome_of(together.deduct, license.key, item()) == "over_capacity"
        assert first.result().balance == 90
    assert together._queues == {}
    assert money(license) == (90, 0)


def test_other_keys_do_not_wait(db, new_license, locked, waiting):
    together, busy, free = Deductions(db, wait_s=30), new_license(), new_license()
    with ThreadPoolExecutor(1) as pool:
        with locked(busy):
            call = pool.submit(together.deduct, busy.key, item())
            wait_until(lambda: waiting() == 1)
            assert together.deduct(free.key, item()).balance == 990
        assert call.result().balance == 990
