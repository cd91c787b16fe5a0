"""Callers in SQL know four errors. That another call came between two statements of theirs is a fifth,
and they do not see it: the call is made again. A sequence counts how often."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from factories import run, wait_until

from service import operator


@pytest.fixture
def by_hand(urls):
    """`by_hand(license, amount, key)`: the balance after that, or the SQLSTATE of the refusal."""

    def call(license, amount, key=None):
        statement = "SELECT obol.deduct_credits(%s, %s, NULL, %s)"
        try:
            return run(urls.owner, statement, (license.raw_key, amount, key))[0][0]
        except psycopg2.Error as error:
            return error.pgcode

    return call


def test_a_key_that_was_claimed_while_the_call_waited_gives_the_first_result(
    new_license, by_hand, at_once, asked_again, money
):
    license = new_license(credits=100)

    results = at_once(license, [lambda: by_hand(license, 30, "k")] * 5)

    assert (results, asked_again()) == ([70] * 5, 4)
    assert money(license) == (70, 0)


def test_credits_that_came_between_the_refusal_and_its_reason_are_taken(
    urls, sql, owner, new_license, by_hand, waiting, asked_again, money
):
    """The guarded write found no credits. The call is stopped before it looks why, and then there are some."""
    sql("""
        ALTER FUNCTION obol.check_license_key RENAME TO check_license_key_at_once;
        CREATE FUNCTION obol.check_license_key(p_license_id uuid, p_key_digest bytea, p_or_at timestamptz DEFAULT NULL)
        RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(1);
            PERFORM obol.check_license_key_at_once(p_license_id, p_key_digest, p_or_at);
        END
        $$
    """)
    license = new_license(credits=0)
    blocker = psycopg2.connect(urls.owner)
    with ThreadPoolExecutor(1) as pool:
        with blocker, blocker.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(1)")
            deducting = pool.submit(by_hand, license, 30)
            wait_until(lambda: waiting() == 1, what="a lock wait")
            operator.grant_credits(owner, license.id, 100)
        blocker.close()

        assert (deducting.result(), asked_again()) == (70, 1)
    assert money(license) == (70, 0)


def test_in_a_crowd_they_see_no_fifth_error(urls, owner, new_license, asked_again):
    license = new_license(credits=0)
    enough = threading.Event()

    def deduct_all_the_time():
        codes = set()
        connection = psycopg2.connect(urls.owner)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not enough.is_set():
                try:
                    cursor.execute("SELECT obol.deduct_credits(%s, 1)", (license.raw_key,))
                except psycopg2.Error as error:
                    codes.add(error.pgcode)
        connection.close()
        return codes

    def contended():
        for _ in range(50):
            operator.grant_credits(owner, license.id, 1)
        return asked_again() >= 5

    with ThreadPoolExecutor(4) as pool:
        deducting = [pool.submit(deduct_all_the_time) for _ in range(4)]
        try:
            wait_until(contended, 60, "contention")
        finally:
            enough.set()

    assert set().union(*(task.result() for task in deducting)) == {"OB402"}
