"""The two ends of a hold, and what becomes of it when the database fails in between.

Whole answers and streams share all of it; streams are in test_streams.py."""

import json
import threading
from dataclasses import replace

import pytest
from factories import wait_until
from structlog.testing import capture_logs

from service.problems import Problem
from service.repository import licenses

CHARGE = 40


@pytest.fixture(params=[None, "k"], ids=["without a key", "keyed"])
def either_call(request, new_call):
    """`either_call()`: a new call, the same each time."""
    return lambda: new_call(idempotency_key=request.param)


@pytest.mark.parametrize("code", ["database_error", "over_capacity"])
@pytest.mark.parametrize("after", [False, True])
def test_a_settle_is_asked_again_while_the_lease_lives(seller, flaky, new_license, new_call, sql, code, after):
    license = new_license()
    flaky.fail("settle_hold(", Problem(code, "down", retry_after_s=1), times=3, after=after)

    receipt = seller.answer(license.key, new_call()).receipt

    assert (receipt.charged, receipt.balance) == (CHARGE, 1000 - CHARGE)
    assert flaky.failures == 0
    assert sql("SELECT count(*) FROM obol.ledger_entries WHERE kind = 'charge'") == [(1,)]


def test_a_settle_waits_out_a_lost_connection_and_a_locked_row(
    seller, new_license, new_call, sql, owner_connection, monkeypatch
):
    license, answers = new_license(), []
    sql("ALTER FUNCTION obol.settle_hold SET lock_timeout = '50ms'")
    owner_connection.autocommit = False
    post = seller._upstream.post

    def post_and_lock(*request):
        answer = post(*request)
        owner_connection.cursor().execute("SELECT FROM obol.licenses FOR UPDATE")
        return answer

    monkeypatch.setattr(seller._upstream, "post", post_and_lock)
    thread = threading.Thread(target=lambda: answers.append(seller.answer(license.key, new_call())))
    thread.start()
    wait_until(
        lambda: sql(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE '%settle_hold(%' AND pid <> pg_backend_pid()"
        )
    )
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
        (owner_connection.info.backend_pid,),
    )
    owner_connection.rollback()
    thread.join()

    assert answers[0].receipt.balance == 1000 - CHARGE


@pytest.fixture
def beat_twice(lease, sql):
    """`beat_twice()`: what is not live is an orphan, and gone with the second beat; `.seen`: the states
    of all holds after that."""

    def beat():
        lease.beat()
        lease.beat()
        beat.seen = sql("SELECT state FROM obol.holds")

    return beat


def test_a_hold_is_live_before_the_database_hears_of_it(refusal, flaky, new_license, new_call, beat_twice):
    flaky.fail("open_hold(", after=True, then=beat_twice)

    assert refusal(new_license(), new_call()).code == "database_error"
    assert beat_twice.seen == [("held",)]


def test_a_hold_is_live_while_it_is_settled(ask, flaky, new_license, new_call, beat_twice):
    # Given back now, it could still be settled late, but only if nobody took the credits meanwhile.
    flaky.fail("settle_hold(", then=beat_twice)

    assert ask(new_license(), new_call()).charged == CHARGE
    assert beat_twice.seen == [("held",)]


@pytest.mark.parametrize("directive", ["close", "cut_after=3"])
def test_a_hold_is_live_while_it_is_released(ask, flaky, new_license, new_call, beat_twice, directive):
    flaky.fail("release_hold(", then=beat_twice)

    with pytest.raises(Problem, match="upstream_error"):
        ask(new_license(), new_call(f"[sandbox {directive}]"))
    assert beat_twice.seen == [("held",)]


def refused_for_good(seller, license, call, retry_after=1):
    """The answer is withheld; the log says so, without a word of it. Whether asking again can help is
    told by what kept it from being paid for."""
    with capture_logs() as lines, pytest.raises(Problem) as refused:
        seller.answer(license.key, call)
    assert (refused.value.code, refused.value.retry_after) == ("database_error", retry_after)
    assert "withheld" in refused.value.detail
    (line,) = [line for line in lines if line["event"] == "answer_withheld"]
    assert line["upstream_usage"]["output"] == 10
    assert "sandbox" not in json.dumps(line)


def test_without_a_lease_an_answer_that_was_not_charged_is_withheld_and_released(
    seller, flaky, lease, new_license, db, upstream, lapse, either_call
):
    license = new_license()
    flaky.fail("settle_hold(", then=lapse)
    refused_for_good(seller, license, either_call())

    lease.beat()

    shown = licenses.find(db, license.key)
    assert (shown.balance, shown.held) == (1000, 0)
    # A clean new try, with the same key or without one.
    assert seller.answer(license.key, either_call()).receipt.balance == 1000 - CHARGE
    assert upstream.calls == 2


def test_a_charge_whose_reply_was_lost_is_refunded(seller, flaky, lease, new_license, new_call, db, lapse):
    license = new_license()
    flaky.fail("settle_hold(", after=True, then=lapse)
    refused_for_good(seller, license, new_call())
    assert licenses.find(db, license.key).balance == 1000 - CHARGE

    lease.beat()
    assert licenses.find(db, license.key).balance == 1000


def test_a_keyed_charge_whose_reply_was_lost_is_there_for_the_retry(
    seller, flaky, lease, new_license, new_call, db, upstream, lapse
):
    license = new_license()
    flaky.fail("settle_hold(", after=True, then=lapse)
    refused_for_good(seller, license, new_call(idempotency_key="k"))
    lease.beat()

    again = seller.answer(license.key, new_call(idempotency_key="k"))
    assert again.document["content"][0]["text"].startswith("This answer")
    assert again.receipt.charged == CHARGE
    assert licenses.find(db, license.key).balance == 1000 - CHARGE
    assert upstream.calls == 1


def test_a_keyed_charge_whose_answer_is_not_stored_is_refunded_and_its_key_freed(
    make_seller, flaky, lease, new_license, new_call, db, upstream, lapse
):
    license, seller = new_license(), make_seller([])
    flaky.fail("settle_hold(", after=True, then=lapse)
    refused_for_good(seller, license, new_call(idempotency_key="k"))
    lease.beat()
    assert licenses.find(db, license.key).balance == 1000

    assert seller.answer(license.key, new_call(idempotency_key="k")).receipt.balance == 1000 - CHARGE
    assert upstream.calls == 2


@pytest.mark.timeout(20)
def test_an_error_that_asking_again_cannot_help_is_not_asked_again(seller, lease, new_license, new_call, db, sql):
    license = new_license()
    sql("ALTER TABLE obol.ledger_entries ADD CONSTRAINT no_charges CHECK (kind <> 'charge')")

    refused_for_good(seller, license, new_call(), retry_after=None)
    lease.beat()
    assert licenses.find(db, license.key).available == 1000


@pytest.mark.parametrize("directive", ["status=529", "no_usage", "refusal"])
def test_a_release_that_fails_is_left_to_the_heartbeat(
    seller, flaky, lease, new_license, new_call, db, lapse, directive
):
    license = new_license()
    flaky.fail("release_hold(", then=lapse)

    with capture_logs() as lines:
        if directive == "refusal":
            # It costs nothing, so that there is nothing to withhold it for.
            assert seller.answer(license.key, new_call("[sandbox refusal]")).receipt.charged == 0
        else:
            with pytest.raises(Problem) as refused:
                seller.answer(license.key, new_call(f"[sandbox {directive}]"))
            assert refused.value.code == "upstream_error"

    assert "release_left_to_heartbeat" in [line["event"] for line in lines]
    assert licenses.find(db, license.key).held > 0
    lease.beat()
    assert (licenses.find(db, license.key).held, licenses.find(db, license.key).balance) == (0, 1000)


def test_a_release_is_asked_again_while_the_lease_lives(seller, flaky, new_license, new_call, db):
    license = new_license()
    flaky.fail("release_hold(", times=2)

    with pytest.raises(Problem) as refused:
        seller.answer(license.key, new_call("[sandbox close]"))
    assert refused.value.code == "upstream_error"
    assert (flaky.failures, licenses.find(db, license.key).held) == (0, 0)


def test_nothing_is_live_after_the_call(seller, lease, new_license, new_call):
    license = new_license()
    seller.answer(license.key, new_call())
    for call in (new_call("[sandbox close]"), replace(new_call(), max_credits=1)):
        with pytest.raises(Problem):
            seller.answer(license.key, call)
    assert lease._live == {}
