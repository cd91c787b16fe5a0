"""Keys with limits, and what has been used of them."""

import pytest


@pytest.fixture
def used(sql):
    """`used(subject_id)`: the open holds, and the credits of the day and the month, of a key or a license; None:
    nothing was counted."""

    def read(subject_id):
        rows = sql(
            "SELECT open_holds, day_credits::bigint, month_credits::bigint FROM obol.limit_states"
            " WHERE subject_id = %s",
            (str(subject_id),),
        )
        return rows[0] if rows else None

    return read
