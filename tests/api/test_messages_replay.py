"""/v1/messages with an Idempotency-Key: an answer that was paid for comes again, byte for byte."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from calls import PAST, both
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from factories import wait_until

from service import operator
from service.repository import licenses, processes

KEY = {"Idempotency-Key": "k"}
PROMPT = "[sandbox input_tokens=30]"


@both
@pytest.mark.parametrize("directives", ["", "[sandbox future]", "[sandbox late_refusal]", "[sandbox thinking=9]"])
def test_a_keyed_answer_comes_again_byte_for_byte(client, send, new_license, state, upstream, stream, directives):
    license = new_license()
    first = send(license, PROMPT + directives, KEY, stream=stream)
    before = state(license)
    client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)

    again = send(license, PROMPT + directives, KEY, stream=stream)

    assert (again.status_code, again.content_type) == (200, first.content_type)
    assert again.data == first.data != b""
    charge = str(1000 - before[0])
    told = {name: value for name, value in again.headers if name.startswith("obol-")}
    figures = {"obol-credits-charged": charge, "obol-credits-balance": str(before[0])}
    assert told == {"obol-charge-id": first.headers["obol-charge-id"], "obol-replayed": "true", **figures}
    if stream:
        assert first.data.endswith(
            f"\n\n: obol-credits-charged: {charge}\n: obol-credits-balance: {before[0]}\n\n".encode()
        )
    assert state(license) == (before[0] - 1, 0, 3)
    assert upstream.calls == 1


def test_a_long_stream_comes_again(send, new_license, state, upstream):
    license = new_license(credits=100_000)
    prompt = "[sandbox output_tokens=20000] [sandbox input_tokens=30]"
    first = send(license, prompt, KEY, stream=True, max_tokens=20_000)
    assert len(first.data) > 2_000_000

    again = send(license, prompt, KEY, stream=True, max_tokens=20_000)
    assert again.data == first.data
    assert state(license) == (100_000 - 20_030, 0, 2)
    assert upstream.calls == 1


@both
def test_an_answer_that_was_paid_for_comes_again_whatever_became_of_the_license(
    owner, send, new_license, sql, upstream, stream
):
    license = new_license()
    first = send(license, PROMPT, KEY, stream=stream)
    licenses.set_status(owner, license.id, "suspended")
    sql("UPDATE obol.licenses SET expires_at = %s", (PAST,))
    sql("DELETE FROM obol.prices")

    assert send(license, PROMPT, KEY, stream=stream).data == first.data
    assert upstream.calls == 1


@both
def test_an_answer_with_a_shortfall_comes_again_byte_for_byte(send, owner, new_license, state, upstream, stream):
    license, prompt = new_license(), "[sandbox input_tokens=5000]"
    first = send(license, prompt, KEY, stream=stream)
    operator.grant_credits(owner, license.id, 500)

    again = send(license, prompt, KEY, stream=stream)
    assert again.data == first.data
    assert (again.headers["obol-credits-charged"], again.headers["obol-credits-balance"]) == ("1000", "0")
    assert state(license) == (500, 0, 3)
    assert upstream.calls == 1


def test_a_free_answer_comes_again(priced, send, new_license, state, upstream):
    priced("free", input=0, output=0, cache_read=0)
    license = new_license(credits=0)
    first = send(license, PROMPT, KEY, model="free")

    again = send(license, PROMPT, KEY, model="free")
    assert (again.data, again.headers["obol-credits-charged"]) == (first.data, "0")
    assert state(license) == (0, 0, 1)
    assert upstream.calls == 1


def test_a_key_stands_for_the_request_and_what_it_was_sent_with(send, new_license, wire_error, state, upstream):
    license = new_license()
    versions = {"anthropic-version": "2023-06-01", "anthropic-beta": "a"}
    first = send(license, PROMPT, KEY | versions)
    before = state(license)

    for prompt, headers, more in (
        ("Other", versions, {}),
        (PROMPT, versions, {"stream": True}),
        (PROMPT, versions, {"max_tokens": 99}),
        (PROMPT, {}, {}),
        (PROMPT, versions | {"anthropic-beta": "a,b"}, {}),
        (PROMPT, versions | {"anthropic-version": "2099-01-01"}, {}),
    ):
        wire_error(send(license, prompt, KEY | headers, **more), "idempotency_key_reused")
    # How much a client will pay, and what it calls its request, are no part of it.
    other = {"obol-max-credits": "1", "x-request-id": "mine", "user-agent": "x"}
    assert send(license, PROMPT, KEY | versions | other).data == first.data
    assert state(license) == before
    assert upstream.calls == 1


def test_a_key_of_one_path_is_none_of_another(client, send, new_license, problem, upstream):
    license = new_license()
    send(license, PROMPT, KEY)

    response = client.post("/api/v1/generate", json={"prompt": PROMPT}, headers=license.headers | KEY)
    problem(response, "idempotency_key_reused")
    assert upstream.calls == 1


def test_a_key_of_one_license_is_none_of_another(send, new_license, upstream):
    assert send(new_license(), PROMPT, KEY).data != send(new_license(), PROMPT, KEY).data
    assert upstream.calls == 2


def test_a_key_that_cannot_be_one(send, new_license, wire_error, upstream):
    for bad in ("a b", "a" * 256, "é"):
        details = wire_error(send(new_license(), headers={"Idempotency-Key": bad}), "validation_failed")
        assert details["errors"][0]["field"] == "Idempotency-Key"
    assert upstream.calls == 0


@both
def test_while_the_first_call_runs_its_key_is_in_progress(app, send, new_license, wire_error, state, upstream, stream):
    license = new_license()

    def call():
        slow = f"{PROMPT} [sandbox delay_ms=700]"
        return send(license, slow, KEY, client=app.test_client(), stream=stream)

    with ThreadPoolExecutor() as threads:
        first = threads.submit(call)
        wait_until(lambda: upstream.calls, what="the first call upstream")
        wire_error(call(), "idempotency_in_progress", "1")
        assert first.result().status_code == 200
    assert upstream.calls == 1
    assert state(license) == (960, 0, 2)


@both
@pytest.mark.parametrize(
    "directive", ["status=529", "status=400", "status=401", "close", "garbage", "no_usage", "refusal", "cut_after=3"]
)
def test_a_call_that_cost_nothing_leaves_its_key_free(send, new_license, state, upstream, directive, stream):
    license = new_license()
    send(license, f"[sandbox {directive}]", KEY, stream=stream)
    assert state(license) == (1000, 0, 1)

    # Even for another request: nothing was sold for it.
    assert send(license, PROMPT, KEY, stream=stream).status_code == 200
    assert state(license) == (960, 0, 2)
    assert upstream.calls == 2


@both
@pytest.mark.parametrize("gone", ["not stored", "out of time", "refunded", "other key", "purged"])
def test_an_answer_that_is_gone_is_never_charged_again(
    make_client, owner, send, new_license, wire_error, sql, state, upstream, gone, stream
):
    license = new_license()
    client = make_client(**{"OBOL_REPLAY_KEYS": None} if gone == "not stored" else {})
    assert send(license, PROMPT, KEY, client, stream=stream).status_code == 200
    if gone in ("out of time", "purged"):
        sql("UPDATE obol.idempotency_keys SET answer_expires_at = clock_timestamp()")
    if gone == "purged":
        processes.purge(owner)
        assert sql("SELECT answer FROM obol.idempotency_keys") == [(None,)]
    if gone == "refunded":
        ((hold_id,),) = sql("SELECT hold_id::text FROM obol.holds")
        operator.refund(owner, license.id, UUID(hold_id), reason="by hand")
    before = state(license)

    client = make_client(**{"OBOL_REPLAY_KEYS": "B" * 43} if gone == "other key" else {})
    wire_error(send(license, PROMPT, KEY, client, stream=stream), "answer_gone")
    assert state(license) == before
    assert upstream.calls == 1


@both
def test_an_answer_in_the_form_of_an_earlier_release_is_gone(
    make_client, config, send, new_license, wire_error, sql, state, upstream, stream
):
    license, client = new_license(), make_client()
    send(license, PROMPT, KEY, client, stream=stream)
    ((hold_id,),) = sql("SELECT hold_id::text FROM obol.holds")
    nonce = secrets.token_bytes(12)
    context = license.id.bytes + UUID(hold_id).bytes
    earlier = nonce + AESGCM(config.replay_keys[0]).encrypt(nonce, b'{"id":"0","text":"Hi"}\n', context)
    sql("UPDATE obol.idempotency_keys SET answer = %s", (earlier,))

    wire_error(send(license, PROMPT, KEY, client, stream=stream), "answer_gone")
    assert state(license) == (960, 0, 2)
    assert upstream.calls == 1


def test_a_stored_answer_says_nothing_at_rest(send, new_license, sql):
    send(new_license(), PROMPT, KEY)
    ((answer,),) = sql("SELECT answer FROM obol.idempotency_keys")
    assert b"sandbox" not in bytes(answer)


def test_an_older_replay_key_still_opens_its_answers(make_client, send, new_license):
    license = new_license()
    first = send(license, PROMPT, KEY, make_client())

    newer = make_client(OBOL_REPLAY_KEYS=f"{'B' * 43},{'A' * 43}")
    assert send(license, PROMPT, KEY, newer).data == first.data


def test_an_answer_that_is_too_long_to_be_stored_is_delivered_and_gone(
    send, new_license, wire_error, state, monkeypatch
):
    monkeypatch.setattr("service.gateway.transcript.MOST_STORED", 10)
    license = new_license()

    assert send(license, PROMPT, KEY).status_code == 200
    wire_error(send(license, PROMPT, KEY), "answer_gone")
    assert state(license) == (960, 0, 2)
