"""A duration or a past time, and what is told of anything else."""

from datetime import UTC, datetime, timedelta

import pytest

from service import since


@pytest.mark.parametrize(
    ("said", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_how_long_ago(said, span):
    before = datetime.now(UTC)
    moment = since.parse(said)
    assert before <= moment + span <= datetime.now(UTC)


@pytest.mark.parametrize(
    "said", ["2026-01-31", "2026-01-31T00:00:00", "2026-01-31T00:00:00Z", "2026-01-31T02:00:00+02:00"]
)
def test_a_time_without_a_zone_is_utc(said):
    assert since.parse(said) == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "said", ["", "5", "m", "5x", "-5m", "1.5h", "5 m", "1234567890s", "999999999d", "0001-01-01T00:00:00+10:00", "now"]
)
def test_anything_else_is_told_what_it_must_be(said):
    with pytest.raises(ValueError, match=r"^must be a duration such as 90s, 5m, 2h or 1d, or a past time such as"):
        since.parse(said)


def test_a_time_to_come_is_refused():
    with pytest.raises(ValueError, match=r"this one is to come$"):
        since.parse("2999-01-01T00:00:00Z")
