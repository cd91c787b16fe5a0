"""obol.charge_for: the same arithmetic as service.pricing.charge, by worked examples and by search."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from service.pricing import CLASSES, charge

MILLION = 1_000_000
CHARGE = text("SELECT obol.charge_for(CAST(:price AS jsonb), CAST(:usage AS jsonb))")


def charge_for(owner, price, usage):
    (credits,) = owner.row(CHARGE, price=json.dumps(price), usage=json.dumps(usage))
    return credits


def price(**classes):
    return dict.fromkeys(CLASSES, 0) | classes


@pytest.mark.parametrize(
    ("price", "usage", "credits"),
    [
        # One credit a token.
        (dict.fromkeys(CLASSES, MILLION), {"input": 12, "output": 30}, 42),
        # A fraction is rounded up, and never twice: 0.5 + 0.5 is 1.
        (price(input=1), {"input": 1}, 1),
        (price(input=500_000, output=500_000), {"input": 1, "output": 1}, 1),
        (price(input=500_000, output=500_001), {"input": 1, "output": 1}, 2),
        # 3 and 15 credits a thousand tokens: 2.4 + 7.5 = 9.9.
        (price(input=3_000, output=15_000), {"input": 800, "output": 500}, 10),
        # Each class at its own price: 10 x 1 + 20 x 5 + 30 x 1.25 + 40 x 2 + 50 x 0.1 = 232.5.
        (
            dict(zip(CLASSES, (MILLION, 5 * MILLION, 1_250_000, 2 * MILLION, 100_000), strict=True)),
            dict(zip(CLASSES, (10, 20, 30, 40, 50), strict=True)),
            233,
        ),
        (price(), {"input": 10**6}, 0),
        (dict.fromkeys(CLASSES, MILLION), {}, 0),
        # However large, nothing is lost: 18878313116316687.336585.
        (price(cache_read=54_631_255_821_651), {"cache_read": 345_558_835}, 18_878_313_116_316_688),
        # What is no class of token is not charged for.
        (dict.fromkeys(CLASSES, MILLION), {"output": 1, "requests": 7}, 1),
    ],
)
def test_worked_examples(owner, price, usage, credits):
    assert charge_for(owner, price, usage) == credits
    assert charge(price, usage) == credits


amounts = st.integers(0, 10**4) | st.integers(0, 10**15)
prices = st.fixed_dictionaries(dict.fromkeys(CLASSES, amounts))
usages = st.dictionaries(st.sampled_from(CLASSES), amounts)


@given(cases=st.lists(st.tuples(prices, usages), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_and_python_agree(owner, cases):
    statement = text(
        "SELECT obol.charge_for(c -> 0, c -> 1)::text FROM jsonb_array_elements(CAST(:cases AS jsonb))"
        " WITH ORDINALITY AS t (c, n) ORDER BY n"
    )

    rows = owner.rows(statement, cases=json.dumps(cases))

    assert [int(row[0]) for row in rows] == [charge(price, usage) for price, usage in cases]
