"""obol.deduct_several: it answers and books as deduct does for one item after the other."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.problems import Problem
from service.repository import ledger, licenses, limits, webhooks
from service.repository.ledger import Deduction, DeductionItem


@pytest.fixture
def license_of(owner, new_license):
    """`license_of(kind)`: a new license with 50 credits, of each kind that a deduction can meet."""

    def change(kind, license):
        if kind == "suspended":
            licenses.set_status(owner, license.id, "suspended")
        elif kind == "limited":
            licenses.set_license(owner, license.id, limits={"credits_per_day": 30})
        elif kind == "of a limited key":
            limits.set_key(owner, license.id, license.key_id, limits={"requests_per_minute": 2})
        elif kind == "alerting":
            webhooks.set_alerts(owner, license.id, alerts={"credits": [40, 20]})

    def make(kind):
        license = new_license(credits=50, expires_at=datetime(2020, 1, 1, tzinfo=UTC) if kind == "expired" else None)
        change(kind, license)
        return license

    return make


KINDS = ("plain", "suspended", "expired", "limited", "of a limited key", "alerting")
ITEMS = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1, 3, 20]), st.sampled_from(["a", "b", None]), st.sampled_from(["r", None])),
    min_size=1,
    max_size=14,
)


def items_of(drawn):
    return [DeductionItem(uuid4(), amount, key, f"{amount}".encode(), reference) for amount, key, reference in drawn]


def answer(result):
    if isinstance(result, Deduction):
        return "deducted", result.amount, result.balance
    return result.code, result.detail, {name: said for name, said in result.extra.items() if name != "retry_after_s"}


def entries(sql, license):
    return sql(
        "SELECT entry_no, kind, amount, balance_after, reference FROM obol.ledger_entries"
        " WHERE license_id = %s ORDER BY entry_no",
        (str(license.id),),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from(KINDS), drawn=ITEMS)
def test_several_are_one_after_the_other(db, sql, verified, license_of, kind, drawn):
    together, in_turn = license_of(kind), license_of(kind)

    def one(item):
        try:
            return ledger.deduct(db, in_turn.key, **item._asdict())
        except Problem as problem:
            return problem

    items = items_of(drawn)
    results = ledger.deduct_several(db, together.key, items)

    assert [answer(result) for result in results] == [answer(one(item)) for item in items_of(drawn)]
    assert entries(sql, together) == entries(sql, in_turn)
    verified()
    # And all of it again is what it was, but for what was refused.
    for before, after in zip(results, ledger.deduct_several(db, together.key, items), strict=True):
        assert after == before or isinstance(before, Problem)
    verified()


def test_another_s_key_takes_nothing(db, new_license, money):
    license, other = new_license(), new_license()
    (result,) = ledger.deduct_several(db, license.key._replace(digest=other.key.digest), items_of([(1, None, None)]))

    assert result.code == "license_invalid"
    assert (money(license), money(other)) == ((1000, 0), (1000, 0))
