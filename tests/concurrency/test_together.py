"""Deductions with one key that come while another is at the database go there together."""

from concurrent.futures import ThreadPoolExecutor
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
    together = Deductions(db)

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


def test_what_is_wrong_with_all_is_asked_again_by_each(new_license, call_while_locked, asked, monkeypatch, money):
    license = new_license(credits=100)
    several = ledger.deduct_several

    def lost(db, key, items):
        several(db, key, items)
        raise Problem("database_error", "The connection to the database was lost. Ask again.", outcome_unknown=True)

    monkeypatch.setattr(ledger, "deduct_several", lost)
    outcomes = call_while_locked(license, [item() for _ in range(4)])

    # The one that asked for all says so, and it has been done; the others ask again, with their ids.
    assert outcomes[1] == "database_error"
    assert [outcomes[place].balance for place in (0, 2, 3)] == [90, 70, 60]
    assert asked == [1, 3, 1, 1]
    assert money(license) == (60, 0)


def test_other_keys_do_not_wait(db, new_license, locked, waiting):
    together, busy, free = Deductions(db), new_license(), new_license()
    with ThreadPoolExecutor(1) as pool:
        with locked(busy):
            call = pool.submit(together.deduct, busy.key, item())
            wait_until(lambda: waiting() == 1)
            assert together.deduct(free.key, item()).balance == 990
        assert call.result().balance == 990
