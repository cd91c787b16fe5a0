"""What is counted and timed, in one process."""

import json

import pytest
from scraping import parse, total

from service import metrics
from service.db import Database
from service.http.services import services_of
from service.lease import Lease
from service.problems import Problem
from service.repository import holds
from service.repository.holds import SettledHold

# DESIGN's list, with what this service adds to it: names and labels, word for word.
PROMISED = {
    "obol_requests_total": ("route", "status", "code"),
    "obol_request_seconds": ("route",),
    "obol_credits_total": ("kind",),
    "obol_holds_open": (),
    "obol_hold_oldest_seconds": (),
    "obol_settle_seconds": (),
    "obol_pool_wait_seconds": (),
    "obol_upstream_seconds": ("model", "outcome"),
    "obol_upstream_errors_total": ("status",),
    "obol_upstream_refuses_us_total": (),
    "obol_webhook_deliveries_total": ("outcome",),
    "obol_events_waiting": (),
    "obol_undelivered_total": (),
    "obol_operator_loss_total": ("reason",),
    "obol_shortfall_credits_total": (),
    "obol_threads_busy": (),
    "obol_lease_age_seconds": (),
    "obol_streams_open": (),
    "obol_wrong_revision": (),
}


def test_every_metric_is_there_with_its_labels_and_no_other(ask, client, new_license):
    ask(new_license())

    figures = parse(client.get("/metrics").data)

    found = {}
    for name, samples in figures.items():
        for labels in samples:
            names = {label for label, _ in labels} - {"le"}
            found.setdefault(name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count"), set()).update(
                names
            )
    assert found == {name: set(labels) for name, labels in PROMISED.items()}


def test_no_license_key_or_path_of_a_client_is_told(ask, client, new_license):
    license = new_license(credits=100)
    ask(license)
    ask(license, model="a-model-of-the-client-s-own")
    client.get("/nowhere/at-all", buffered=True)
    client.post("/api/v1/holds/00000000-0000-0000-0000-000000000000/release", headers=license.headers, buffered=True)

    told = client.get("/metrics").data.decode()

    for secret in (str(license.id), license.raw_key, "nowhere", "00000000", "a-model-of"):
        assert secret not in told
    assert 'route="none"' in told
    assert 'route="/api/v1/holds/<uuid:hold_id>/release"' in told


def test_requests_are_counted_by_rule_status_and_code(client, new_license, grown):
    license = new_license(credits=10)
    route = "/api/v1/deductions"
    for amount in (1, 99, 99):
        client.post(route, json={"amount": amount}, headers=license.headers, buffered=True)

    assert grown("obol_requests_total", route=route, status="200", code="") == 1
    assert grown("obol_requests_total", route=route, status="402", code="insufficient_credits") == 2
    assert grown("obol_request_seconds_count", route=route) == 3


def test_a_response_that_is_closed_twice_is_counted_once(client, grown):
    response = client.get("/healthz")
    response.close()
    response.close()

    assert grown("obol_requests_total", route="/healthz") == 1


def test_credits_are_counted_by_kind_and_a_replay_is_none(client, new_license, ask, grown, sql):
    license = new_license()
    keyed = license.headers | {"Idempotency-Key": "k"}
    for _ in range(3):
        client.post("/api/v1/deductions", json={"amount": 7}, headers=keyed)
    ask(license, "[sandbox input_tokens=30]")
    ask(license, "[sandbox input_tokens=30]", stream=True)
    hold = client.post("/api/v1/holds", json={"amount": 9}, headers=license.headers).get_json()
    client.post(f"/api/v1/holds/{hold['id']}/settle", json={"amount": 4}, headers=license.headers)

    booked = dict(sql("SELECT kind, -sum(amount)::bigint FROM obol.ledger_entries WHERE kind <> 'grant' GROUP BY kind"))
    assert booked["deduction"] == grown("obol_credits_total", kind="deduction") == 7
    assert booked["charge"] == grown("obol_credits_total", kind="charge") > 4
    assert grown("obol_settle_seconds_count") == 2


def test_models_are_told_by_the_pattern_that_prices_them(new_license, ask, sql, grown):
    columns = "(model_pattern, effective_from, input, output, cache_write_5m, cache_write_1h, cache_read)"
    for pattern in ("claude-*", "claude-sonnet-5-5"):
        sql(f"INSERT INTO obol.prices {columns} VALUES (%s, '2026-01-02T00:00:00Z', 1, 1, 1, 1, 1)", (pattern,))
    license = new_license()
    for model in ("claude-sonnet-5-5", "claude-a", "claude-b", "anything"):
        assert ask(license, model=model).status_code == 200

    assert grown("obol_upstream_seconds_count", model="claude-sonnet-5-5", outcome="answered") == 1
    assert grown("obol_upstream_seconds_count", model="claude-*", outcome="answered") == 2
    assert grown("obol_upstream_seconds_count", model="*", outcome="answered") == 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_upstream_s_bad_days_are_counted(new_license, ask, grown, stream):
    license = new_license(credits=10_000)
    ask(license, "[sandbox status=529]", stream=stream)
    ask(license, "[sandbox close]", stream=stream)
    ask(license, "[sandbox garbage]", stream=stream)

    assert grown("obol_upstream_errors_total", status="529") == 1
    assert grown("obol_upstream_errors_total", status="connection") == 1
    assert grown("obol_upstream_refuses_us_total") == 0
    assert grown("obol_upstream_seconds_count", model="*", outcome="upstream_error") == 3
    assert grown("obol_upstream_seconds_count", outcome="answered") == 0


@pytest.mark.parametrize("status", [401, 402, 403])
def test_that_the_upstream_refuses_us_has_a_metric_of_its_own(new_license, ask, grown, status):
    assert ask(new_license(), f"[sandbox status={status}]").status_code == 502

    assert grown("obol_upstream_refuses_us_total") == 1
    assert grown("obol_upstream_errors_total", status=str(status)) == 1


def test_an_answer_that_breaks_off_is_a_loss_and_no_charge(new_license, ask, grown):
    ask(new_license(), "[sandbox cut_after=5]", stream=True)

    assert grown("obol_operator_loss_total", reason="upstream_error") == 1
    assert grown("obol_credits_total") == 0
    assert grown("obol_streams_open") == 0


def test_a_request_that_cannot_be_written_asked_nobody(new_license, ask, grown, monkeypatch):
    def fail(*_):
        raise RecursionError

    monkeypatch.setattr("service.gateway.rewriting.with_max_tokens", fail)

    # Fewer tokens than asked for can be paid, so the request has to be written anew.
    assert ask(new_license(), max_tokens=3000).status_code == 500
    assert grown("obol_upstream_seconds_count") == 0


def test_what_a_license_could_not_pay_is_counted(new_license, ask, grown):
    assert ask(new_license(credits=400), "[sandbox input_tokens=900]").status_code == 200

    assert grown("obol_shortfall_credits_total") > 0


@pytest.fixture
def leave(client, new_license, grown):
    """`leave(client, headers)`: ask for an answer, and go before its end was written."""

    def go(own=None, headers=None):
        response = (own or client).post(
            "/api/v1/generate", json={"prompt": "Hello"}, headers={**new_license().headers, **(headers or {})}
        )
        assert response.status_code == 200
        response.close()
        response.close()

    return go


def test_a_charged_answer_that_was_not_written_is_undelivered_once(leave, grown):
    leave()
    assert grown("obol_undelivered_total") == 1


def test_one_that_a_retry_gets_is_not(leave, grown, make_client):
    leave(headers={"Idempotency-Key": "k"})
    assert grown("obol_undelivered_total") == 0

    leave(make_client(OBOL_REPLAY_KEYS=None), headers={"Idempotency-Key": "k"})
    assert grown("obol_undelivered_total") == 1


def test_one_that_was_written_is_not(new_license, ask, grown):
    ask(new_license())
    ask(new_license(), stream=True)
    assert grown("obol_undelivered_total") == 0


def test_a_charge_that_came_to_light_and_was_given_back_is_counted_as_both(
    app, new_license, ask, client, grown, monkeypatch
):
    license, settle = new_license(), holds.settle

    def settle_unseen(*arguments, **named):
        settle(*arguments, **named)
        raise Problem("database_error", "lost")

    monkeypatch.setattr(holds, "settle", settle_unseen)
    assert ask(license).status_code == 500
    assert grown("obol_credits_total") == 0

    services_of(app).lease.beat()

    assert grown("obol_credits_total", kind="charge") == grown("obol_credits_total", kind="refund") > 0


def test_streams_and_holds_in_hand_are_gauges(app, client, new_license):
    body = {"model": "m", "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    response = client.post("/v1/messages", json=body, headers=new_license().headers)

    during = parse(metrics.scrape())
    response.close()
    after = parse(metrics.scrape())

    assert (total(during, "obol_streams_open"), total(after, "obol_streams_open")) == (1, 0)
    assert (total(during, "obol_holds_open"), total(after, "obol_holds_open")) == (1, 0)
    assert 0 < total(during, "obol_hold_oldest_seconds") < 60
    assert total(after, "obol_hold_oldest_seconds") == 0


def test_the_age_of_a_lease_grows_while_no_heartbeat_succeeds(db, monkeypatch):
    lease = Lease(db, 3600)
    lease.check_revision()
    young = total(parse(metrics.scrape()), "obol_lease_age_seconds")
    now = metrics.elapsed()
    monkeypatch.setattr(metrics, "elapsed", lambda: now + 500)

    assert 0 <= young < 60
    assert 440 < total(parse(metrics.scrape()), "obol_lease_age_seconds") - young < 560


@pytest.mark.parametrize(("at", "told"), [("0000", 1), (None, 0)])
def test_another_migration_than_the_release_s_is_told(db, sql, at, told):
    if at:
        sql("UPDATE obol.alembic_version SET version_num = %s", (at,))
    Lease(db, 3600)._renew()

    assert total(parse(metrics.scrape()), "obol_wrong_revision") == told
    metrics.WRONG_REVISION.set(0)


def test_waiting_for_a_connection_is_timed_and_so_is_waiting_in_vain(urls):
    waits = []
    database = Database(urls.service, pool_size=1, wait_s=0.05, on_wait=waits.append)
    with database._connect(), pytest.raises(Problem, match="over_capacity"):
        database._connect()
    database.close()

    assert len(waits) == 2
    assert waits[0] >= 0
    assert 0.05 <= waits[1] < 5


def test_each_statement_of_a_call_is_a_wait(client, new_license, grown):
    client.post("/api/v1/deductions", json={"amount": 1}, headers=new_license().headers)
    assert grown("obol_pool_wait_seconds_count") == 1


def test_a_settlement_is_told_as_it_was_booked(client, new_license, grown, monkeypatch):
    monkeypatch.setattr(holds, "settle", lambda *_, amount: SettledHold(amount - 1, 0, 5, 9, None))
    path = "/api/v1/holds/00000000-0000-0000-0000-000000000000/settle"

    assert client.post(path, data=json.dumps({"amount": 4}), headers=new_license().headers).status_code == 415
    assert client.post(path, json={"amount": 4}, headers=new_license().headers).status_code == 200
    assert grown("obol_credits_total", kind="charge") == 3
