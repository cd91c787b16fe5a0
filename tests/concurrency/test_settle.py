"""The ends of a hold, racing each other: one of them happens, and everybody hears of that one."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from service.db import Database
from service.pricing import HoldSize
from service.problems import Problem
from service.repository import holds, licenses, processes

PRICE = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 1_000_000)
USAGE = {"input": 60, "output": 0}
ROUNDS = 20


@pytest.fixture
def db(urls):
    database = Database(urls.service, pool_size=16, wait_s=30)
    yield database
    database.close()


def code_of(call, *arguments):
    try:
        return call(*arguments)
    except Problem as problem:
        return problem.code


def open_hold(db, license, amount=100):
    hold_id = uuid4()
    holds.open_for_client(db, license.key, hold_id, amount, 60, None, b"payload", None)
    return hold_id


@pytest.mark.parametrize("others", [0, 1], ids=["only hold", "beside another hold"])
def test_the_same_settlement_many_times_at_once(db, new_license, others):
    license = new_license(credits=1000)
    for _ in range(others):
        open_hold(db, license, 500)
    hold_id = open_hold(db, license)

    with ThreadPoolExecutor(16) as pool:
        results = set(pool.map(lambda _: holds.settle(db, license.key, hold_id, 60), range(32)))

    assert len(results) == 1
    assert licenses.find(db, license.key).balance == 940


@pytest.mark.parametrize("others", [0, 1], ids=["only hold", "beside another hold"])
def test_the_same_release_many_times_at_once(db, new_license, others):
    license = new_license(credits=1000)
    for _ in range(others):
        open_hold(db, license, 500)
    hold_id = open_hold(db, license)

    with ThreadPoolExecutor(16) as pool:
        results = set(pool.map(lambda _: holds.release(db, license.key, hold_id), range(32)))

    assert len(results) == 1
    assert licenses.find(db, license.key).held == 500 * others


def test_settle_against_release(db, new_license):
    license = new_license(credits=100 * ROUNDS)
    outcomes = Counter()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            hold_id = open_hold(db, license)
            settled = pool.submit(code_of, holds.settle, db, license.key, hold_id, 60)
            released = pool.submit(code_of, holds.release, db, license.key, hold_id)
            pair = (settled.result() != "hold_not_open", released.result() != "hold_not_open")
            assert pair in [(True, False), (False, True)]
            outcomes[pair] += 1

    found = licenses.find(db, license.key)
    assert (found.balance, found.held) == (100 * ROUNDS - 60 * outcomes[True, False], 0)


def test_a_late_settlement_against_the_release_that_makes_it_final(db, new_license):
    license = new_license(credits=100 * ROUNDS)
    process_id = uuid4()
    charged = 0
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            processes.heartbeat(db, process_id, 60)
            hold_id = uuid4()
            size = HoldSize(100, 100)
            holds.open_for_process(db, license.key, hold_id, process_id, size, "m", PRICE, None, b"payload")
            processes.heartbeat(db, process_id, 0)
            assert holds.release_expired(db) == 1

            settled = pool.submit(code_of, holds.settle, db, license.key, hold_id, 60, process_id, USAGE)
            released = pool.submit(code_of, holds.release, db, license.key, hold_id, process_id)
            pair = (settled.result() != "hold_not_open", released.result() != "hold_not_open")
            assert pair in [(True, False), (False, True)]
            charged += 60 * pair[0]

    found = licenses.find(db, license.key)
    assert (found.balance, found.held) == (100 * ROUNDS - charged, 0)


def test_settlements_against_the_reaper(db, new_license):
    license = new_license(credits=100 * ROUNDS)
    process_id = uuid4()
    processes.heartbeat(db, process_id, 60)
    hold_ids = [uuid4() for _ in range(ROUNDS)]
    for hold_id in hold_ids:
        size = HoldSize(100, 100)
        holds.open_for_process(db, license.key, hold_id, process_id, size, "m", PRICE, None, b"payload")
    processes.heartbeat(db, process_id, 0)

    def settle(hold_id):
        return holds.settle(db, license.key, hold_id, 60, process_id, USAGE).charge

    with ThreadPoolExecutor(8) as pool:
        reaping = [pool.submit(holds.release_expired, db) for _ in range(4)]
        charges = list(pool.map(settle, hold_ids))
        reaped = sum(task.result() for task in reaping)

    # Before the reaper or after it: each was settled, once.
    assert charges == [60] * ROUNDS
    assert 0 <= reaped <= ROUNDS
    found = licenses.find(db, license.key)
    assert (found.balance, found.held) == (40 * ROUNDS, 0)
