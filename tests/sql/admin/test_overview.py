"""The overview: days are those of UTC, whatever the zone of the session."""

from datetime import date

import pytest
from factories import run


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_a_day_is_one_of_utc(urls, sql, new_license, zone):
    new_license(credits=100)
    sql("UPDATE obol.ledger_entries SET created_at = '2026-01-02T00:00:00Z'")
    new_license(credits=7)
    sql("UPDATE obol.ledger_entries SET created_at = '2026-01-01T23:59:59Z' WHERE amount = 7")

    days = run(
        urls.owner,
        f"SET timezone = '{zone}'; "
        "SELECT day, granted, outstanding FROM obol.overview('2025-12-31', '2026-01-02', NULL, NULL)",
    )
    assert days == [(date(2025, 12, 31), 0, 0), (date(2026, 1, 1), 7, 7), (date(2026, 1, 2), 100, 107)]
