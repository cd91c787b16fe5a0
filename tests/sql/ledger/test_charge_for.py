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


def flat(credits):
    return dict.fromkeys(CLASSES, credits * MILLION)


# One credit a token; five, and seven, for every token of a call with a longer prompt.
LONG = flat(1) | {
    "tiers": [{"above_input_tokens": 100} | flat(5), {"above_input_tokens": 200} | flat(7)],
}
FALLS_BACK = flat(2) | {"models": {"small": flat(1), "long": LONG}}


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
        # The tier of the whole prompt, which the output is no part of, is for every token.
        (LONG, {"input": 100, "output": 500}, 600),
        (LONG, {"input": 101, "output": 1}, 510),
        (LONG, {"input": 25, "cache_write_5m": 25, "cache_write_1h": 25, "cache_read": 26, "output": 9}, 550),
        (LONG, {"cache_read": 200}, 1000),
        (LONG, {"cache_read": 201}, 1407),
        (LONG | {"tiers": LONG["tiers"][::-1]}, {"cache_read": 201}, 1407),
        (LONG | {"tiers": []}, {"cache_read": 201}, 201),
        # Each attempt at the price and in the tier of its own model; any other at the call's price.
        (FALLS_BACK, {"attempts": [{"model": "asked", "input": 3}, {"model": "small", "input": 3}]}, 9),
        (FALLS_BACK, {"attempts": [{"input": 3}]}, 6),
        (FALLS_BACK, {"attempts": [{"model": "long", "input": 99}, {"model": "long", "input": 101}]}, 604),
        (FALLS_BACK, {"model": "small", "input": 3}, 3),
        (FALLS_BACK, {"attempts": []}, 0),
        # Rounded up once for the call.
        (price(input=500_000), {"attempts": [{"input": 1}, {"input": 1}]}, 1),
    ],
)
def test_worked_examples(owner, price, usage, credits):
    assert charge_for(owner, price, usage) == credits
    assert charge(price, usage) == credits


def without(figures, name):
    return {key: value for key, value in figures.items() if key != name}


@pytest.mark.parametrize(
    ("price", "usage"),
    [
        # What is missing or no number in the price, even of a class that was not used.
        *[(without(flat(1), name), {"input": 1}) for name in CLASSES],
        (flat(1) | {"output": "1"}, {"input": 1}),
        (flat(1) | {"output": None}, {"input": 1}),
        ({}, {}),
        (None, {"input": 1}),
        ([], {"input": 1}),
        # In the tier that the prompt is in, or in where a tier begins.
        (flat(1) | {"tiers": [without(LONG["tiers"][0], "output")]}, {"input": 101}),
        (flat(1) | {"tiers": [flat(5)]}, {"input": 1}),
        (flat(1) | {"tiers": [flat(5) | {"above_input_tokens": None}]}, {"input": 1}),
        (flat(1) | {"tiers": [flat(5) | {"above_input_tokens": "100"}]}, {"input": 1}),
        (flat(1) | {"tiers": [None]}, {"input": 1}),
        (flat(1) | {"tiers": None}, {"input": 1}),
        (flat(1) | {"tiers": {}}, {"input": 1}),
        # In the price of the model that a call fell back to.
        (flat(1) | {"models": {"b": {}}}, {"attempts": [{"model": "b"}]}),
        (flat(1) | {"models": {"b": None}}, {"attempts": [{"model": "b"}]}),
        # In the usage.
        (flat(1), None),
        (flat(1), 7),
        (flat(1), "seven"),
        (flat(1), []),
        (flat(1), {"input": "7"}),
        (flat(1), {"input": None}),
        (flat(1), {"input": 1, "output": True}),
        (flat(1), {"attempts": None}),
        (flat(1), {"attempts": {}}),
        (flat(1), {"attempts": [None]}),
        (flat(1), {"attempts": [7]}),
        (flat(1), {"attempts": [[]]}),
        (flat(1), {"attempts": [{"input": 1}, {"input": "1"}]}),
        (LONG, {"input": [], "cache_read": 500}),
    ],
)
def test_what_cannot_be_told_is_null_and_never_zero(owner, price, usage):
    assert charge_for(owner, price, usage) is None


@pytest.mark.parametrize("arguments", ["NULL, '{}'", "'{}', NULL", "NULL, NULL"])
def test_null_is_null(sql, arguments):
    assert sql(f"SELECT obol.charge_for({arguments})") == [(None,)]


def test_a_figure_that_is_not_needed_may_be_missing(owner):
    """As in Python: the tier is all that counts, and the models that were not tried do not."""
    priced = {"tiers": [LONG["tiers"][0]], "models": {"b": {}}}

    assert charge_for(owner, priced, {"input": 101}) == charge(priced, {"input": 101}) == 505


amounts = st.integers(0, 10**4) | st.integers(0, 10**15)
figures = st.fixed_dictionaries(dict.fromkeys(CLASSES, amounts))
counts = st.dictionaries(st.sampled_from(CLASSES), amounts)
tiered = st.builds(
    lambda price, tiers: price | {"tiers": tiers},
    figures,
    st.lists(
        st.builds(lambda above, price: {"above_input_tokens": above} | price, st.integers(1, 20_000), figures),
        max_size=3,
        unique_by=lambda tier: tier["above_input_tokens"],
    ),
)
models = st.sampled_from(["a", "b", "", "claude-ü"])
prices = (
    figures
    | tiered
    | st.builds(
        lambda price, others: price | {"models": others}, tiered, st.dictionaries(models, figures | tiered, max_size=3)
    )
)
attempts = st.builds(lambda tokens, model: tokens | {"model": model}, counts, models)
usages = counts | attempts | st.fixed_dictionaries({"attempts": st.lists(counts | attempts, max_size=4)})


@given(cases=st.lists(st.tuples(prices, usages), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_and_python_agree(owner, cases):
    statement = text(
        "SELECT obol.charge_for(c -> 0, c -> 1)::text FROM jsonb_array_elements(CAST(:cases AS jsonb))"
        " WITH ORDINALITY AS t (c, n) ORDER BY n"
    )

    rows = owner.rows(statement, cases=json.dumps(cases))

    assert [int(row[0]) for row in rows] == [charge(price, usage) for price, usage in cases]
