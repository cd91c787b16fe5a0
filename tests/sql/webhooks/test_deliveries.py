"""Deliveries: in order for each license, by one at a time, again and again for three days."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import webhooks
from service.repository.webhooks import EMAIL, Attempt, DueDelivery

NEXT = "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::float8 FROM obol.delivery_queues"
NOW = "UPDATE obol.delivery_queues SET next_attempt_at = clock_timestamp()"


@pytest.fixture
def passed(sql):
    """`passed("3 days")`: all attempts were so long ago."""

    def shift(interval):
        sql(f"UPDATE obol.deliveries SET first_attempt_at = first_attempt_at - interval '{interval}'")
        sql(f"UPDATE obol.webhooks SET failing_since = failing_since - interval '{interval}'")
        sql(NOW)

    return shift


def test_an_event_is_delivered_to_who_wants_its_type(new_license, new_webhook, due, attempt, deduct):
    every, some, other = new_webhook(), new_webhook(["grant.created"]), new_webhook(["key.revoked"])
    license = new_license(credits=1)
    assert sorted(due()) == sorted([(license.id, every), (license.id, some)])
    assert attempt(license, every) == ("grant.created", "delivered")
    assert attempt(license, some, status=204) == ("grant.created", "delivered")
    assert due() == []
    deduct(license, 1)
    assert due() == [(license.id, every)]
    assert other != every


def test_events_of_a_license_wait_for_the_ones_before_and_no_other_license_s_do(
    new_license, new_webhook, attempt, claim, deduct, due, sql
):
    webhook_id = new_webhook()
    license, other = new_license(credits=1), new_license(credits=1)
    deduct(license, 1)
    assert attempt(license, webhook_id, error="down") == ("grant.created", "waiting")
    assert claim(license, webhook_id) is None
    assert due() == [(other.id, webhook_id)]
    sql(NOW)
    assert attempt(license, webhook_id) == ("grant.created", "delivered")
    assert attempt(license, webhook_id) == ("license.exhausted", "delivered")
    assert claim(license, webhook_id) is None


def test_one_that_has_it_keeps_others_off_until_the_claim_lapses(db, new_license, new_webhook, claim, due, sql):
    webhook_id, license = new_webhook(), new_license()
    first = uuid4()
    claimed = claim(license, webhook_id, first)
    # Asked again, because the reply was lost.
    assert claim(license, webhook_id, first) == claimed
    assert due() == []
    assert claim(license, webhook_id) is None
    sql(NOW)
    second = uuid4()
    assert claim(license, webhook_id, second).event_id == claimed.event_id
    place = DueDelivery(license.id, webhook_id)
    assert webhooks.end(db, place, first, attempt=Attempt()) is None
    assert webhooks.end(db, place, second, attempt=Attempt()) == "delivered"
    assert sql("SELECT attempts FROM obol.deliveries") == [(3,)]


def test_of_many_at_once_one_has_it(new_license, new_webhook, claim):
    webhook_id, license = new_webhook(), new_license()
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim(license, webhook_id), range(40)))
    assert len([claimed for claimed in claims if claimed is not None]) == 1


@pytest.mark.parametrize(("attempts", "least", "most"), [(1, 4, 6), (2, 16, 24), (5, 1024, 1536), (30, 23040, 34560)])
def test_attempts_come_later_and_later_up_to_eight_hours(new_license, new_webhook, attempt, sql, attempts, least, most):
    webhook_id, license = new_webhook(), new_license()
    sql("UPDATE obol.deliveries SET attempts = %s", (attempts - 1,))
    attempt(license, webhook_id, error="down")
    ((wait_s,),) = sql(NEXT)
    assert least - 1 <= wait_s <= most


def test_who_asks_for_time_gets_it_up_to_eight_hours(new_license, new_webhook, attempt, sql):
    webhook_id, license = new_webhook(), new_license()
    attempt(license, webhook_id, error="busy", retry_after_s=600)
    ((wait_s,),) = sql(NEXT)
    assert 598 < wait_s <= 600
    sql(NOW)
    attempt(license, webhook_id, error="busy", retry_after_s=999_999)
    ((wait_s,),) = sql(NEXT)
    assert 28_790 < wait_s <= 28_800


def test_after_three_days_it_is_given_up_and_the_next_one_tried(
    new_license, new_webhook, attempt, passed, deduct, owner, sql
):
    webhook_id, license = new_webhook(), new_license(credits=1)
    deduct(license, 1)
    attempt(license, webhook_id, error="down")
    passed("71 hours")
    # The last attempt is when they are over.
    sql("UPDATE obol.deliveries SET attempts = 20")
    assert attempt(license, webhook_id, error="down")[1] == "waiting"
    ((wait_s,),) = sql(NEXT)
    assert wait_s <= 3600
    passed("1 hour")
    assert attempt(license, webhook_id, error="down", status=500) == ("grant.created", "failed")
    assert attempt(license, webhook_id) == ("license.exhausted", "delivered")
    (webhook,) = webhooks.list_webhooks(owner)
    assert (webhook.waiting, webhook.failed) == (0, 1)


def test_what_makes_no_sense_is_given_up_at_once(new_license, new_webhook, attempt):
    webhook_id, license = new_webhook(), new_license()
    assert attempt(license, webhook_id, error="no", is_final=True) == ("grant.created", "failed")


def test_one_that_fails_for_three_days_is_paused_and_its_events_wait(
    db, owner, new_license, new_webhook, attempt, passed, deduct, due, claim
):
    webhook_id, license = new_webhook(), new_license(credits=1)
    attempt(license, webhook_id, error="down")
    assert not webhooks.note(db, webhook_id, error="down")
    (webhook,) = webhooks.list_webhooks(owner)
    assert (webhook.status, webhook.last_error, webhook.waiting) == ("failing", "down", 1)
    passed("3 days")
    # Only asked whether it works again.
    new_license()
    assert len(due()) == 1
    assert attempt(license, webhook_id, error="still down")[1] == "failed"
    assert webhooks.note(db, webhook_id, error="still down")
    assert not webhooks.note(db, webhook_id, error="still down")
    (webhook,) = webhooks.list_webhooks(owner)
    assert (webhook.status, webhook.paused_because) == ("paused", "failing")
    deduct(license, 1)
    assert due() == []
    assert claim(license, webhook_id) is None
    assert webhooks.pause(owner, webhook_id, False)
    assert len(due()) == 2
    assert attempt(license, webhook_id) == ("license.exhausted", "delivered")


def test_one_that_works_again_is_as_before(db, owner, new_webhook):
    webhook_id = new_webhook()
    webhooks.note(db, webhook_id, error="x" * 400)
    assert webhooks.list_webhooks(owner)[0].last_error == "x" * 300
    assert not webhooks.note(db, webhook_id, error=None)
    assert webhooks.list_webhooks(owner)[0].status == "active"


def test_what_waits_for_one_that_works_again_is_tried_at_once(db, new_webhook, new_license, attempt, claim, due, sql):
    webhook_id, other = new_webhook(), new_webhook()
    licenses = [new_license() for _ in range(3)]
    for license in licenses:
        attempt(license, webhook_id, error="down")
        attempt(license, other, error="down")
    sql("UPDATE obol.delivery_queues SET next_attempt_at = clock_timestamp() + interval '8 hours'")
    # Somebody has one of them in hand.
    sql(f"{NOW} WHERE license_id = %s", (str(licenses[0].id),))
    assert claim(licenses[0], webhook_id) is not None
    webhooks.note(db, webhook_id, error="down")
    webhooks.note(db, webhook_id, error=None)
    assert sorted(license_id for license_id, at in due() if at == webhook_id) == sorted(
        license.id for license in licenses[1:]
    )
    # Of one that never failed nothing is moved.
    sql("UPDATE obol.delivery_queues SET next_attempt_at = clock_timestamp() + interval '8 hours'")
    webhooks.note(db, other, error=None)
    assert due() == []


def test_one_that_fails_comes_last_and_with_one(db, new_webhook, new_license, due):
    failing, working = new_webhook(), new_webhook()
    webhooks.note(db, failing, error="down")
    for _ in range(3):
        new_license()
    assert [webhook_id for _, webhook_id in due()] == [working] * 3 + [failing]


def test_one_that_is_gone_is_paused_at_once(db, owner, new_webhook):
    webhook_id = new_webhook()
    assert webhooks.note(db, webhook_id, error="410", is_gone=True)
    assert webhooks.list_webhooks(owner)[0].paused_because == "gone"


def test_pausing_is_an_act_once(owner, new_webhook, sql):
    webhook_id = new_webhook()
    for paused in (True, True, False, False):
        assert webhooks.pause(owner, webhook_id, paused)
    acts = sql("SELECT act FROM obol.admin_acts WHERE target = %s ORDER BY act_no", (str(webhook_id),))
    assert acts == [("create_webhook",), ("pause_webhook",), ("resume_webhook",)]


def test_a_new_secret_leaves_the_one_before_its_time(db, owner, new_webhook, new_license, claim, sql):
    webhook_id = new_webhook()
    for _ in range(2):
        assert webhooks.rotate(owner, webhook_id, secret=b"new", overlap_s=60)
    license = new_license()
    claimed = claim(license, webhook_id)
    assert (claimed.secret, claimed.old_secret) == (b"new", b"sealed")
    assert webhooks.list_webhooks(owner)[0].old_secret_until is not None
    sql("UPDATE obol.webhooks SET old_secret_until = clock_timestamp() WHERE old_secret IS NOT NULL")
    sql(NOW)
    assert claim(license, webhook_id).old_secret is None
    assert webhooks.list_webhooks(owner)[0].old_secret_until is None


def test_a_deleted_one_gets_nothing_and_leaves_nothing(db, owner, new_webhook, new_license, due, deduct, sql):
    webhook_id, license = new_webhook(), new_license(credits=1)
    assert webhooks.count_waiting(db, with_email=False) == 1
    for _ in range(2):
        assert webhooks.delete(owner, webhook_id)
    deduct(license, 1)
    assert due() == []
    assert webhooks.list_webhooks(owner) == []
    assert sql("SELECT count(*) FROM obol.webhooks WHERE secret = '' AND kind = 'http'") == [(1,)]
    assert webhooks.count_waiting(db, with_email=False) == 0
    webhooks.purge(db)
    assert sql("SELECT count(*) FROM obol.deliveries") == sql("SELECT count(*) FROM obol.delivery_queues") == [(0,)]
    assert not webhooks.pause(owner, webhook_id, True)
    assert not webhooks.rotate(owner, webhook_id, secret=b"x", overlap_s=0)
    assert webhooks.replay(owner, webhook_id, None) is None


def test_an_event_is_replayed_by_hand_also_to_who_had_not_wanted_it(owner, new_webhook, new_license, attempt, due, sql):
    license = new_license()
    webhook_id = new_webhook()
    (event,) = webhooks.list_events(owner)
    assert due() == []
    assert webhooks.replay(owner, webhook_id, event.event_id) == 1
    assert attempt(license, webhook_id) == ("grant.created", "delivered")
    assert webhooks.replay(owner, webhook_id, event.event_id) == 1
    assert attempt(license, webhook_id) == ("grant.created", "delivered")
    assert webhooks.replay(owner, webhook_id, uuid4()) == 0
    assert not webhooks.delete(owner, uuid4())


def test_all_that_were_given_up_are_replayed(owner, new_webhook, new_license, attempt):
    webhook_id = new_webhook()
    licenses = [new_license(), new_license()]
    for license in licenses:
        attempt(license, webhook_id, error="no", is_final=True)
    assert webhooks.replay(owner, webhook_id, None) == 2
    assert [attempt(license, webhook_id)[1] for license in licenses] == ["delivered"] * 2
    assert webhooks.replay(owner, webhook_id, None) == 0


def test_there_are_twenty_at_most(owner, new_webhook):
    for _ in range(20):
        new_webhook()
    with pytest.raises(Problem) as caught:
        new_webhook()
    assert caught.value.code == "amount_invalid"


def test_a_mail_is_for_licenses_with_an_address_and_the_two_events(
    db, owner, new_license, deduct, due, claim, attempt, sql
):
    license, other = new_license(credits=1), new_license(credits=1)
    webhooks.set_alerts(owner, license.id, email="ada@example.com")
    deduct(license, 1)
    deduct(other, 1)
    assert due() == []
    assert webhooks.count_waiting(db, with_email=True) == 1
    assert due(with_email=True) == [(license.id, EMAIL)]
    claimed = claim(license, EMAIL, lease_s=1)
    assert (claimed.kind, claimed.type, claimed.email) == ("email", "license.exhausted", "ada@example.com")
    sql(NOW)
    assert attempt(license, EMAIL, error="no")[1] == "waiting"
    # It is nobody's to see, pause or delete.
    assert webhooks.list_webhooks(owner) == []
    assert not webhooks.pause(owner, EMAIL, True)
    assert not webhooks.delete(owner, EMAIL)
    assert not webhooks.note(db, EMAIL, error="no", is_gone=True)


def test_a_mail_of_last_week_is_not_sent(owner, new_license, deduct, claim, sql):
    license = new_license(credits=1)
    webhooks.set_alerts(owner, license.id, email="ada@example.com")
    deduct(license, 1)
    sql("UPDATE obol.events SET created_at = created_at - interval '73 hours'")
    assert claim(license, EMAIL) is None
    assert sql("SELECT state FROM obol.deliveries") == [("failed",)]
    assert sql("SELECT next_attempt_at FROM obol.delivery_queues") == [(None,)]
