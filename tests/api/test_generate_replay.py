"""POST /api/v1/generate with an Idempotency-Key: an answer that was paid for comes again, and is never
charged again."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from calls import PAST
from factories import wait_until

from service import operator
from service.repository import licenses

PATH = "/api/v1/generate"


def test_a_keyed_answer_comes_again_byte_for_byte(client, ask, new_license, state, upstream):
    license = new_license()
    key = {"Idempotency-Key": "once"}
    first = ask(license, headers=key)
    client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)

    again = ask(license, headers=key)

    assert (again.status_code, again.data) == (200, first.data)
    assert again.headers["obol-credits-charged"] == first.headers["obol-credits-charged"]
    assert "obol-max-tokens" not in again.headers
    assert upstream.calls == 1
    assert state(license)[2] == 3


def test_an_answer_that_was_paid_for_comes_again_whatever_became_of_the_license(
    client, ask, owner, new_license, sql, upstream
):
    license = new_license(credits=600)
    key = {"Idempotency-Key": "once"}
    first = ask(license, headers=key)
    balance = first.get_json()["credits"]["balance"]
    client.post("/api/v1/deductions", json={"amount": balance}, headers=license.headers)
    licenses.set_status(owner, license.id, "suspended")
    sql("UPDATE obol.licenses SET expires_at = %s", (PAST,))
    sql("DELETE FROM obol.prices")

    assert ask(license, headers=key).data == first.data
    assert upstream.calls == 1


def test_without_a_key_every_call_is_a_new_one(ask, new_license, upstream):
    license = new_license()
    assert ask(license).get_json()["id"] != ask(license).get_json()["id"]
    assert upstream.calls == 2


def test_a_key_with_another_payload_is_refused(ask, new_license, problem, upstream):
    license = new_license()
    ask(license, headers={"Idempotency-Key": "k"})

    problem(ask(license, "Other", headers={"Idempotency-Key": "k"}), "idempotency_key_reused")
    assert upstream.calls == 1


def test_a_key_that_cannot_be_one(ask, new_license, problem, upstream):
    document = problem(ask(new_license(), headers={"Idempotency-Key": "a b"}), "validation_failed")
    assert document["errors"][0]["field"] == "Idempotency-Key"
    assert upstream.calls == 0


def test_while_the_first_call_runs_its_key_is_in_progress(app, ask, new_license, problem, upstream):
    license = new_license()

    def call():
        return ask(license, "[sandbox delay_ms=700]", headers={"Idempotency-Key": "k"}, client=app.test_client())

    with ThreadPoolExecutor() as threads:
        first = threads.submit(call)
        wait_until(lambda: upstream.calls, what="the first call upstream")
        problem(call(), "idempotency_in_progress", retry_after="1")
        assert first.result().status_code == 200
    assert upstream.calls == 1


def test_a_failed_call_leaves_its_key_free(make_client, ask, environ, new_license, problem, refusing_url):
    license = new_license()
    key = {"Idempotency-Key": "k"}
    problem(ask(license, headers=key, client=make_client(ANTHROPIC_BASE_URL=refusing_url)), "upstream_error", "1")

    assert ask(license, headers=key, client=make_client()).status_code == 200


@pytest.mark.parametrize("gone", ["not stored", "out of time", "refunded", "other key"])
def test_an_answer_that_is_gone_is_never_charged_again(
    make_client, ask, owner, new_license, problem, sql, state, upstream, gone
):
    license = new_license()
    key = {"Idempotency-Key": "k"}
    first = ask(license, headers=key, client=make_client(**{"OBOL_REPLAY_KEYS": None} if gone == "not stored" else {}))
    assert first.status_code == 200
    if gone == "out of time":
        sql("UPDATE obol.idempotency_keys SET answer_expires_at = clock_timestamp()")
    if gone == "refunded":
        operator.refund(owner, license.id, UUID(first.get_json()["id"]), reason="by hand")
    before = state(license)

    client = make_client(**{"OBOL_REPLAY_KEYS": "B" * 43} if gone == "other key" else {})
    problem(ask(license, headers=key, client=client), "answer_gone")
    assert state(license) == before
    assert upstream.calls == 1


def test_an_older_replay_key_still_opens_its_answers(make_client, ask, new_license):
    license = new_license()
    key = {"Idempotency-Key": "k"}
    first = ask(license, headers=key, client=make_client())

    newer = make_client(OBOL_REPLAY_KEYS=f"{'B' * 43},{'A' * 43}")
    assert ask(license, headers=key, client=newer).data == first.data
