"""Events that are found by looking, their list, and how long they are kept."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.operator import create_license
from service.problems import Problem
from service.repository import ledger, processes, webhooks
from service.repository.admin import Actor

NOBODY = "00000000-0000-0000-0000-000000000000"


def at(days):
    return datetime.now(UTC) + timedelta(days=days)


def test_a_grant_is_told_with_its_terms(new_license, grant, sql):
    license = new_license(credits=0)
    expires_at = at(365)
    given = grant(license, 70, expires_at=expires_at, reference="order 7", key="k")
    grant(license, 70, expires_at=expires_at, reference="order 7", key="k")
    ((data,),) = sql("SELECT data FROM obol.events WHERE type = 'grant.created'")
    assert datetime.fromisoformat(data.pop("starts_at")) < datetime.now(UTC)
    assert datetime.fromisoformat(data.pop("expires_at")) == expires_at
    assert data == {
        "license_id": str(license.id),
        "external_id": None,
        "grant_id": str(given.grant_id),
        "amount": 70,
        "reason": "purchase",
        "reference": "order 7",
        "balance": 70,
    }


def test_a_short_grant_is_not_told_of_before_its_last_quarter(db, new_license, grant):
    grant(new_license(credits=5), 100, expires_at=at(6))
    assert webhooks.due_expiring(db) == []


@pytest.fixture
def expiring(sql, grant):
    """`expiring(license, amount)`: a grant with two days of its thirty left."""

    def make(license, amount=100, **terms):
        given = grant(license, amount, expires_at=at(2), **terms)
        sql(
            "UPDATE obol.grants SET starts_at = starts_at - interval '28 days' WHERE grant_id = %s",
            (str(given.grant_id),),
        )
        return given

    return make


def test_a_grant_that_is_about_to_expire_is_told_once(db, new_license, expiring, deduct, told):
    license = new_license(credits=5)
    given = expiring(license, reference="r")
    deduct(license, 30)
    assert webhooks.due_expiring(db) == [license.id]
    assert webhooks.tell_expiring(db, license.id) == 1
    assert webhooks.tell_expiring(db, license.id) == 0
    assert webhooks.due_expiring(db) == []
    ((type, data),) = told(license)
    assert type == "grant.expiring"
    assert data.pop("expires_at").endswith("Z")
    assert data == {
        "grant_id": str(given.grant_id),
        "amount": 100,
        "left": 70,
        "reason": "purchase",
        "reference": "r",
    }


def test_a_grant_that_is_used_up_is_not_told(db, new_license, expiring, deduct, told):
    license = new_license(credits=5)
    expiring(license, 100)
    deduct(license, 100)
    assert webhooks.tell_expiring(db, license.id) == 0
    assert told(license) == []


def test_a_charge_whose_process_died_before_its_delivery_is_told(
    db, new_license, process_hold, process_id, settle, told, owner
):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 40)
    assert webhooks.due_undelivered(db) == []
    processes.heartbeat(db, process_id, 0)
    assert webhooks.due_undelivered(db) == [(license.id, [hold.hold_id])]
    for _ in range(2):
        webhooks.tell_undelivered(db, license.id, [hold.hold_id, uuid4()])
    assert webhooks.due_undelivered(db) == []
    ((type, data),) = told(license)
    assert type == "answer.undelivered"
    assert data.pop("settled_at").endswith("Z")
    assert data == {"hold_id": str(hold.hold_id), "charge": 40, "model": "a-model"}


def test_a_living_process_has_an_hour(db, new_license, process_hold, settle, sql):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 40)
    sql("UPDATE obol.holds SET ended_at = ended_at - interval '61 minutes'")
    assert webhooks.due_undelivered(db) == [(license.id, [hold.hold_id])]
    sql("UPDATE obol.holds SET ended_at = ended_at - interval '7 days'")
    assert webhooks.due_undelivered(db) == []


def test_what_was_refunded_or_is_stored_is_not_told(db, new_license, process_hold, process_id, settle, refund, told):
    license = new_license()
    refunded, stored = process_hold(license), process_hold(license, key="k")
    settle(license, refunded, 40)
    settle(license, stored, 40, answer=b"sealed")
    refund(license, refunded.hold_id)
    webhooks.tell_undelivered(db, license.id, [refunded.hold_id, stored.hold_id])
    assert told(license) == []


def test_the_upstream_s_refusal_is_told_once_an_hour(db, sql, owner):
    assert webhooks.tell_upstream_refusal(db, 401)
    assert not webhooks.tell_upstream_refusal(db, 402)
    ((license_id, data),) = sql("SELECT license_id::text, data FROM obol.events")
    assert (license_id, data) == (NOBODY, {"license_id": None, "external_id": None, "status": 401})
    sql("UPDATE obol.events SET created_at = created_at - interval '61 minutes'")
    assert webhooks.tell_upstream_refusal(db, 402)
    assert [event.license_id for event in webhooks.list_events(owner)] == [None, None]


def test_events_are_listed_newest_first_by_pages(new_license, deduct, owner):
    first, second = new_license(credits=1), new_license(credits=1)
    deduct(second, 1)
    deduct(first, 1)
    found = webhooks.list_events(owner)
    assert [(event.type, event.license_id) for event in found] == [
        ("license.exhausted", first.id),
        ("license.exhausted", second.id),
        ("grant.created", second.id),
        ("grant.created", first.id),
    ]
    assert webhooks.list_events(owner, after=found[1].place, limit=1) == [found[2]]
    assert webhooks.list_events(owner, only=first.id) == [found[0], found[3]]
    assert webhooks.list_events(owner, type="grant.created") == found[2:]
    with pytest.raises(Problem) as caught:
        webhooks.list_events(owner, actor=Actor(b"x" * 32, None))
    assert caught.value.code == "admin_forbidden"


def test_an_external_id_is_told(owner, sql):
    create_license(owner, credits=5, external_id="customer 7")
    assert sql("SELECT data ->> 'external_id' FROM obol.events") == [("customer 7",)]


def test_events_are_kept_for_thirty_days_whatever_the_login_says(db, urls, sql, new_license, new_webhook, deduct):
    webhook_id = new_webhook()
    license = new_license(credits=1)
    assert webhooks.purge(db) == 0
    assert sql("SELECT obol.purge_events(1000, 0)") == [(0,)]
    sql("UPDATE obol.events SET created_at = created_at - interval '31 days'")
    deduct(license, 1)
    assert webhooks.purge(db) == 1
    assert sql("SELECT type, event_no FROM obol.events") == [("license.exhausted", 2)]
    assert sql("SELECT event_no, webhook_id::text FROM obol.deliveries") == [(2, str(webhook_id))]


@pytest.mark.tampers
def test_verify_finds_an_event_that_nobody_would_deliver(owner, new_license, new_webhook, sql):
    new_webhook()
    license = new_license(credits=1)
    sql("UPDATE obol.delivery_queues SET next_attempt_at = NULL")
    assert [(f.license_id, f.rule) for f in ledger.verify(owner)] == [(license.id, "what waits has its turn")]


@pytest.mark.parametrize("rules", ["verify_events"])
def test_every_rule_is_tried(rules_of, rules):
    assert rules_of(rules) == {"what waits has its turn", "a low balance is told"}
