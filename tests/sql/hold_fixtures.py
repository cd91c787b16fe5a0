"""Fixtures that the tests of the functions and those of their races share: holds to begin with, time
that has passed, and calls that wait for the row of their license."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg2
import pytest
from factories import wait_until

from service.pricing import CLASSES
from service.problems import Problem
from service.repository import holds, ledger, licenses, processes
from service.repository.holds import HoldAmounts

__all__ = [
    "asked_again",
    "at_once",
    "client_hold",
    "deduct",
    "lapse",
    "locked",
    "money",
    "overdue",
    "patient",
    "process_hold",
    "process_id",
    "reap",
    "settle",
    "state_of",
    "waiting",
]

# One credit a token.
PRICE = dict.fromkeys(CLASSES, 1_000_000)


def outcome_of(call, *arguments, **options):
    """The result of a call, or the code of its problem."""
    try:
        return call(*arguments, **options)
    except Problem as problem:
        return problem.code


@pytest.fixture
def process_id(db):
    """A serving process with a lease."""
    process_id = uuid4()
    processes.heartbeat(db, process_id, 60)
    return process_id


@pytest.fixture
def client_hold(db):
    """`client_hold(license, amount=100, key=None)`: a hold that a client opens for itself."""

    def open_hold(license, amount=100, *, key=None, hold_id=None, fingerprint=b"one", expires_in_s=60, reference=None):
        return holds.open_for_client(
            db,
            license.key,
            hold_id or uuid4(),
            amount=amount,
            expires_in_s=expires_in_s,
            idempotency_key=key,
            fingerprint=fingerprint,
            reference=reference,
        )

    return open_hold


@pytest.fixture
def process_hold(db, process_id):
    """`process_hold(license, amount=100, key=None)`: a hold for a generation of `process_id`."""

    def open_hold(license, amount=100, *, key=None, hold_id=None, fingerprint=b"one", least=None, price=PRICE):
        return holds.open_for_process(
            db,
            license.key,
            hold_id or uuid4(),
            process_id=process_id,
            amounts=HoldAmounts(amount, amount if least is None else least),
            model="a-model",
            price=price,
            idempotency_key=key,
            fingerprint=fingerprint,
        )

    return open_hold


@pytest.fixture
def settle(db, process_id):
    """`settle(license, hold, amount)`: end a generation's hold at `amount` tokens."""

    def settle_hold(license, hold, amount, *, answer=None, answer_ttl_s=3600, max_credits=None):
        return holds.settle(
            db,
            license.key,
            hold.hold_id,
            amount=amount,
            process_id=process_id,
            usage={"output": amount},
            answer=answer,
            answer_ttl_s=answer_ttl_s,
            max_credits=max_credits,
        )

    return settle_hold


@pytest.fixture
def deduct(db):
    """`deduct(license, amount=1, key=None)`: credits that a client takes."""

    def take(license, amount=1, *, key=None, deduction_id=None, fingerprint=b"a deduction", reference=None):
        return ledger.deduct(
            db,
            license.key,
            deduction_id or uuid4(),
            amount=amount,
            idempotency_key=key,
            fingerprint=fingerprint,
            reference=reference,
        )

    return take


@pytest.fixture
def money(db):
    """`money(license)`: its balance, and how much of it is held."""

    def look(license):
        found = licenses.find(db, license.key)
        return found.balance, found.held

    return look


@pytest.fixture
def state_of(sql):
    """`state_of(hold)`: held, settled, released or expired."""
    return lambda hold: sql("SELECT state FROM obol.holds WHERE hold_id = %s", (str(hold.hold_id),))[0][0]


# Time that has passed


@pytest.fixture
def overdue(sql):
    """`overdue(hold)`: the time of a client's hold is up, and nobody has noticed yet."""

    def move(hold):
        sql(
            # `opened_at` stays: the credits that it counts for a limit are those of its day, in the first hour too.
            "UPDATE obol.holds SET expires_at = now() WHERE hold_id = %s",
            (str(hold.hold_id),),
        )

    return move


@pytest.fixture
def reap(db):
    """`reap()`: give back what is due, as a heartbeat does; returns how many holds that ended."""

    def give_back(process_id=None, live_holds=(), *, orphans_before=None):
        due = holds.due(db, process_id, live_holds, orphans_before=orphans_before)
        return sum(holds.expire(db, item.license_id, item.hold_ids, process_id=process_id) for item in due)

    return give_back


@pytest.fixture
def lapse(db, process_id, reap):
    """`lapse()`: the lease of `process_id` ends and another process gives its holds back."""

    def end():
        processes.heartbeat(db, process_id, 0)
        reap()

    return end


# Calls that wait


@pytest.fixture
def waiting(urls):
    """`waiting()`: how many calls wait for a lock now. On one connection: who waits in a line has five seconds, and it
    is asked for each of twenty."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock' AND backend_type = 'client backend'"
    )
    connection = psycopg2.connect(urls.owner)
    connection.autocommit = True

    def count():
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]

    yield count
    connection.close()


@pytest.fixture
def locked(urls):
    """`with locked(license) as cursor:` another transaction has the row of the license, and commits in the end."""

    @contextmanager
    def hold(license):
        connection = psycopg2.connect(urls.owner)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT FROM obol.licenses WHERE license_id = %s FOR UPDATE", (str(license.id),))
                yield cursor
        finally:
            connection.close()

    return hold


@pytest.fixture
def at_once(locked, waiting):
    """`at_once(license, calls)`: the results, or the codes of the problems, in the order of the calls.

    Every call waits for the row of the license, and then they go on in their order: each has read
    what was there before the first one wrote, which is the worst that a race can do. `meanwhile` is
    called with a cursor of the transaction that they wait for."""

    def run(license, calls, meanwhile=None):
        with ThreadPoolExecutor(len(calls)) as pool:
            running = []

            def in_line():
                return running[-1].done() or waiting() == sum(not future.done() for future in running)

            with locked(license) as cursor:
                for call in calls:
                    running.append(pool.submit(outcome_of, call))
                    # One after the other: the queue for the row is first come, first served.
                    wait_until(in_line, what="a lock wait", every_s=0.005)
                if meanwhile is not None:
                    meanwhile(cursor)
            return [future.result() for future in running]

    return run


@pytest.fixture
def patient(sql):
    """`patient()`: from now on the reaper waits for a license as long as the others do: half a second is
    short for a queue that a test makes, on a machine that has more to do."""
    return lambda: sql("ALTER FUNCTION obol.expire_holds_v2 SET lock_timeout = '30s'")


@pytest.fixture
def asked_again(sql):
    """`asked_again()`: how often a function has raised 40001 since the test began. Nothing of it shows
    in a result, so a sequence counts, which keeps what was taken back."""
    sql("""
        CREATE SEQUENCE obol.asked_again MINVALUE 0;
        SELECT nextval('obol.asked_again');
        CREATE OR REPLACE FUNCTION obol.ask_again(p_what text) RETURNS void LANGUAGE plpgsql STABLE
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            PERFORM nextval('obol.asked_again');
            RAISE EXCEPTION '% meanwhile: ask again with the same id', p_what USING ERRCODE = '40001';
        END
        $$
    """)
    return lambda: sql("SELECT last_value FROM obol.asked_again")[0][0]
