"""obol.settle_hold: what is charged and stored, and the same again."""

import pytest

from service import operator
from service.repository import holds

# The charge


def test_charges_what_was_used_and_gives_the_rest_back(db, new_license, client_hold, sql, money):
    license = new_license(credits=1000)
    hold = client_hold(license, 300, reference="job 7")

    result = holds.settle(db, license.key, hold.hold_id, amount=200)

    assert (result.charge, result.shortfall, result.balance) == (200, 0, 800)
    assert (result.amount, result.expires_at) == (300, hold.expires_at)
    assert money(license) == (800, 0)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " WHERE kind = 'charge'"
    ) == [(2, "charge", -200, 800, str(hold.hold_id), "job 7")]


def test_a_generation_s_entry_carries_model_price_and_usage(new_license, process_hold, settle, sql):
    license = new_license()
    settle(license, process_hold(license, 300), 200)

    ((model, price, usage),) = sql("SELECT model, price, usage FROM obol.ledger_entries WHERE kind = 'charge'")
    assert (model, price["output"], usage) == ("a-model", 1_000_000, {"output": 200})


def test_the_hold_is_settled_from_then_on(new_license, process_hold, settle, state_of, sql):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 1)

    assert state_of(hold) == "settled"
    assert sql("SELECT ended_at >= opened_at FROM obol.holds") == [(True,)]


@pytest.mark.parametrize("amount", [0, 100])
def test_the_edges_of_the_hold(db, new_license, client_hold, sql, amount):
    license = new_license(credits=100)
    hold = client_hold(license, 100)

    assert holds.settle(db, license.key, hold.hold_id, amount=amount).balance == 100 - amount
    assert sql("SELECT amount FROM obol.ledger_entries WHERE kind = 'charge'") == [(-amount,)]


def test_other_holds_stay_as_they_are(new_license, client_hold, process_hold, settle, state_of, money):
    license = new_license(credits=1000)
    others = [client_hold(license, 100), process_hold(license, 200)]
    settle(license, process_hold(license, 300), 50)

    assert [state_of(hold) for hold in others] == ["held", "held"]
    assert money(license) == (950, 300)


# The same again


@pytest.mark.parametrize("amount", [0, 7])
def test_the_same_again_gives_the_same(db, new_license, client_hold, deduct, amount):
    license = new_license()
    hold = client_hold(license, 10)
    first = holds.settle(db, license.key, hold.hold_id, amount=amount)
    deduct(license, 1)

    assert holds.settle(db, license.key, hold.hold_id, amount=amount) == first


def test_the_same_again_keeps_the_answer_that_was_stored(new_license, process_hold, settle):
    license = new_license()
    hold = process_hold(license, key="k")
    first = settle(license, hold, 7, answer=b"first")

    assert settle(license, hold, 7, answer=b"second") == first
    assert bytes(process_hold(license, key="k").answer) == b"first"


def test_another_amount_is_refused(db, new_license, client_hold, refused):
    license = new_license()
    hold = client_hold(license, 10)
    holds.settle(db, license.key, hold.hold_id, amount=7)

    with refused("hold_not_open"):
        holds.settle(db, license.key, hold.hold_id, amount=8)


def test_the_same_again_after_a_refund_gives_the_same(db, owner, new_license, client_hold):
    license = new_license()
    hold = client_hold(license, 10)
    first = holds.settle(db, license.key, hold.hold_id, amount=7)
    operator.refund(owner, license.id, hold.hold_id, reason="sorry")

    assert holds.settle(db, license.key, hold.hold_id, amount=7) == first


# The answer


def test_the_answer_is_stored_for_its_time_to_live(new_license, process_hold, settle, sql):
    license = new_license()
    settle(license, process_hold(license, key="k"), 1, answer=b"sealed", answer_ttl_s=60)

    assert sql(
        "SELECT answer = 'sealed', answer_expires_at - clock_timestamp() BETWEEN interval '50 s' AND interval '60 s'"
        " FROM obol.idempotency_keys"
    ) == [(True, True)]


def test_without_a_key_no_answer_is_stored(new_license, process_hold, settle, sql):
    license = new_license()
    settle(license, process_hold(license), 1, answer=b"sealed")

    assert sql("SELECT count(*) FROM obol.idempotency_keys") == [(0,)]


def test_a_client_s_settle_leaves_its_key_as_it_was(db, new_license, client_hold, sql):
    license = new_license()
    hold = client_hold(license, key="k")
    holds.settle(db, license.key, hold.hold_id, amount=1, answer=b"not a client's to store")

    assert sql("SELECT in_force, answer FROM obol.idempotency_keys") == [(True, None)]
