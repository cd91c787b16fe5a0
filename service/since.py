"""Since when: a time, or how long ago it was."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

FORMS = "a duration such as 90s, 5m, 2h or 1d, or a past time such as 2027-01-31T00:00:00Z"


def parse(value: str) -> datetime:
    """The time (UTC) that `value` names: a duration is how long ago, a time without a zone is UTC.

    Raises:
        ValueError: it is neither, or the time is to come; the message says what it must be.
    """
    now = datetime.now(UTC)
    duration = re.fullmatch("([0-9]{1,9})([smhd])", value)
    try:
        if duration is not None:
            return now - timedelta(**{_UNITS[duration[2]]: int(duration[1])})
        moment = datetime.fromisoformat(value)
        moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"must be {FORMS}") from None
    if moment > now:
        raise ValueError(f"must be {FORMS}; this one is to come")
    return moment
