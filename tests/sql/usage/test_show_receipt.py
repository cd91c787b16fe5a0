"""obol.show_receipt: what a charge drew on is told as well before it is allotted as after."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.problems import Problem
from service.repository import usage
from service.repository.usage import Reader

ALLOT = "SELECT obol.bring_up_to_date(%s, true)"


@pytest.fixture
def receipt(db):
    """`receipt(license, cause_id)`: as its client reads it."""

    def read(license, cause_id):
        return usage.receipt(db, Reader.with_key(license.key), cause_id)

    return read


def drawn(found):
    return [(draw["grant_id"], draw["amount"]) for draw in found.draws]


STEPS = st.one_of(
    st.tuples(st.just("grant"), st.integers(1, 40), st.sampled_from([10, 50, 90])),
    st.tuples(st.just("deduct"), st.integers(1, 30), st.none()),
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=4, max_size=10))
def test_what_an_entry_drew_on_is_the_same_before_and_after_it_is_allotted(
    sql, new_license, grant, deduct, receipt, steps
):
    license, left, causes = new_license(credits=20), 20, {}
    for what, amount, priority in steps:
        if what == "grant":
            grant(license, amount, priority=priority)
            left += amount
        elif amount <= left:
            left -= amount
            cause = deduct(license, amount).deduction_id
            causes[cause] = drawn(receipt(license, cause))
            assert sum(taken for _, taken in causes[cause]) == amount
        # Whatever comes after it changes nothing of it.
        assert {cause: drawn(receipt(license, cause)) for cause in causes} == causes
    sql(ALLOT, (str(license.id),))
    assert {cause: drawn(receipt(license, cause)) for cause in causes} == causes


def test_it_has_what_came_back_in_all_its_parts(new_license, deduct, refund, receipt):
    license = new_license()
    cause = deduct(license, 100, reference="job 7").deduction_id
    parts = [refund(license, cause, amount) for amount in (30, 20)]

    found = receipt(license, cause)
    assert (found.kind, found.entry_no, found.charged, found.reference) == ("deduction", 2, 100, "job 7")
    assert (found.refunded, found.balance_after, found.shortfall) == (50, 900, 0)
    assert [(part["entry_no"], part["amount"], part["reference"]) for part in found.refunds] == [
        (3, 30, "sorry"), (4, 20, "sorry"),
    ]  # fmt: skip
    assert [part["refund_id"] for part in found.refunds] == [str(part.refund_id) for part in parts]
    assert drawn(found) == [(str(license.id), 100)]


def test_a_charge_has_its_hold(new_license, process_hold, settle, receipt):
    license = new_license()
    hold = process_hold(license, 60)
    settle(license, hold, 50)

    found = receipt(license, hold.hold_id)
    assert (found.kind, found.charged, found.hold_amount, found.model) == ("charge", 50, 60, "a-model")
    assert found.key_id == license.key_id
    assert (found.usage, found.price["output"]) == ({"output": 50}, 1_000_000)
    assert found.opened_at < found.created_at
    assert found.delivered_at is None


def test_what_is_short_of_a_charge_is_told(new_license, process_hold, settle, receipt):
    license = new_license(credits=60)
    hold = process_hold(license, 60)
    settle(license, hold, 75)
    found = receipt(license, hold.hold_id)
    assert (found.charged, found.shortfall, drawn(found)) == (60, 15, [(str(license.id), 60)])


def test_of_what_was_taken_before_grants_had_lifetimes_nobody_knows(sql, new_license, deduct, receipt):
    license = new_license()
    cause = deduct(license, 10).deduction_id
    # As the migration leaves it: only the sum is known.
    sql(ALLOT, (str(license.id),))
    sql("UPDATE obol.allotments SET first_entry_no = 0")

    assert receipt(license, cause).draws is None


def test_a_hold_without_a_charge_and_another_s_has_no_receipt(new_license, client_hold, deduct, receipt):
    license, other = new_license(), new_license()
    for cause in (client_hold(license).hold_id, deduct(other, 5).deduction_id, license.id, uuid4()):
        with pytest.raises(Problem) as refused:
            receipt(license, cause)
        assert refused.value.code == "hold_not_found"
