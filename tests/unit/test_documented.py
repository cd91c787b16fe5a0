"""Numbers that the documents promise: to change one is to change what somebody relies on."""

from datetime import timedelta

import pytest

from service import lease
from service.gateway import price_book, transcript
from service.http import connection
from service.repository import processes


def test_a_stored_answer_lives_for_a_day(seller, new_license, new_call, sql):
    assert transcript.ANSWER_TTL_S == 24 * 3600
    license = new_license()
    seller.answer(license.key, new_call(idempotency_key="k"))

    ((lives,),) = sql("SELECT answer_expires_at - claimed_at FROM obol.idempotency_keys")
    assert timedelta(hours=24) <= lives < timedelta(hours=24, minutes=1)


def test_a_price_is_in_force_within_five_seconds():
    assert price_book.TTL_S == 5


def test_a_client_that_takes_nothing_for_a_minute_is_gone():
    assert connection.WRITE_STALL_S == 60


def test_a_client_that_is_slow_has_a_minute_and_more_at_its_pace():
    assert (connection.WRITE_GRACE_S, connection.LEAST_BYTES_PER_S) == (60, 8 * 1024)
    assert connection.MOST_SPOOLED == 64 * 1024 * 1024


def test_old_answers_and_keys_are_looked_for_every_ten_minutes():
    assert lease.PURGE_EVERY_S == 600


@pytest.mark.parametrize(("age", "is_kept"), [("29 days 23 hours", True), ("30 days 1 minute", False)])
def test_an_idempotency_key_outlives_its_answer_and_ends_after_thirty_days(
    seller, new_license, new_call, db, sql, age, is_kept
):
    license = new_license()
    seller.answer(license.key, new_call(idempotency_key="k"))
    sql(f"UPDATE obol.idempotency_keys SET claimed_at = claimed_at - interval '{age}'")
    sql(f"UPDATE obol.holds SET opened_at = opened_at - interval '{age}'")

    assert processes.purge(db) == (not is_kept)
    assert sql("SELECT count(*) FROM obol.idempotency_keys") == [(int(is_kept),)]
