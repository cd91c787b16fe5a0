"""The functions of 0.1.0 that others have taken the place of: for a release longer they do what they did."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service import keys
from service.keys import KeyDigest
from service.repository import licenses

MAKE = "SELECT * FROM obol.create_license(%s, %s, 'Ada', NULL, %s, '\\x01')"


def make(sql, license_id, digest, credits=5):
    return sql(MAKE, (str(license_id), digest, credits))


def test_create_license_makes_a_license_once(sql, owner):
    key = keys.make(uuid4()).digest
    for _ in range(2):
        assert make(sql, key.license_id, key.digest) == [(str(key.license_id), 5, True)]
    assert make(sql, key.license_id, b"o" * 32) == [(str(key.license_id), 5, False)]
    assert licenses.find(owner, key).name == "Ada"


@pytest.mark.parametrize(("credits", "other", "prefix"), [(-1, False, "INVALID_AMOUNT"), (5, True, "IDEMPOTENCY_KEY")])
def test_create_license_refuses_what_it_refused(sql, credits, other, prefix):
    license_id = uuid4()
    if other:
        sql("SELECT obol.create_license(%s, %s, '', NULL, 0, '')", (str(license_id), b"k" * 32))
    with pytest.raises(Exception, match=f"^{prefix}"):
        make(sql, license_id, b"k" * 32, credits)


def test_set_license_and_its_status(sql, owner, new_license):
    license = new_license()
    sql("SELECT obol.set_license(%s, 'after', '2999-01-01Z', false)", (str(license.id),))
    sql("SELECT obol.set_license_status(%s, 'suspended')", (str(license.id),))

    shown = licenses.show(owner, license.id)
    assert (shown.name, shown.status, shown.expires_at) == ("after", "suspended", datetime(2999, 1, 1, tzinfo=UTC))
    with pytest.raises(Exception, match=r"^INVALID_AMOUNT"):
        sql("SELECT obol.set_license(%s, NULL, '2020-01-01Z', false)", (str(license.id),))
    for call in ("obol.set_license(%s, 'x', NULL, true)", "obol.set_license_status(%s, 'active')"):
        with pytest.raises(Exception, match=r"^INVALID_LICENSE"):
            sql(f"SELECT {call}", (str(uuid4()),))


def test_rotate_license_key(sql, owner, new_license):
    license = new_license()
    sql("SELECT obol.rotate_license_key(%s, %s, 60)", (str(license.id), b"n" * 32))

    for key in (license.key, KeyDigest(license.id, b"n" * 32)):
        assert licenses.find(owner, key).license_id == license.id
