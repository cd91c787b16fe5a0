"""Revision 0002 and back: what a price is does not change without a word."""

import pytest
from migrating import dump, run
from sqlalchemy.exc import DBAPIError

from alembic import command
from service import migrations
from service.db import Database
from service.pricing import CLASSES
from service.repository import prices

FLAT = dict.fromkeys(CLASSES, 5)
TIERED = FLAT | {"tiers": [{"above_input_tokens": 100} | FLAT]}


@pytest.fixture
def owner(empty_database):
    migrations.upgrade(empty_database.owner, "0002")
    database = Database(empty_database.owner, pool_size=1, wait_s=5)
    yield database
    database.close()


def downgrade(urls):
    command.downgrade(migrations.alembic_config(urls.owner), "0001")


@pytest.mark.parametrize(
    ("price", "remedy"),
    [(TIERED, "DELETE FROM obol.price_tiers"), (None, "DELETE FROM obol.prices WHERE input IS NULL")],
)
def test_a_book_that_0001_cannot_keep_stays(owner, empty_database, price, remedy):
    prices.set_prices(owner, [("m", None, price), ("n", None, FLAT)])
    before = dump(empty_database.owner)

    with pytest.raises(DBAPIError) as refused:
        downgrade(empty_database)
    assert "which revision 0001 cannot keep" in str(refused.value)
    assert remedy in str(refused.value)
    assert dump(empty_database.owner) == before

    run(empty_database.owner, remedy)
    downgrade(empty_database)
    kept = [("*",), ("m",), ("n",)] if price else [("*",), ("n",)]
    assert run(empty_database.owner, "SELECT model_pattern FROM obol.price_book ORDER BY 1") == kept


def test_prices_go_up_and_down_unchanged(empty_database):
    migrations.upgrade(empty_database.owner, "0001")
    # By hand, as it was done: a pattern that set_prices would refuse stays as it is.
    run(empty_database.owner, "INSERT INTO obol.prices VALUES ('a*b', '2026-02-01Z', 1, 2, 3, 4, 5)")
    book = "SELECT * FROM obol.price_book ORDER BY 1, 2"
    before, schema = run(empty_database.owner, book), dump(empty_database.owner)

    migrations.upgrade(empty_database.owner, "0002")
    assert run(empty_database.owner, book) == before

    downgrade(empty_database)
    assert run(empty_database.owner, book) == before
    assert dump(empty_database.owner) == schema
