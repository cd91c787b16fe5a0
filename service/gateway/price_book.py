"""The price book as calls read it: through a copy that is a few seconds old at most."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from ..clock import elapsed
from ..db import Database
from ..pricing import Price
from ..problems import Problem
from ..repository import prices
from ..repository.prices import PriceRow

# The book is read this often at most; a price that is set takes effect within it.
TTL_S = 5


class PriceBook:
    """The price book of one database, safe under threads."""

    def __init__(self, database: Database) -> None:
        self._db = database
        # Rows, and when they were read by our clock: one thing, which another thread may replace at any time.
        self._copy: tuple[list[PriceRow], float] = ([], 0)
        self._asked_at = float("-inf")

    def find_price(self, model: str) -> Price | None:
        """The price that is in force for a model now; None: it is not sold.

        Raises:
            Problem: the book could not be read.
        """
        row = self.find_row(model)
        return None if row is None else row.price

    def find_row(self, model: str) -> PriceRow | None:
        """As `find_price`, with the pattern that it is under; its price may be None, too."""
        now, asked_at = elapsed(), self._asked_at
        if now >= asked_at + TTL_S or not self._copy[0]:
            # From here on the others go on with the old one, so that not all read it at once.
            self._asked_at = now
            try:
                self._copy = (prices.book(self._db), now)
            except Problem:
                self._asked_at = asked_at
                raise
        rows, read_at = self._copy
        # The database's time, and not that of this machine: with a clock that is hours off, hours of prices
        # would be wrong.
        return find_row(rows, model, rows[0].read_at + timedelta(seconds=now - read_at)) if rows else None


def find_price(rows: Iterable[PriceRow], model: str, at: datetime) -> Price | None:
    """The price in force at a time; None: the model is not sold."""
    row = find_row(rows, model, at)
    return None if row is None else row.price


def find_row(rows: Iterable[PriceRow], model: str, at: datetime) -> PriceRow | None:
    """The row in force at a time: the longest pattern that fits, then the newest."""

    def fits(pattern: str) -> bool:
        return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern

    fitting = [row for row in rows if row.effective_from <= at and fits(row.pattern)]
    if not fitting:
        return None
    # An exact name outranks every prefix that fits.
    return max(fitting, key=lambda row: (not row.pattern.endswith("*"), len(row.pattern), row.effective_from))
