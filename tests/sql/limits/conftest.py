"""Keys with limits, and what has been used of them."""

from uuid import UUID, uuid4

import pytest
from factories import License

from service import keys
from service.repository import limits


@pytest.fixture
def new_key(owner):
    """`new_key(license, requests_per_minute=60)`: another key of a license, with limits, as a license of its own
    to call with; `key_id` is the id of the key."""

    def make(license, *, name="", expires_at=None, **limited):
        new = keys.make(license.id)
        made = limits.create_key(owner, new.digest, uuid4(), name=name, expires_at=expires_at, limits=limited or None)
        again = License(license.id, new.license_key, new.digest)
        object.__setattr__(again, "key_id", made.key_id)
        return again

    return make


@pytest.fixture
def used(sql):
    """`used(key)`: the open holds, and the credits of the day and the month, of a key; None: nothing was counted."""

    def read(key):
        subject: UUID = getattr(key, "key_id", key.id)
        rows = sql(
            "SELECT open_holds, day_credits::bigint, month_credits::bigint FROM obol.limit_states"
            " WHERE subject_id = %s",
            (str(subject),),
        )
        return rows[0] if rows else None

    return read
