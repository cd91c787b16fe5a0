"""The two ends of a hold, and what becomes of it when the database fails in between.

Whole answers and streams share all of it; streams are in test_streams.py."""

import json
import threading
from dataclasses import replace
from uuid import uuid4

import psycopg2
import pytest
from factories import wait_until
from structlog.testing import capture_logs

from service.problems import Problem
from service.repository import credits, holds, licenses, processes

CHARGE = 40


@pytest.fixture(params=[None, "k"], ids=["without a key", "keyed"])
def either_call(request, new_call):
    """`either_call()`: a new call, the same each time."""
    return lambda: new_call(idempotency_key=request.param)


@pytest.mark.parametrize("code", ["database_error", "over_capacity"])
@pytest.mark.parametrize("after", [False, True])
def test_a_settle_is_asked_again_while_the_lease_lives(seller, flaky, new_license, new_call, sql, code, after):
    license = new_license()
    flaky.function, flaky.failures, flaky.after = "settle_within", 3, after
    flaky.problem = Problem(code, "down", retry_after_s=1)

    receipt = seller.answer(license.key, new_call()).receipt

    assert (receipt.charged, receipt.balance) == (CHARGE, 1000 - CHARGE)
    assert flaky.failures == 0
    assert sql("SELECT count(*) FROM obol.ledger_entries WHERE kind = 'charge'") == [(1,)]


def test_a_settle_waits_out_a_lost_connection_and_a_locked_row(seller, new_license, new_call, sql, upstream, urls):
    license, answers = new_license(), []
    sql("ALTER FUNCTION obol.settle_within SET lock_timeout = '50ms'")
    slow = new_call("[sandbox delay_ms=300]")
    thread = threading.Thread(target=lambda: answers.append(seller.answer(license.key, slow)))
    thread.start()
    wait_until(lambda: upstream.calls)
    locked = psycopg2.connect(urls.owner)
    locked.cursor().execute("SELECT FROM obol.licenses FOR UPDATE")
    wait_until(
        lambda: sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%settle_within(%' AND pid <> pg_backend_pid()")
    )
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
        (locked.info.backend_pid,),
    )
    locked.close()
    thread.join()

    assert answers[0].receipt.balance == 1000 - CHARGE


def refused_for_good(seller, license, call):
    """The answer is withheld; the log says so, without a word of it."""
    with capture_logs() as lines, pytest.raises(Problem) as refused:
        seller.answer(license.key, call)
    assert (refused.value.code, refused.value.retry_after) == ("database_error", 1)
    assert "withheld" in refused.value.detail
    (line,) = [line for line in lines if line["event"] == "answer_withheld"]
    assert line["upstream_usage"]["output"] == 10
    assert "sandbox" not in json.dumps(line)


def test_without_a_lease_an_answer_that_was_not_charged_is_withheld_and_released(
    seller, flaky, leases, new_license, db, upstream, lapse, either_call
):
    license = new_license()
    flaky.function, flaky.failures, flaky.then = "settle_within", 1, lapse
    refused_for_good(seller, license, either_call())

    leases.beat()

    shown = licenses.find(db, license.key)
    assert (shown.balance, shown.held) == (1000, 0)
    # A clean new try, with the same key or without one.
    assert seller.answer(license.key, either_call()).receipt.balance == 1000 - CHARGE
    assert upstream.calls == 2


def test_a_charge_whose_reply_was_lost_is_refunded(seller, flaky, leases, new_license, new_call, db, lapse):
    license = new_license()
    flaky.function, flaky.failures, flaky.after, flaky.then = "settle_within", 1, True, lapse
    refused_for_good(seller, license, new_call())
    assert licenses.find(db, license.key).balance == 1000 - CHARGE

    leases.beat()
    assert licenses.find(db, license.key).balance == 1000


def test_a_keyed_charge_whose_reply_was_lost_is_there_for_the_retry(
    seller, flaky, leases, new_license, new_call, db, upstream, lapse
):
    license = new_license()
    flaky.function, flaky.failures, flaky.after, flaky.then = "settle_within", 1, True, lapse
    refused_for_good(seller, license, new_call(idempotency_key="k"))
    leases.beat()

    again = seller.answer(license.key, new_call(idempotency_key="k"))
    assert again.document["content"][0]["text"].startswith("This answer")
    assert again.receipt.charged == CHARGE
    assert licenses.find(db, license.key).balance == 1000 - CHARGE
    assert upstream.calls == 1


def test_a_keyed_charge_whose_answer_is_not_stored_is_refunded_and_its_key_freed(
    make_seller, flaky, leases, new_license, new_call, db, upstream, lapse
):
    license, seller = new_license(), make_seller([])
    flaky.function, flaky.failures, flaky.after, flaky.then = "settle_within", 1, True, lapse
    refused_for_good(seller, license, new_call(idempotency_key="k"))
    leases.beat()
    assert licenses.find(db, license.key).balance == 1000

    assert seller.answer(license.key, new_call(idempotency_key="k")).receipt.balance == 1000 - CHARGE
    assert upstream.calls == 2


@pytest.mark.timeout(20)
def test_an_error_that_asking_again_cannot_help_is_not_asked_again(seller, leases, new_license, new_call, db, sql):
    license = new_license()
    sql("ALTER TABLE obol.ledger_entries ADD CONSTRAINT no_charges CHECK (kind <> 'charge')")

    refused_for_good(seller, license, new_call())
    leases.beat()
    assert licenses.find(db, license.key).available == 1000


def in_the_background(seller, license, upstream, call):
    """A generation that is with the model; `join` gives what came of it."""
    outcome = []

    def generate():
        try:
            outcome.append(seller.answer(license.key, call).receipt)
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


def test_a_process_that_was_thought_dead_may_still_settle_once(seller, leases, new_license, new_call, db, upstream):
    license = new_license()
    join = in_the_background(seller, license, upstream, new_call("[sandbox delay_ms=500]"))
    presume_dead(db, leases)

    assert join().balance == 1000 - CHARGE


def test_a_late_settle_without_the_credits_charges_nothing(seller, leases, new_license, new_call, db, upstream):
    license = new_license()
    join = in_the_background(seller, license, upstream, new_call("[sandbox delay_ms=500]"))
    presume_dead(db, leases)
    credits.deduct(db, license.key, uuid4(), 1000 - CHARGE + 1, None, b"", None)

    assert join().code == "database_error"
    leases.beat()
    assert licenses.find(db, license.key).balance == CHARGE - 1


def test_a_late_settle_whose_key_names_another_hold_charges_nothing(
    seller, leases, new_license, new_call, db, upstream
):
    license, slow, again = new_license(), *(new_call("[sandbox delay_ms=500]", idempotency_key="k") for _ in range(2))
    join = in_the_background(seller, license, upstream, slow)
    presume_dead(db, leases)
    retried = seller.answer(license.key, again)

    assert join().code == "database_error"
    leases.beat()
    assert retried.receipt.balance == 1000 - CHARGE
    assert licenses.find(db, license.key).balance == 1000 - CHARGE


@pytest.mark.parametrize("directive", ["status=529", "no_usage", "refusal"])
def test_a_release_that_fails_is_left_to_the_heartbeat(
    seller, flaky, leases, new_license, new_call, db, lapse, directive
):
    license = new_license()
    flaky.function, flaky.failures, flaky.then = "release_hold(", 1, lapse

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
    leases.beat()
    assert (licenses.find(db, license.key).held, licenses.find(db, license.key).balance) == (0, 1000)


def test_a_release_is_asked_again_while_the_lease_lives(seller, flaky, new_license, new_call, db):
    license = new_license()
    flaky.function, flaky.failures = "release_hold(", 2

    with pytest.raises(Problem) as refused:
        seller.answer(license.key, new_call("[sandbox close]"))
    assert refused.value.code == "upstream_error"
    assert (flaky.failures, licenses.find(db, license.key).held) == (0, 0)


def losses(lines):
    return [(line["reason"], line["upstream_usage"]) for line in lines if line["event"] == "operator_loss"]


def shortfalls(lines):
    return [(line["hold_id"], line["credits"]) for line in lines if line["event"] == "shortfall"]


def test_what_the_upstream_charges_us_for_and_nobody_pays_is_logged(seller, new_license, new_call):
    license = new_license()
    with capture_logs() as lines:
        seller.answer(license.key, new_call("[sandbox refusal]"))
        with pytest.raises(Problem):
            seller.answer(license.key, new_call("[sandbox close]"))
    # Neither an answer that never came nor a refusal before any output costs anybody anything.
    assert losses(lines) == []


def test_of_what_the_upstream_says_that_it_used_only_counts_are_logged(seller, new_license, new_call, monkeypatch):
    usage = {"input_tokens": 7, "output_tokens": -1, "service_tier": "a secret", "iterations": [{"a": 1}], "b": True}
    message = {"model": "m", "content": [], "stop_reason": "end_turn", "usage": usage}
    monkeypatch.setattr(seller._client, "post", lambda *call: json.dumps(message).encode())

    with capture_logs() as lines, pytest.raises(Problem, match="upstream_error"):
        seller.answer(new_license().key, new_call())
    assert losses(lines) == [("usage_missing", {"input_tokens": 7, "output_tokens": -1})]
    assert "secret" not in json.dumps(lines)


def test_an_answer_that_does_not_say_what_it_used_is_not_given(seller, new_license, new_call, db):
    license = new_license()

    with capture_logs() as lines, pytest.raises(Problem) as refused:
        seller.answer(license.key, new_call("[sandbox no_usage]"))
    assert (refused.value.code, refused.value.retry_after) == ("upstream_error", 1)
    assert len([line for line in lines if line["event"] == "usage_missing"]) == 1
    assert losses(lines) == []
    assert licenses.find(db, license.key).available == 1000


def test_requests_of_server_tools_are_noticed(seller, new_license, new_call, monkeypatch):
    monkeypatch.setattr("service.metering.unpriced", lambda wire: {"web_search_requests": 2})

    with capture_logs() as lines:
        receipt = seller.answer(new_license().key, new_call()).receipt
    assert [(line["hold_id"], line["requests"]) for line in lines if line["event"] == "usage_unpriced"] == [
        (str(receipt.hold_id), {"web_search_requests": 2})
    ]
    assert receipt.charged == CHARGE


def test_a_shortfall_is_logged(seller, new_license, new_call):
    license = new_license(credits=300)

    with capture_logs() as lines:
        receipt = seller.answer(license.key, new_call("[sandbox input_tokens=400]")).receipt
    assert (receipt.charged, receipt.balance) == (300, 0)
    assert shortfalls(lines) == [(str(receipt.hold_id), 110)]


def test_nothing_is_live_after_the_call(seller, leases, new_license, new_call):
    license = new_license()
    seller.answer(license.key, new_call())
    for call in (new_call("[sandbox close]"), replace(new_call(), max_credits=1)):
        with pytest.raises(Problem):
            seller.answer(license.key, call)
    assert leases._live == set()


# More than any hold of new_call, in tokens and in credits.
DEAR, DEAR_CHARGE = "[sandbox input_tokens=700]", 710


def exceeded(lines):
    return [(line["hold_id"], line["held"], line["amount"]) for line in lines if line["event"] == "hold_exceeded"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("balance", "max_credits", "charged"),
    [(1000, None, 710), (1000, 711, 710), (1000, 710, 710), (1000, 709, 709), (1000, 500, 500), (700, 709, 700)],
)
def test_a_charge_above_what_was_held_is_logged_and_kept_within_the_client_s_cap(
    seller, new_license, new_call, db, leases, upstream, balance, max_credits, charged, stream
):
    license = new_license(credits=balance)

    def ask():
        call = new_call(DEAR, idempotency_key="k", max_credits=max_credits, **({"stream": True} if stream else {}))
        answer = seller.stream(license.key, call) if stream else seller.answer(license.key, call)
        return answer.receipt, list(answer) if stream else answer.body

    with capture_logs() as lines:
        receipt, answer = ask()
    assert (receipt.charged, receipt.balance) == (charged, balance - charged)
    hold_id = str(receipt.hold_id)
    assert exceeded(lines) == [(hold_id, receipt.held, DEAR_CHARGE)]
    assert receipt.held < charged
    assert shortfalls(lines) == ([(hold_id, DEAR_CHARGE - charged)] if charged < DEAR_CHARGE else [])
    assert losses(lines) == []
    assert (licenses.find(db, license.key).balance, licenses.find(db, license.key).held) == (balance - charged, 0)
    assert leases._live == set()
    # It is an answer like any other.
    again, same = ask()
    assert (again, same) == (replace(receipt, max_tokens=None, held=None), answer)
    assert upstream.calls == 1


@pytest.mark.parametrize(("input_tokens", "is_exceeded"), [(0, False), (1, True)])
def test_a_charge_of_just_what_was_held_exceeds_nothing(seller, new_license, new_call, input_tokens, is_exceeded):
    prompt = "[sandbox input_tokens=%03d]"
    call = new_call(prompt % 0)
    bound = len(call.raw) + 32 + 100 - 10

    with capture_logs() as lines:
        receipt = seller.answer(new_license().key, new_call(prompt % (bound + input_tokens))).receipt
    assert receipt.charged == receipt.held + input_tokens
    assert bool(exceeded(lines)) == is_exceeded
