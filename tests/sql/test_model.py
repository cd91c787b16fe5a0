"""What the database does late, it does as if it had been done at once, and what limits count is what was used:
thousands of random steps over grants, expiry, voids, holds, settlements, refunds, adjustments, keys and limits,
compared with ledgers that put nothing off. TEST_MODEL_RUNS says how many runs of fifty steps."""

import os
from types import SimpleNamespace

import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Machine
from moved_clock import MovedClock

from service.db import Database

RUNS = int(os.environ.get("TEST_MODEL_RUNS", "40"))


@pytest.fixture
def machine(urls, owner, new_license, process_id):
    connections = [Database(urls.service, pool_size=1, wait_s=5) for _ in range(2)]
    by_hand = psycopg2.connect(urls.owner)
    by_hand.autocommit = True

    def sql(statement):
        with by_hand.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    class Placed(Machine):
        world = SimpleNamespace(
            connections=connections,
            owner=owner,
            new_license=new_license,
            process_id=process_id,
            sql=sql,
            clock=MovedClock(sql),
        )

    yield Placed
    by_hand.close()
    for connection in connections:
        connection.close()


# Its clock is moved, so the database is not used again; every run verifies what it leaves.
@pytest.mark.tampers
@pytest.mark.timeout(60 + 20 * RUNS)
def test_late_is_as_good_as_at_once(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
