"""Hold, ask, settle or release, when the database fails in between."""

import json
import threading
from dataclasses import replace
from uuid import uuid4

import psycopg2
import pytest
from factories import wait_until
from structlog.testing import capture_logs

from service import completions
from service.completions import Call, Completions
from service.db import Database
from service.leases import Leases
from service.problems import Problem
from service.repository import credits, holds, licenses, processes
from service.upstream import Upstream

CALL = Call("Hello [sandbox input_tokens=30]", None, "m", 100, None, b"fingerprint")
KEYED = replace(CALL, idempotency_key="k")
REPLAY_KEYS = [b"r" * 32]
CHARGE = 40


class Flaky(Database):
    """A database that fails `failures` times for statements that name `function`: instead of
    running them, or after (the reply is lost). Each failure runs `then`."""

    function, failures, after = "none", 0, False
    problem = Problem("database_error", "down", retry_after_s=1, outcome_unknown=True)

    @staticmethod
    def then():
        pass

    def rows(self, statement, **parameters):
        fails = self.function in str(statement) and self.failures > 0
        if fails:
            self.failures -= 1
        rows = super().rows(statement, **parameters) if self.after or not fails else []
        if fails:
            self.then()
            raise self.problem
        return rows


@pytest.fixture
def flaky(urls):
    database = Flaky(urls.service, pool_size=5, wait_s=5)
    yield database
    database.close()


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def leases(db, clock):
    """A lease of an hour that beats when it starts, and then when the test says so."""
    leases = Leases(db, 3600, lambda: clock[0])
    leases.start()
    wait_until(leases.alive)
    yield leases
    leases.stop()


@pytest.fixture
def seller(flaky, leases, upstream):
    return Completions(flaky, leases, Upstream("k", upstream.url, 5), REPLAY_KEYS)


@pytest.fixture
def lapse(clock, leases):
    """Time passes, and the lease with it, as far as this process can tell."""

    def pass_time():
        clock[0] += 3600
        assert not leases.alive()

    return pass_time


def test_an_answer_and_what_it_cost(seller, new_license, db):
    license = new_license()

    answer = seller.generate(license.key, CALL)

    assert (answer.charged, answer.balance, answer.max_tokens) == (CHARGE, 1000 - CHARGE, 100)
    assert answer.message["id"] == str(answer.hold_id)
    assert list(answer.message) == ["id", "model", "text", "stop_reason", "usage"]
    assert licenses.find(db, license.key).held == 0


def test_a_replayed_answer_has_only_what_was_stored(seller, new_license):
    license = new_license()
    first = seller.generate(license.key, KEYED)

    again = seller.generate(license.key, KEYED)
    assert again == replace(first, max_tokens=None, held=None, upstream_ms=None)


def test_no_database_connection_is_in_hand_while_the_model_works(seller, flaky, new_license, upstream):
    license = new_license()
    slow = replace(CALL, prompt=CALL.prompt + "[sandbox delay_ms=400]")
    thread = threading.Thread(target=seller.generate, args=(license.key, slow))
    thread.start()
    wait_until(lambda: upstream.calls)

    assert flaky._engine.pool.checkedout() == 0
    thread.join()


@pytest.mark.parametrize("code", ["database_error", "over_capacity"])
@pytest.mark.parametrize("after", [False, True])
def test_a_settle_is_asked_again_while_the_lease_lives(seller, flaky, new_license, sql, code, after):
    license = new_license()
    flaky.function, flaky.failures, flaky.after, flaky.problem = (
        "settle_hold",
        3,
        after,
        Problem(code, "down", retry_after_s=1),
    )

    answer = seller.generate(license.key, CALL)

    assert (answer.charged, answer.balance) == (CHARGE, 1000 - CHARGE)
    assert flaky.failures == 0
    assert sql("SELECT count(*) FROM obol.ledger_entries WHERE kind = 'charge'") == [(1,)]


def test_a_settle_waits_out_a_lost_connection_and_a_locked_row(seller, new_license, sql, upstream, urls):
    license, answers = new_license(), []
    sql("ALTER FUNCTION obol.settle_hold SET lock_timeout = '50ms'")
    slow = replace(CALL, prompt=CALL.prompt + "[sandbox delay_ms=300]")
    thread = threading.Thread(target=lambda: answers.append(seller.generate(license.key, slow)))
    thread.start()
    wait_until(lambda: upstream.calls)
    locked = psycopg2.connect(urls.owner)
    locked.cursor().execute("SELECT FROM obol.licenses FOR UPDATE")
    wait_until(
        lambda: sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%settle_hold(%' AND pid <> pg_backend_pid()")
    )
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
        (locked.info.backend_pid,),
    )
    locked.close()
    thread.join()

    assert answers[0].balance == 1000 - CHARGE


def refused_for_good(seller, license, call):
    """The answer is withheld; the log says so, without a word of it."""
    with capture_logs() as lines, pytest.raises(Problem) as refused:
        seller.generate(license.key, call)
    assert (refused.value.code, refused.value.retry_after) == ("database_error", 1)
    assert "withheld" in refused.value.detail
    (line,) = [line for line in lines if line["event"] == "answer_withheld"]
    assert line["upstream_usage"]["output"] == 10
    assert "sandbox" not in json.dumps(line)


@pytest.mark.parametrize("call", [CALL, KEYED])
def test_without_a_lease_an_answer_that_was_not_charged_is_withheld_and_released(
    seller, flaky, leases, new_license, db, upstream, lapse, call
):
    license = new_license()
    flaky.function, flaky.failures, flaky.then = "settle_hold", 1, lapse
    refused_for_good(seller, license, call)

    leases.beat()

    shown = licenses.find(db, license.key)
    assert (shown.balance, shown.held) == (1000, 0)
    # A clean new try, with the same key or without one.
    assert seller.generate(license.key, call).balance == 1000 - CHARGE
    assert upstream.calls == 2


def test_a_charge_whose_reply_was_lost_is_refunded(seller, flaky, leases, new_license, db, lapse):
    license = new_license()
    flaky.function, flaky.failures, flaky.after, flaky.then = "settle_hold", 1, True, lapse
    refused_for_good(seller, license, CALL)
    assert licenses.find(db, license.key).balance == 1000 - CHARGE

    leases.beat()
    assert licenses.find(db, license.key).balance == 1000


def test_a_keyed_charge_whose_reply_was_lost_is_there_for_the_retry(
    seller, flaky, leases, new_license, db, upstream, lapse
):
    license = new_license()
    flaky.function, flaky.failures, flaky.after, flaky.then = "settle_hold", 1, True, lapse
    refused_for_good(seller, license, KEYED)
    leases.beat()

    assert seller.generate(license.key, KEYED).message["text"].startswith("This answer")
    assert licenses.find(db, license.key).balance == 1000 - CHARGE
    assert upstream.calls == 1


def test_a_keyed_charge_whose_answer_is_not_stored_is_refunded_and_its_key_freed(
    flaky, leases, new_license, db, upstream, lapse
):
    license = new_license()
    seller = Completions(flaky, leases, Upstream("k", upstream.url, 5), [])
    flaky.function, flaky.failures, flaky.after, flaky.then = "settle_hold", 1, True, lapse
    refused_for_good(seller, license, KEYED)
    leases.beat()
    assert licenses.find(db, license.key).balance == 1000

    assert seller.generate(license.key, KEYED).balance == 1000 - CHARGE
    assert upstream.calls == 2


@pytest.mark.timeout(20)
def test_an_error_that_asking_again_cannot_help_is_not_asked_again(seller, leases, new_license, db, sql):
    license = new_license()
    sql("ALTER TABLE obol.ledger_entries ADD CONSTRAINT no_charges CHECK (kind <> 'charge')")

    refused_for_good(seller, license, CALL)
    leases.beat()
    assert licenses.find(db, license.key).available == 1000


def in_the_background(seller, license, upstream, call=CALL):
    """A generation that is with the model; `join` gives what came of it."""
    outcome = []

    def generate():
        try:
            outcome.append(seller.generate(license.key, replace(call, prompt=call.prompt + "[sandbox delay_ms=500]")))
        except Problem as problem:
            outcome.append(problem)

    thread = threading.Thread(target=generate)
    before = upstream.calls
    thread.start()
    wait_until(lambda: upstream.calls > before)

    def join():
        thread.join()
        return outcome[0]

    return join


def presume_dead(db, leases):
    processes.heartbeat(db, leases.process_id, 0)
    assert holds.release_expired(db) == 1


def test_a_process_that_was_thought_dead_may_still_settle_once(seller, leases, new_license, db, upstream):
    license = new_license()
    join = in_the_background(seller, license, upstream)
    presume_dead(db, leases)

    assert join().balance == 1000 - CHARGE


def test_a_late_settle_without_the_credits_charges_nothing(seller, leases, new_license, db, upstream):
    license = new_license()
    join = in_the_background(seller, license, upstream)
    presume_dead(db, leases)
    credits.deduct(db, license.key, uuid4(), 1000 - CHARGE + 1, None, b"", None)

    assert join().code == "database_error"
    leases.beat()
    assert licenses.find(db, license.key).balance == CHARGE - 1


def test_a_late_settle_whose_key_names_another_hold_charges_nothing(seller, leases, new_license, db, upstream):
    license = new_license()
    join = in_the_background(seller, license, upstream, KEYED)
    presume_dead(db, leases)
    retried = seller.generate(license.key, replace(KEYED, prompt=KEYED.prompt + "[sandbox delay_ms=500]"))

    assert join().code == "database_error"
    leases.beat()
    assert retried.balance == 1000 - CHARGE
    assert licenses.find(db, license.key).balance == 1000 - CHARGE


def test_a_release_that_fails_is_left_to_the_heartbeat(seller, flaky, leases, new_license, db, lapse):
    license = new_license()
    flaky.function, flaky.failures, flaky.then = "release_hold(", 1, lapse

    with capture_logs() as lines, pytest.raises(Problem) as refused:
        seller.generate(license.key, replace(CALL, prompt="[sandbox status=529]"))

    assert refused.value.code == "upstream_error"
    assert "release_left_to_heartbeat" in [line["event"] for line in lines]
    assert licenses.find(db, license.key).held > 0
    leases.beat()
    assert licenses.find(db, license.key).held == 0


def test_an_open_whose_reply_was_lost_is_released_at_the_second_beat(seller, flaky, leases, new_license, db, upstream):
    license = new_license()
    flaky.function, flaky.failures, flaky.after = "open_hold", 1, True

    with pytest.raises(Problem):
        seller.generate(license.key, CALL)

    assert (upstream.calls, licenses.find(db, license.key).held > 0) == (0, True)
    leases.beat()
    leases.beat()
    assert licenses.find(db, license.key).held == 0


def test_nothing_is_live_after_the_call(seller, leases, new_license):
    license = new_license()
    seller.generate(license.key, CALL)
    with pytest.raises(Problem):
        seller.generate(license.key, replace(CALL, prompt="[sandbox close]"))
    assert leases._live == set()


def test_the_price_book_is_read_again_after_a_while(seller, new_license, sql, monkeypatch):
    license = new_license()
    seller.generate(license.key, CALL)
    sql("DELETE FROM obol.prices")

    assert seller.generate(license.key, CALL).charged == CHARGE
    monkeypatch.setattr(completions, "PRICE_BOOK_TTL_S", 0)
    with pytest.raises(Problem) as refused:
        seller.generate(license.key, CALL)
    assert refused.value.code == "model_not_priced"
