"""A process that was thought dead wakes up: it settles once, if nobody has taken its place."""

from uuid import uuid4

import pytest

from service.repository import holds, ledger, licenses, processes

CHARGE = 40
CHARGES = "SELECT count(*), sum(amount)::int FROM obol.ledger_entries WHERE kind = 'charge'"


@pytest.fixture
def states(lease, sql):
    """`states()`: of the holds of this process, oldest first."""
    return lambda: [
        state
        for (state,) in sql(
            "SELECT state FROM obol.holds WHERE process_id = %s ORDER BY opened_at", (str(lease.process_id),)
        )
    ]


@pytest.fixture
def presume_dead(db, lease, expire_due, states):
    """`presume_dead()`: another process gives back the hold of this one, which knows nothing of it."""

    def lapse_and_expire():
        processes.heartbeat(db, lease.process_id, 0)
        assert expire_due() == 1
        assert states() == ["expired"]

    return lapse_and_expire


@pytest.mark.parametrize("others", [0, 700])
@pytest.mark.parametrize("is_reply_lost", [False, True])
def test_a_settle_that_comes_after_the_hold_was_given_back_charges_once(
    ask, flaky, new_license, new_call, db, sql, states, presume_dead, others, is_reply_lost
):
    license = new_license()
    if others:
        holds.open_for_client(db, license.key, uuid4(), amount=others, expires_in_s=60)

    def give_back():
        presume_dead()
        assert licenses.find(db, license.key).held == others
        if is_reply_lost:
            flaky.fail("settle_hold(", after=True)

    flaky.fail("settle_hold(", then=give_back)
    receipt = ask(license, new_call())

    assert (receipt.charged, receipt.balance) == (CHARGE, 1000 - CHARGE)
    assert states() == ["settled"]
    assert sql(CHARGES) == [(1, -CHARGE)]
    shown = licenses.find(db, license.key)
    assert (shown.balance, shown.held) == (1000 - CHARGE, others)


def test_a_late_settle_without_the_credits_charges_nothing(
    refusal, flaky, lease, new_license, new_call, db, states, presume_dead
):
    license = new_license()

    def give_back_and_spend():
        presume_dead()
        ledger.deduct(db, license.key, uuid4(), amount=1000 - CHARGE + 1)

    flaky.fail("settle_hold(", then=give_back_and_spend)
    assert refusal(license, new_call()).code == "database_error"
    lease.beat()
    assert licenses.find(db, license.key).balance == CHARGE - 1
    assert states() == ["released"]


def test_a_late_settle_whose_key_names_another_hold_charges_nothing(
    seller, refusal, flaky, lease, new_license, new_call, db, sql, states, presume_dead
):
    license, retried = new_license(), []

    def give_back_and_ask_again():
        presume_dead()
        retried.append(seller.answer(license.key, new_call(idempotency_key="k")))

    flaky.fail("settle_hold(", then=give_back_and_ask_again)
    refused = refusal(license, new_call(idempotency_key="k"))
    assert refused.code == "database_error"
    lease.beat()
    assert retried[0].receipt.balance == 1000 - CHARGE
    assert licenses.find(db, license.key).balance == 1000 - CHARGE
    assert sql(CHARGES) == [(1, -CHARGE)]
    assert states() == ["released", "settled"]


def test_a_hold_that_was_given_back_and_whose_model_gave_no_answer_is_released(
    refusal, flaky, new_license, new_call, db, states, presume_dead
):
    license = new_license()
    flaky.fail("release_hold(", then=presume_dead)

    assert refusal(license, new_call("[sandbox close]")).code == "upstream_error"
    assert states() == ["released"]
    assert licenses.find(db, license.key).available == 1000
