"""The price book as calls read it: through a copy that is a few seconds old at most."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

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
        self._rows: list[PriceRow] = []
        self._read_at = float("-inf")

    def find_price(self, model: str) -> Price | None:
        """The price that is in force for a model now; None: it is not sold.

        Raises:
            Problem: the book could not be read.
        """
        now, read_at = time.monotonic(), self._read_at
        if now >= read_at + TTL_S or not self._rows:
            # From here on the others go on with the old one, so that not all read it at once.
            self._read_at = now
            try:
                self._rows = prices.book(self._db)
            except Problem:
                self._read_at = read_at
                raise
        return find_price(self._rows, model, datetime.now(UTC))


def find_price(rows: Iterable[PriceRow], model: str, at: datetime) -> Price | None:
    """The price in force at a time: the longest pattern that fits, then the newest row."""

    def fits(pattern: str) -> bool:
        return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern

    fitting = [row for row in rows if row.effective_from <= at and fits(row.pattern)]
    if not fitting:
        return None
    # An exact name outranks every prefix that fits.
    return max(fitting, key=lambda row: (not row.pattern.endswith("*"), len(row.pattern), row.effective_from)).price
