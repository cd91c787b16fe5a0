"""The price book."""

from sqlalchemy import text

from ..db import Database
from ..pricing import PriceRow

_BOOK = text("SELECT model_pattern, effective_from, price FROM obol.price_book")


def book(db: Database) -> list[PriceRow]:
    """Every row of the price book, in no order."""
    return [PriceRow(row.model_pattern, row.effective_from, row.price) for row in db.rows(_BOOK)]
