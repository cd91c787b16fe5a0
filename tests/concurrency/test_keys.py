"""A key that ends, and calls, at once: what waited for the row must not spend with a dead key."""

import threading
import time
from uuid import uuid4

import psycopg2
import pytest

from service.problems import Problem
from service.repository import credits, holds, licenses


@pytest.mark.parametrize("call", ["deduct", "open_hold"])
def test_a_call_that_waited_while_its_key_was_rotated_away(db, urls, new_license, call):
    license = new_license(credits=100)
    refused = []

    def spend():
        try:
            if call == "deduct":
                credits.deduct(db, license.key, uuid4(), 10, None, b"payload", None)
            else:
                holds.open_for_client(db, license.key, uuid4(), 10, 60, None, b"payload", None)
        except Problem as problem:
            refused.append(problem.code)

    rotating = psycopg2.connect(urls.owner)
    with rotating, rotating.cursor() as cursor:
        cursor.execute("SELECT obol.rotate_license_key(%s, %s, 0)", (str(license.id), b"n" * 32))
        waiting = threading.Thread(target=spend)
        waiting.start()
        time.sleep(0.3)
        assert refused == []
    waiting.join()
    rotating.close()

    assert refused == ["license_invalid"]
    assert licenses.find(db, license.key._replace(digest=b"n" * 32)).available == 100


def test_callers_in_sql_see_no_fifth_error(owner, urls, new_license):
    license = new_license(credits=0)
    codes = set()
    stop_at = time.monotonic() + 3

    def deduct_by_hand():
        connection = psycopg2.connect(urls.owner)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while time.monotonic() < stop_at:
                try:
                    cursor.execute("SELECT obol.deduct_credits(%s, 1)", (license.raw_key,))
                except psycopg2.Error as error:
                    codes.add(error.pgcode)
        connection.close()

    threads = [threading.Thread(target=deduct_by_hand) for _ in range(4)]
    for thread in threads:
        thread.start()
    while time.monotonic() < stop_at:
        credits.grant(owner, license.id, uuid4(), 1, None, b"payload", None)
    for thread in threads:
        thread.join()

    assert codes <= {"OB402"}
