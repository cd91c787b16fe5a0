"""obol.set_prices: all or none, nothing twice, and never the past."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from service.pricing import CLASSES
from service.problems import Problem
from service.repository import prices

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
LATER = SOON + timedelta(days=1)


def flat(credits):
    return dict.fromkeys(CLASSES, credits)


def tier(above, credits):
    return {"above_input_tokens": above} | flat(credits)


ONE, TWO = flat(1), flat(2)
TIERED = flat(1) | {"tiers": [tier(100, 1), tier(200, 5)]}


@pytest.fixture
def setting(owner):
    """`setting((pattern, effective_from, price), …)`: what it changed, as (pattern, before, after)."""

    def call(*rows, dry_run=False):
        changed = prices.set_prices(owner, rows, dry_run=dry_run)
        return [(row.model_pattern, row.before, row.after) for row in changed]

    return call


@pytest.fixture
def book(db):
    """`book()`: (pattern, price) of every row but the shipped one, by pattern and time; as the service sees it."""

    def read():
        rows = sorted(prices.book(db), key=lambda row: (row.pattern, row.effective_from))
        return [(row.pattern, row.price) for row in rows if row.pattern != "*"]

    return read


@pytest.fixture
def refused(book, setting):
    """`refused((pattern, effective_from, price), …)`: what the refusal says; nothing was written."""

    def call(*rows, **options):
        before = book()
        with pytest.raises(Problem) as caught:
            setting(*rows, **options)
        assert caught.value.code == "amount_invalid"
        assert book() == before
        return caught.value.detail

    return call


@pytest.mark.parametrize("price", [ONE, TIERED, None])
def test_a_price_is_in_force_from_now_on(owner, setting, book, price):
    (changed,) = prices.set_prices(owner, [("m", None, price)])

    assert (changed.model_pattern, changed.before, changed.after) == ("m", None, price)
    assert abs(datetime.now(UTC) - changed.effective_from) < timedelta(seconds=10)
    assert book() == [("m", price)]
    assert setting(("m", None, price)) == []


def test_a_price_is_announced(owner, setting):
    setting(("m", SOON, TIERED))

    (row,) = (row for row in prices.book(owner) if row.pattern == "m")
    assert row[:3] == ("m", SOON, TIERED)


def test_the_shipped_row_can_be_ended(setting):
    assert setting(("*", None, None)) == [("*", flat(1_000_000), None)]


def test_the_same_again_adds_nothing(setting, book):
    rows = [("m", SOON, TIERED), ("n", None, ONE), ("o", None, None)]
    assert len(setting(*rows)) == 3
    before = book()

    assert setting(*rows) == []
    assert book() == before


def test_an_end_of_what_had_no_price_of_its_own_is_a_row(setting, book):
    assert setting(("m", None, None)) == [("m", None, None)]
    assert book() == [("m", None)]


def test_the_same_as_in_force_then_adds_nothing(setting):
    setting(("m", None, ONE))
    setting(("m", LATER, TWO))

    assert setting(("m", SOON, ONE)) == []
    assert setting(("m", LATER + timedelta(days=1), TWO)) == []
    # Another pattern that says the same is another row.
    assert setting(("m*", None, ONE)) == [("m*", None, ONE)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ONE, TWO),
        (ONE, TIERED),
        (TIERED, ONE),
        (TIERED, flat(1) | {"tiers": [tier(100, 1), tier(201, 5)]}),
        (TIERED, flat(1) | {"tiers": [tier(100, 1)]}),
        (TIERED, None),
        (None, TIERED),
    ],
)
def test_what_changes_a_little_is_a_change(setting, book, first, second):
    setting(("m", None, first))

    assert setting(("m", None, second)) == [("m", first, second)]
    assert book() == [("m", first), ("m", second)]


@pytest.mark.parametrize(("first", "second"), [(ONE, TWO), (TIERED, ONE), (ONE, TIERED), (TIERED, None), (None, ONE)])
def test_what_is_to_come_is_replaced(setting, book, first, second):
    setting(("m", SOON, first))

    assert setting(("m", SOON, second)) == [("m", first, second)]
    assert book() == [("m", second)]


def test_what_was_announced_can_be_taken_back(setting, book):
    setting(("m", None, ONE))
    setting(("m", SOON, TWO))

    setting(("m", SOON, ONE))
    assert book() == [("m", ONE), ("m", ONE)]


def test_the_past_is_not_rewritten(refused, sql, setting):
    setting(("m", None, ONE))
    just_now = datetime.now(UTC) - timedelta(seconds=10)

    said = refused(("n", None, ONE), ("m", just_now, TWO))
    assert "The price of m cannot begin at " in said
    assert "Leave the time out for now" in said
    refused(("m", just_now, TWO), dry_run=True)
    refused(("m", just_now, None))


def test_a_file_whose_time_has_come_adds_nothing(setting, sql, book):
    setting(("m", SOON, TIERED))
    for table in ("prices", "price_tiers"):
        # Without triggers, so that both ends of the foreign key can be moved.
        sql(
            f"SET session_replication_role = replica; UPDATE obol.{table}"
            " SET effective_from = effective_from - interval '3 days' WHERE model_pattern = 'm'"
        )

    assert setting(("m", SOON - timedelta(days=3), TIERED)) == []
    assert book() == [("m", TIERED)]


@pytest.mark.parametrize("name", CLASSES)
def test_a_tier_is_not_cheaper_in_any_class(refused, name):
    for tiers in ([tier(100, 5) | {name: 4}], [tier(100, 6), tier(200, 6) | {name: 5}]):
        said = refused(("n", None, ONE), ("m", SOON, flat(5) | {"tiers": tiers}))
        assert "A tier of m is cheaper than the one below" in said


def test_a_dry_run_says_the_same_and_writes_nothing(setting, book):
    setting(("m", None, ONE))
    rows = [("m", None, TIERED), ("n", SOON, ONE), ("o", None, None)]

    would = setting(*rows, dry_run=True)
    assert book() == [("m", ONE)]
    assert would == setting(*rows) == [("m", ONE, TIERED), ("n", None, ONE), ("o", None, None)]


@pytest.mark.parametrize(
    "price",
    [
        flat(1) | {"tiers": []},
        flat(1) | {"tiers": [tier(200, 5), tier(100, 5)]},
        flat(1) | {"outputs": 1},
        {},
    ],
)
def test_what_has_another_form_than_the_price_book_is_refused(refused, price):
    assert "is not of the form of the price book" in refused(("m", None, price))


@pytest.mark.parametrize(
    ("pattern", "price"),
    [
        ("", ONE),
        ("m" * 201, ONE),
        ("*m", ONE),
        ("m**", ONE),
        ("m*n*", None),
        ("m", flat(-1)),
        ("m", flat(10**12 + 1)),
        ("m", flat(1) | {"input": 1.5}),
        ("m", flat(1) | {"input": None}),
        ("m", {"input": 1}),
        ("m", flat(1) | {"tiers": [tier(0, 1)]}),
        ("m", flat(1) | {"tiers": [tier(100, 10**12 + 1)]}),
        ("m", flat(1) | {"tiers": [tier(100, 1), tier(100, 1)]}),
        ("m", flat(1) | {"tiers": [{"above_input_tokens": 100} | flat(1) | {"output": None}]}),
    ],
)
def test_the_tables_take_nothing_that_is_no_price(setting, book, pattern, price):
    """What the service says clearly, the database enforces: nothing is written."""
    with pytest.raises(Problem):
        setting(("n", None, ONE), (pattern, None, price))
    assert book() == []


@pytest.mark.parametrize("pattern", ["m", "*", "m*", "m" * 199 + "*"])
@pytest.mark.parametrize("credits", [0, 10**12])
def test_the_limits_themselves_are_good(setting, pattern, credits):
    price = flat(credits) | {"tiers": [tier(1, credits), tier(10**12, credits)]}

    assert [(name, after) for name, _, after in setting((pattern, None, price))] == [(pattern, price)]


def test_two_at_once_write_once(owner, book):
    rows = [(f"m{number}", None, TIERED) for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        changed = list(pool.map(lambda _: len(prices.set_prices(owner, rows)), range(4)))

    assert sorted(changed) == [0, 0, 0, 20]
    assert len(book()) == 20


def test_nothing_at_all_changes_nothing(setting):
    assert setting() == []


def test_the_service_s_login_may_not(urls):
    connection = psycopg2.connect(urls.service)
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("SELECT obol.set_prices(%s, false)", (json.dumps([]),))
    connection.close()


def test_a_price_takes_its_tiers_with_it(setting, sql):
    setting(("m", None, TIERED))

    sql("DELETE FROM obol.prices")
    assert sql("SELECT count(*) FROM obol.price_tiers") == [(0,)]
