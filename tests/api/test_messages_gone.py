"""Clients that go away in the middle of a stream: what the model used is charged, and a retry gets it."""

import json

import pytest
from calls import requests_in
from werkzeug.test import EnvironBuilder

from service.gateway import sse
from service.http.services import services_of

USED = "[sandbox input_tokens=30] [sandbox output_tokens=20]"
KEY = {"Idempotency-Key": "k"}


def listen(send, license, events, prompt=USED, **more):
    """Read so many chunks, and go."""
    response = send(license, prompt, stream=True, buffered=False, **more)
    chunks = iter(response.response)
    read = b"".join(next(chunks) for _ in range(events))
    response.close()
    return read


def delivered(sql):
    return sql("SELECT state, delivered_at IS NOT NULL FROM obol.holds")


@pytest.mark.parametrize("events", [1, 3, 24])
def test_what_was_used_is_charged(app, send, new_license, state, sql, upstream, logged, events):
    license = new_license()

    read = listen(send, license, events)
    assert b"message_stop" not in read
    assert state(license) == (950, 0, 2)
    assert [usage["output_tokens"] for usage in upstream.used] == [20]
    (line,) = requests_in(logged)
    assert (line["credits"], line["delivered"], line["replayed"]) == (50, False, False)
    services_of(app).lease.beat()
    assert delivered(sql) == [("settled", False)]


def test_who_has_read_it_all_has_it(app, send, new_license, sql, logged):
    license = new_license()
    send(license, USED, stream=True)

    (line,) = requests_in(logged)
    assert (line["credits"], line["delivered"]) == (50, True)
    services_of(app).lease.beat()
    assert delivered(sql) == [("settled", True)]


def test_an_end_that_nobody_asked_for_more_after_was_not_written(app, send, new_license, sql):
    license = new_license()
    # Every chunk of it, but not the news that there are no more.
    read = listen(send, license, 26)

    assert sse_names(read)[-2:] == ["message_stop", ""]
    services_of(app).lease.beat()
    assert delivered(sql) == [("settled", False)]


def sse_names(stream):
    return [event.name for event in sse.events([stream])]


@pytest.mark.parametrize("path", ["/v1/messages", "/api/v1/generate"])
def test_a_client_that_was_gone_before_the_first_byte(app, new_license, state, upstream, logged, path):
    license = new_license()
    prompt = {"messages": [{"content": USED}], "model": "m"} if path == "/v1/messages" else {"prompt": USED}
    environ = EnvironBuilder(
        path, method="POST", json={"max_tokens": 100, "stream": True, **prompt}, headers=license.headers
    ).get_environ()
    started = []

    app.wsgi_app(environ, lambda status, headers: started.append(status)).close()

    assert started == ["200 OK"]
    assert state(license) == (950, 0, 2)
    assert len(upstream.used) == 1
    (line,) = requests_in(logged)
    assert (line["credits"], line["delivered"]) == (50, False)


@pytest.mark.parametrize("events", [1, 10, 24])
def test_a_retry_gets_what_was_paid_for(send, new_license, state, upstream, events):
    license = new_license()
    first = listen(send, license, events, headers=KEY)
    before = state(license)

    again = send(license, USED, stream=True, headers=KEY)
    assert again.headers["obol-replayed"] == "true"
    assert again.data.startswith(first)
    assert sse_names(again.data)[-2:] == ["message_stop", ""]
    assert again.data.endswith(b": obol-credits-charged: 50\n: obol-credits-balance: 950\n\n")
    assert state(license) == before == (950, 0, 2)
    assert upstream.calls == 1


@pytest.mark.parametrize(
    ("directive", "state_after"),
    [("cut_after=5", (1000, 0, 1)), ("error_after=15", (1000, 0, 1)), ("refusal", (1000, 0, 1))],
)
def test_what_breaks_off_while_nobody_listens_costs_nothing(
    send, new_license, state, sql, upstream, directive, state_after
):
    license = new_license()

    listen(send, license, 1, f"[sandbox {directive}]", headers=KEY)
    assert state(license) == state_after
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    # The key is free again.
    assert b"message_stop" in send(license, "[sandbox output_tokens=1]", stream=True, headers=KEY).data
    assert upstream.calls == 2


def test_an_upstream_that_stalls_while_nobody_listens_is_given_up(make_client, send, new_license, state):
    client, license = make_client(OBOL_UPSTREAM_TIMEOUT_S="1"), new_license()

    listen(send, license, 1, "[sandbox stall_after=5]", client=client)
    assert state(license) == (1000, 0, 1)


def test_what_nobody_thought_of_while_nobody_listens_is_logged_and_costs_nothing(
    send, new_license, state, logged, monkeypatch
):
    license = new_license()
    response = send(license, USED, stream=True, buffered=False)

    def explode(*args):
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("service.gateway.message.Message.read", explode)
    response.close()
    assert state(license) == (1000, 0, 1)
    assert [line["error"] for line in logged if line["event"] == "internal_error"] == ["RuntimeError"]
    assert [(line["credits"], line["delivered"]) for line in requests_in(logged)] == [(0, False)]


def test_a_replay_that_nobody_reads_changes_nothing(app, send, new_license, state, sql, logged):
    license = new_license()
    send(license, USED, stream=True, headers=KEY)
    before = state(license)

    listen(send, license, 2, headers=KEY)
    assert state(license) == before
    first, second = requests_in(logged)
    assert (first["credits"], first["replayed"], first["delivered"]) == (50, False, True)
    assert (second["credits"], second["replayed"], second["delivered"]) == (0, True, False)
    assert second["hold_id"] == first["hold_id"]


def test_what_is_streamed_by_generate_is_charged_too(app, new_license, state):
    license = new_license()
    response = app.test_client().post(
        "/api/v1/generate", data=json.dumps({"prompt": USED, "stream": True}), headers=license.headers,
        content_type="application/json",
    )  # fmt: skip
    chunks = iter(response.response)
    assert [next(chunks), next(chunks)] == [b": ping\n\n", b'event: text\ndata: {"text":"This"}\n\n']
    response.close()
    assert state(license) == (950, 0, 2)
