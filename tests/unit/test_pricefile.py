"""Files of prices: what they may say, exact figures, and errors that name the entry and the field."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gateway.price_book import find_price
from service.pricefile import MAX_FIGURE, NewPrice, read
from service.pricing import CLASSES
from service.repository.prices import PriceRow
from service.tomlfile import TomlFileError

EXAMPLE = (Path(__file__).resolve().parent.parent.parent / "docs" / "prices.example.toml").read_text()
DOLLARS = "credits_per_usd = 1_000_000\n"


def figures(value):
    return "".join(f"{name} = {value}\n" for name in CLASSES)


def entry(model='"m"', value=5, more=""):
    return f"[[price]]\nmodel = {model}\n{figures(value)}{more}"


def tier(above, value):
    return f"[[price.tier]]\nabove_input_tokens = {above}\n{figures(value)}"


def flat(credits):
    return dict.fromkeys(CLASSES, credits)


def test_figures_are_credits():
    assert read(entry()) == [NewPrice("m", None, flat(5))]


def test_each_class_has_its_own_figure():
    text = "[[price]]\nmodel = 'm'\n" + "".join(f"{name} = {at}\n" for at, name in enumerate(CLASSES))

    assert read(text) == [NewPrice("m", None, {name: at for at, name in enumerate(CLASSES)})]


def test_several_models_and_tiers():
    text = entry('"a*"', 5, tier("100_000", 5) + tier("200_000", 7)) + entry('["b", "c"]', 0)

    assert read(text) == [
        NewPrice(
            "a*",
            None,
            flat(5) | {"tiers": [{"above_input_tokens": 100_000} | flat(5), {"above_input_tokens": 200_000} | flat(7)]},
        ),
        NewPrice("b", None, flat(0)),
        NewPrice("c", None, flat(0)),
    ]


def test_what_is_not_sold():
    assert read('not_sold = ["*", "old"]') == [NewPrice("*", None, None), NewPrice("old", None, None)]


@pytest.mark.parametrize(
    ("head", "usd", "credits"),
    [
        (DOLLARS, "0.10", 100_000),
        (DOLLARS + "margin_percent = 20\n", "0.10", 120_000),
        (DOLLARS + "margin_percent = 20\n", "4", 4_800_000),
        (DOLLARS + "margin_percent = 0\n", "0", 0),
        # In binary floating point 0.1 x 3 x 10 would be 3.0000000000000004, and 4 when rounded up.
        ("credits_per_usd = 10\nmargin_percent = 200\n", "0.1", 3),
        # Rounded up, once: 0.01 x 7 x 1.005 = 0.07035; in two steps 1 x 1.005 would be 2.
        ("credits_per_usd = 7\nmargin_percent = 0.5\n", "0.01", 1),
        ("credits_per_usd = 0.5\n", "3", 2),
        (DOLLARS, "1_000_000", 10**12),
        (DOLLARS, "0.000000000001", 1),
    ],
)
def test_figures_in_dollars(head, usd, credits):
    assert read(head + entry(value=usd)) == [NewPrice("m", None, flat(credits))]


@settings(database=None)
@given(
    usd=st.decimals(0, 1000, places=6),
    rate=st.integers(1, 10**6),
    margin=st.decimals(0, 500, places=3),
)
def test_dollars_are_never_rounded_down_and_never_by_a_whole_credit(usd, rate, margin):
    text = f"credits_per_usd = {rate}\nmargin_percent = {margin:f}\n" + entry(value=f"{usd:f}")

    ((_, _, price),) = read(text)
    assert price == flat(ceil(Fraction(Decimal(usd)) * rate * (100 + Fraction(margin)) / 100))


@pytest.mark.parametrize(
    ("given", "effective_from"),
    [
        ("2026-12-01T00:00:00Z", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01T02:00:00+02:00", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01T00:00:00", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01", datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc(given, effective_from):
    (row,) = read(f"effective_from = {given}\n" + entry())

    assert row.effective_from == effective_from
    assert row.effective_from.utcoffset() == timedelta(0)


def test_where_the_figures_come_from_is_for_people():
    assert read('as_of = 2026-11-22\nsource = "https://example.com"\n' + entry()) == read(entry())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model", "It is not TOML: "),
        (entry(value="1" * 5000), "It is not TOML: "),
        ("", "the file: it has no price"),
        ("as_of = 2026-11-22", "the file: it has no price"),
        # keys
        ("margin = 20\n" + entry(), "the file: 'margin' is not known there; these are: as_of, source, credits_per_usd"),
        (entry(more="cache_write = 5"), "the price of m: 'cache_write' is not known there; these are: model, input,"),
        (entry(more=tier(1, 5) + "model = 'm'"), "the price of m, tier 1: 'model' is not known there"),
        ("[[price]]\n" + figures(5), "price 1: model is missing"),
        (entry() + "[[price]]\nmodel = 'n'\n", "the price of n: input is missing; no figure is derived from another"),
        (entry().replace("cache_read = 5\n", ""), "the price of m: cache_read is missing"),
        (entry(more="[[price.tier]]\n" + figures(5)), "the price of m, tier 1: above_input_tokens is missing"),
        (entry(more=tier(1, 5).replace("output = 5\n", "")), "the price of m, tier 1: output is missing"),
        # models
        (entry("7"), "price 1: model 7: it must be text of 1 to 200 printable characters"),
        (entry('""'), "price 1: model '': it must be text"),
        (entry('"m\\n"'), "price 1: model 'm\\n': it must be text"),
        (entry(f'"{"m" * 201}"'), "it must be text of 1 to 200 printable characters"),
        (entry('"m*n"'), "price 1: model 'm*n': a * may only stand at the end"),
        (entry('"m**"'), "price 1: model 'm**': a * may only stand at the end"),
        (entry('["m", 7]'), "price 1: model 7: "),
        (entry("[]"), "price 1: model names nothing"),
        ('not_sold = "*"\n' + entry(), 'the file: not_sold must be a list, such as ["*"]'),
        ('not_sold = ["a*b"]\n' + entry(), "the file: not_sold 'a*b': a * may only"),
        (entry() + entry(), "the file: m stands there twice"),
        (entry('["m", "m"]'), "the file: m stands there twice"),
        ('not_sold = ["m"]\n' + entry(), "the file: m stands there twice"),
        # tables
        ("price = 5", "the file: price must be tables; write [[price]] above each"),
        ("price = [5]", "the file: price must be tables"),
        ("[price]\nmodel = 'm'", "the file: price must be tables"),
        (entry(more="tier = 5"), "the price of m: tier must be tables; write [[price.tier]] above each"),
        # figures in credits
        (entry(value="-1"), f"the price of m: input must be a whole number from 0 to {MAX_FIGURE}, without quotes."),
        (entry(value="1.5"), "without quotes; for US dollars set credits_per_usd."),
        (entry(value="1.0"), "the price of m: input must be a whole number"),
        (entry(value='"5"'), "the price of m: input must be a whole number"),
        (entry(value="true"), "the price of m: input must be a whole number"),
        (entry(value="inf"), "the price of m: input must be a whole number"),
        (entry(value=MAX_FIGURE + 1), "the price of m: input must be a whole number from 0 to 1000000000000"),
        # figures in dollars
        (DOLLARS + entry(value="-0.1"), "the price of m: input must be a number from 0 to 1000000000000"),
        (DOLLARS + entry(value='"5"'), "the price of m: input must be a number"),
        (DOLLARS + entry(value="true"), "the price of m: input must be a number"),
        (DOLLARS + entry(value="nan"), "the price of m: input must be a number"),
        (DOLLARS + entry(value="inf"), "the price of m: input must be a number"),
        (DOLLARS + entry(value="1e999999999"), "the price of m: input must be a number"),
        (DOLLARS + entry(value="1e-999999999"), "the price of m: input may have 12 decimals at most"),
        (DOLLARS + entry(value="1_000_001"), "the price of m: input makes 1000001000000 credits per million tokens"),
        ("margin_percent = 20\n" + entry(), "the file: margin_percent needs credits_per_usd"),
        (DOLLARS + "margin_percent = -1\n" + entry(), "the file: margin_percent must be a number from 0"),
        ("credits_per_usd = 0\n" + entry(), "the file: credits_per_usd must be more than 0"),
        ("credits_per_usd = '1'\n" + entry(), "the file: credits_per_usd must be a number"),
        # tiers
        (entry(more=tier(0, 5)), "the price of m, tier 1: above_input_tokens must be a whole number from 1"),
        (entry(more=tier("1.0", 5)), "the price of m, tier 1: above_input_tokens must be a whole number from 1"),
        (entry(more=tier(2, 5) + tier(2, 6)), "the price of m, tier 2: above_input_tokens must be more than"),
        (entry(more=tier(2, 5) + tier(1, 6)), "the price of m, tier 2: above_input_tokens must be more than"),
        (entry(more=tier(2, 4)), "the price of m, tier 1: input is 4 credits and 5 below the tier"),
        (
            entry(more=tier(2, 7) + tier(3, 7).replace("cache_read = 7", "cache_read = 6")),
            "the price of m, tier 2: cache_read is 6 credits and 7 below the tier",
        ),
        # time
        ("effective_from = 'now'\n" + entry(), "the file: effective_from must be a time without quotes"),
        ("effective_from = 12:00:00\n" + entry(), "the file: effective_from must be a time"),
        ("effective_from = 9999-12-31T23:59:59-14:00\n" + entry(), "the file: effective_from is out of range"),
    ],
)
def test_an_error_names_the_entry_and_the_field(text, said):
    with pytest.raises(TomlFileError, match=re.escape(said)):
        read(text)


# the file that is shipped


@pytest.fixture(scope="module")
def example():
    rows = [
        PriceRow(row.pattern, row.effective_from or datetime(2026, 11, 22, tzinfo=UTC), row.price, datetime.now(UTC))
        for row in read(EXAMPLE)
    ]
    return lambda model: find_price(rows, model, datetime(2026, 12, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        # input, cache writes of 5 minutes and an hour, cache read, output; before the margin
        ("claude-opus-5-5", "4 5 8 0.20 20"),
        ("claude-sonnet-5-5", "2 2.50 4 0.10 10"),
        ("claude-haiku-5-5", "0.10 0.125 0.20 0.01 0.50"),
        ("claude-fable-5-1", "10 12.50 20 0.25 50"),
        ("claude-mythos-5-1", "10 12.50 20 0.25 50"),
        ("claude-fable-5", "10 12.50 20 1 50"),
        ("claude-mythos-5", "10 12.50 20 1 50"),
        ("claude-opus-5", "5 6.25 10 0.50 25"),
        ("claude-opus-4-8", "5 6.25 10 0.50 25"),
        ("claude-opus-4-7", "5 6.25 10 0.50 25"),
        ("claude-opus-4-6", "5 6.25 10 0.50 25"),
        ("claude-opus-4-5", "5 6.25 10 0.50 25"),
        ("claude-sonnet-5", "2 2.50 4 0.20 10"),
        ("claude-sonnet-4-6", "3 3.75 6 0.30 15"),
        ("claude-sonnet-4-5", "3 3.75 6 0.30 15"),
        ("claude-haiku-4-5", "1 1.25 2 0.10 5"),
    ],
)
def test_the_example_prices_the_models_and_their_dated_names(example, model, usd):
    classes = ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output")
    credits = {name: int(Decimal(one) * 1_200_000) for name, one in zip(classes, usd.split(), strict=True)}

    for name in (model, f"{model}-20251001"):
        assert {key: value for key, value in example(name).items() if key != "tiers"} == credits


def test_the_example_has_the_long_prompts_of_haiku(example):
    (tier,) = example("claude-haiku-5-5")["tiers"]

    assert tier == {
        "above_input_tokens": 100_000,
        "input": 600_000,
        "output": 3_000_000,
        "cache_write_5m": 750_000,
        "cache_write_1h": 1_200_000,
        "cache_read": 60_000,
    }


@pytest.mark.parametrize(
    "model",
    ["claude-fable-5-2", "claude-opus-5-6", "claude-opus-6", "claude-haiku-5-5x", "claude-fable-5-1-2", "gpt-1", ""],
)
def test_the_example_refuses_what_it_does_not_name(example, model):
    assert example(model) is None
