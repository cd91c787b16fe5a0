"""What an operator does: once for each idempotency key, whatever face asks for it."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service import keys, operator
from service.problems import Problem
from service.repository import ledger, licenses
from service.repository.grants import Terms

FAR_OFF = datetime(2100, 1, 1, tzinfo=UTC)


def test_a_license_has_a_key_and_what_was_said(owner):
    made = operator.create_license(owner, credits=100, name="Ada", expires_at=FAR_OFF)

    key = keys.parse(made.license_key)
    assert key.license_id == made.license_id
    assert made.balance == 100
    shown = licenses.find(owner, key)
    assert (shown.license_id, shown.name, shown.expires_at, shown.balance) == (made.license_id, "Ada", FAR_OFF, 100)


def test_without_a_key_each_call_makes_another_license(owner):
    assert len({operator.create_license(owner, credits=1).license_id for _ in range(2)}) == 2


def test_the_same_idempotency_key_makes_one_license_and_shows_its_key_once(owner):
    first = operator.create_license(owner, credits=100, name="Ada", idempotency_key="k")
    again = operator.create_license(owner, credits=100, name="Ada", idempotency_key="k")

    assert again == (first.license_id, None, 100, first.key_id)
    # The key that was shown is the one that opens it.
    assert licenses.find(owner, keys.parse(first.license_key)).balance == 100
    assert len(licenses.overview(owner)) == 1


@pytest.mark.parametrize(
    "other", [{"credits": 101}, {"name": "Bob"}, {"expires_at": FAR_OFF}], ids=["credits", "name", "time"]
)
def test_another_license_under_the_same_idempotency_key_is_refused(owner, other):
    asked = {"credits": 100, "name": "Ada", "idempotency_key": "k"}
    operator.create_license(owner, **asked)

    with pytest.raises(Problem, match="idempotency_key_reused"):
        operator.create_license(owner, **asked | other)


def test_a_rotated_key_opens_the_license_and_the_older_ones_do_so_for_a_while(owner, new_license):
    license = new_license()
    before = datetime.now(UTC)
    rotated = operator.rotate_key(owner, license.id, overlap_s=3600)

    assert keys.parse(rotated.license_key).license_id == license.id
    assert before <= rotated.older_keys_end_at - timedelta(hours=1) <= datetime.now(UTC)
    for key in (license.key, keys.parse(rotated.license_key)):
        assert licenses.find(owner, key).license_id == license.id

    operator.rotate_key(owner, license.id, overlap_s=0)
    for key in (license.key, keys.parse(rotated.license_key)):
        with pytest.raises(Problem, match="license_invalid"):
            licenses.find(owner, key)


def test_a_grant_is_given_once_for_each_idempotency_key(owner, new_license):
    license = new_license(credits=10)

    first = operator.grant_credits(owner, license.id, 5, reference="invoice 7", idempotency_key="k")
    assert (first.amount, first.balance) == (5, 15)
    assert operator.grant_credits(owner, license.id, 5, reference="invoice 7", idempotency_key="k") == first
    for amount, reference in ((6, "invoice 7"), (5, "invoice 8"), (5, None)):
        with pytest.raises(Problem, match="idempotency_key_reused"):
            operator.grant_credits(owner, license.id, amount, reference=reference, idempotency_key="k")
    assert licenses.show(owner, license.id).balance == 15


def test_an_adjustment_is_made_once_for_each_idempotency_key(owner, new_license):
    license = new_license(credits=10)

    first = operator.adjust_credits(owner, license.id, -5, reason="a typing error", idempotency_key="k")
    assert (first.amount, first.balance) == (-5, 5)
    assert operator.adjust_credits(owner, license.id, -5, reason="a typing error", idempotency_key="k") == first
    for amount, reason in ((-4, "a typing error"), (-5, "another")):
        with pytest.raises(Problem, match="idempotency_key_reused"):
            operator.adjust_credits(owner, license.id, amount, reason=reason, idempotency_key="k")
    # A grant with the very same words is another act.
    with pytest.raises(Problem, match="idempotency_key_reused"):
        operator.grant_credits(owner, license.id, 5, reference="a typing error", idempotency_key="k")


def test_without_a_key_each_grant_is_another_one(owner, new_license):
    license = new_license(credits=10)

    assert [operator.grant_credits(owner, license.id, 5).balance for _ in range(2)] == [15, 20]
    assert ledger.verify(owner) == []


def test_a_license_that_is_not_there_gets_neither(owner):
    with pytest.raises(Problem, match="license_invalid"):
        operator.rotate_key(owner, uuid4(), overlap_s=0)
    with pytest.raises(Problem, match="license_invalid"):
        operator.grant_credits(owner, uuid4(), 5)


def test_an_overview_has_what_ended_by_itself(owner, new_license, sql):
    license = new_license(credits=10)
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    operator.grant_credits(owner, license.id, 7, terms=Terms(expires_at=ends_at))
    sql("UPDATE obol.grants SET starts_at = starts_at - interval '1 day', expires_at = now() WHERE amount = 7")
    sql("UPDATE obol.licenses SET next_change_at = now() - interval '1 second'")

    total = operator.overview(owner).total
    assert (total["granted"], total["expired"], total["outstanding"]) == (17, 7, 10)
