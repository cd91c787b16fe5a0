"""What is told of a balance: each threshold once, by the very call that crosses it, until there is a top-up."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import grants, holds, ledger, limits, webhooks


def low(balance, threshold, percent=None):
    return "license.low_balance", {"balance": balance, "threshold": threshold, "percent": percent}


EXHAUSTED = ("license.exhausted", {"balance": 0})


@pytest.fixture
def alerted(owner, new_license):
    """`alerted(credits=[100], percent=[20])`: a license with 1000 credits and thresholds."""

    def make(**alerts):
        license = new_license(credits=1000)
        webhooks.set_alerts(owner, license.id, alerts=alerts)
        return license

    return make


def test_a_deduction_tells_when_it_crosses_a_threshold_and_no_other_does(alerted, deduct, told):
    license = alerted(credits=[500, 100])
    deduct(license, 499)
    assert told(license) == []
    deduct(license, 1)
    assert told(license) == [low(500, 500)]
    deduct(license, 300)
    assert told(license) == [low(500, 500)]


def test_several_at_once_are_told_each_the_highest_first_and_the_end_last(alerted, deduct, told):
    license = alerted(credits=[10, 200], percent=[50])
    deduct(license, 1000)
    assert told(license) == [low(0, 500, 50), low(0, 200), low(0, 10), EXHAUSTED]


def test_a_charge_tells_too(alerted, process_hold, settle, told):
    license = alerted(credits=[900])
    settle(license, process_hold(license, 200), 100)
    assert told(license) == [low(900, 900)]


def test_a_charge_beyond_its_hold_tells(alerted, process_hold, settle, told):
    license = alerted(credits=[700, 500])
    settle(license, process_hold(license, 100), 300)
    assert told(license) == [low(700, 700)]


def test_a_charge_of_nothing_tells_nothing(new_license, process_hold, settle, told):
    license = new_license(credits=0)
    settle(license, process_hold(license, 0), 0)
    assert told(license) == []


def test_the_end_is_told_without_any_threshold_and_once(new_license, deduct, grant, told, sql):
    license = new_license(credits=10)
    deduct(license, 10)
    assert told(license) == [EXHAUSTED]
    assert sql("SELECT notify_below FROM obol.licenses") == [(-1,)]
    grant(license, 5)
    deduct(license, 5)
    assert told(license) == [EXHAUSTED, EXHAUSTED]


def test_a_refund_is_no_top_up(new_license, deduct, refund, told):
    license = new_license(credits=10)
    refund(license, deduct(license, 10).deduction_id)
    deduct(license, 10)
    assert told(license) == [EXHAUSTED]


def test_a_top_up_arms_what_it_rises_above_and_percents_are_of_it(alerted, deduct, grant, told):
    license = alerted(credits=[500], percent=[10])
    deduct(license, 950)
    assert told(license) == [low(50, 500), low(50, 100, 10)]
    grant(license, 350)
    deduct(license, 360)
    assert told(license)[2:] == [low(40, 40, 10)]


def test_an_adjustment_tells_and_arms(alerted, owner, told):
    def adjust(license, amount):
        ledger.adjust(owner, license.id, uuid4(), amount=amount, reason="why", idempotency_key=None, fingerprint=b"")

    license = alerted(credits=[600])
    for amount in (-400, 100, -100):
        adjust(license, amount)
    assert told(license) == [low(600, 600), low(600, 600)]


def test_what_expires_and_is_voided_tells(new_license, owner, db, grant, told, sql):
    license = new_license(credits=10)
    expiring = grant(license, 90, expires_at=datetime.now(UTC) + timedelta(days=60))
    voided = grant(license, 900)
    webhooks.set_alerts(owner, license.id, alerts={"credits": [50, 500]})
    grants.void(owner, license.id, voided.grant_id)
    assert told(license) == [low(100, 500)]
    sql(
        "UPDATE obol.grants SET starts_at = starts_at - interval '99 days',"
        " expires_at = expires_at - interval '61 days'"
        " WHERE grant_id = %s",
        (str(expiring.grant_id),),
    )
    sql("UPDATE obol.licenses SET next_change_at = '-infinity'")
    assert grants.bring_up_to_date(db, license.id) is None
    assert told(license) == [low(100, 500), low(10, 50)]


@pytest.fixture
def ended(sql, db, grant):
    """`ended(license, first, *others)`: the first grant ends, and the others start, before anybody looks."""

    def pass_by(license, first, *others):
        for grant_id, starts, ends in ((first, "10 days", "1 hour"), *others):
            sql(
                "UPDATE obol.grants SET starts_at = now() - %s::interval, expires_at = now() - %s::interval"
                " WHERE grant_id = %s",
                (starts, ends, str(grant_id)),
            )
        sql("UPDATE obol.licenses SET next_change_at = '-infinity'")
        grants.bring_up_to_date(db, license.id)

    return pass_by


def test_a_fall_is_told_though_a_grant_starts_with_it(new_license, owner, grant, deduct, told, ended):
    license = new_license(credits=0)
    first = grant(license, 10_000, expires_at=datetime.now(UTC) + timedelta(days=9)).grant_id
    second = grant(license, 100, starts_at=datetime.now(UTC) + timedelta(days=9)).grant_id
    webhooks.set_alerts(owner, license.id, alerts={"credits": [1000, 50], "percent": [10]})
    ended(license, first, (second, "1 hour", "-9 days"))
    # Ten percent are of what there was, and then of what there is.
    assert told(license) == [low(100, 1000, 10), low(100, 1000)]
    deduct(license, 95)
    assert told(license)[2:] == [low(5, 50), low(5, 10, 10)]


def test_the_end_is_told_though_a_grant_has_started_and_ended_meanwhile(new_license, owner, grant, told, ended, sql):
    license = new_license(credits=0)
    first = grant(license, 10, expires_at=datetime.now(UTC) + timedelta(days=9)).grant_id
    second = grant(license, 100, starts_at=datetime.now(UTC) + timedelta(days=9)).grant_id
    ended(license, first, (second, "59 minutes", "1 minute"))
    assert told(license) == [EXHAUSTED]
    grant(license, 7)
    assert sql("SELECT notify_below FROM obol.licenses") == [(0,)]


def test_a_grant_that_is_more_than_what_ends_with_it_is_a_top_up(new_license, owner, grant, told, ended):
    license = new_license(credits=0)
    first = grant(license, 100, expires_at=datetime.now(UTC) + timedelta(days=9)).grant_id
    second = grant(license, 500, starts_at=datetime.now(UTC) + timedelta(days=9)).grant_id
    webhooks.set_alerts(owner, license.id, alerts={"credits": [80]})
    ended(license, first, (second, "1 hour", "-9 days"))
    assert told(license) == []


def test_a_threshold_that_was_said_twice_is_told_once(alerted, deduct, told):
    license = alerted(credits=[100, 100], percent=[10, 10])
    deduct(license, 900)
    assert told(license) == [low(100, 100, 10), low(100, 100)]


def test_a_threshold_that_the_balance_is_under_is_told_when_it_is_crossed_the_next_time(alerted, deduct, grant, told):
    license = alerted(credits=[2000])
    deduct(license, 1)
    assert told(license) == []
    grant(license, 1500)
    deduct(license, 500)
    assert told(license) == [low(1999, 2000)]


def test_thresholds_are_changed_as_a_whole_and_audited(alerted, owner, sql):
    license = alerted(credits=[100])
    assert webhooks.set_alerts(owner, license.id, email="ada@example.com") == ({"credits": [100]}, "ada@example.com")
    assert webhooks.set_alerts(owner, license.id, alerts={"percent": [5]}) == ({"percent": [5]}, "ada@example.com")
    # The same again is no act.
    webhooks.set_alerts(owner, license.id, alerts={"percent": [5]})
    assert webhooks.set_alerts(owner, license.id, alerts={}, email="") == (None, None)
    assert webhooks.show_alerts(owner, license.id) == (None, None)
    assert sql("SELECT count(*) FROM obol.admin_acts WHERE act = 'set_alerts'") == [(4,)]


@pytest.mark.parametrize(
    "alerts",
    [
        {"credits": [0]},
        {"credits": [1.5]},
        {"credits": [2**63]},
        {"credits": list(range(1, 12))},
        {"percent": [100]},
        {"percent": ["5"]},
        {"percent": 5},
        {"credit": [5]},
        {"credits": [None]},
    ],
)
def test_what_is_no_threshold_is_refused(new_license, owner, refused, alerts):
    license = new_license()
    with refused("amount_invalid"):
        webhooks.set_alerts(owner, license.id, alerts=alerts)


def test_there_has_to_be_such_a_license(owner):
    for call in (webhooks.set_alerts, webhooks.show_alerts):
        with pytest.raises(Problem) as caught:
            call(owner, uuid4())
        assert caught.value.code == "license_invalid"


def test_a_license_with_nothing_to_tell_writes_what_it_wrote_before(new_license, deduct, process_hold, settle, sql):
    """One update of the license, one entry: what a charge costs where nobody asked to be told."""
    license = new_license(credits=1000)
    call = (
        "BEGIN; SELECT obol.deduct(%(id)s, %(digest)s, gen_random_uuid(), 1, NULL, '', NULL); "
        "SELECT relname::text, n_tup_upd, n_tup_ins FROM pg_stat_xact_user_tables "
        "WHERE schemaname = 'obol' AND n_tup_upd + n_tup_ins > 0 ORDER BY 1"
    )
    deduct(license, 1)
    rows = sql(call, {"id": str(license.id), "digest": license.key.digest})
    assert rows == [("ledger_entries", 0, 1), ("licenses", 1, 0)]


@pytest.mark.tampers
def test_verify_finds_a_threshold_that_was_passed_over(alerted, owner, sql):
    license = alerted(credits=[100])
    sql("UPDATE obol.licenses SET notify_below = 1000")
    assert [(f.license_id, f.rule) for f in ledger.verify(owner)] == [(license.id, "a low balance is told")]


def test_a_revoked_key_is_told_once(new_license, new_key, owner, told):
    license = new_license()
    key = new_key(license, name="CI")
    for _ in range(2):
        limits.revoke_key(owner, license.id, key.key_id)
    ((type, data),) = told(license)
    assert type == "key.revoked"
    assert data.pop("revoked_at").endswith("Z")
    assert data == {"key_id": str(key.key_id), "name": "CI"}


def test_a_shortfall_is_told_with_its_charge(new_license, process_hold, settle, told):
    license = new_license(credits=100)
    hold = process_hold(license, 60)
    settle(license, hold, 150)
    said = {"hold_id": str(hold.hold_id), "shortfall": 50, "charge": 100, "model": "a-model", "balance": 0}
    assert told(license) == [("shortfall.booked", said), EXHAUSTED]


def test_what_is_refused_tells_nothing(new_license, deduct, told):
    license = new_license(credits=10)
    with pytest.raises(Problem):
        deduct(license, 11)
    assert told(license) == []


def test_a_client_s_settlement_tells(alerted, client_hold, db, told):
    license = alerted(credits=[950])
    holds.settle(db, license.key, client_hold(license, 100).hold_id, amount=60)
    assert told(license) == [low(940, 950)]
