"""obol.deduct_credits: by hand, with the raw key, as the first version's callers do."""

from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from service.repository import licenses

PAST = datetime.now(UTC) - timedelta(days=1)


def test_returns_the_new_balance(sql, new_license):
    license = new_license(credits=50)

    assert sql("SELECT obol.deduct_credits(%s, 20)", (license.raw_key,)) == [(30,)]
    assert sql("SELECT obol.deduct_credits(license_key => %s, amount => 5)", (license.raw_key,)) == [(25,)]


def test_with_an_idempotency_key_it_takes_once(sql, new_license):
    license = new_license(credits=50)
    call = "SELECT obol.deduct_credits(%s, %s, %s, 'once')"

    assert sql(call, (license.raw_key, 20, "job")) == [(30,)]
    assert sql(call, (license.raw_key, 20, "job")) == [(30,)]
    with pytest.raises(psycopg2.Error) as refused:
        sql(call, (license.raw_key, 21, "job"))
    assert refused.value.pgcode == "OB422"


@pytest.mark.parametrize(
    ("prepare", "amount", "sqlstate", "prefix"),
    [
        ("unknown", 1, "OB403", "INVALID_LICENSE: "),
        ("no key", 1, "OB403", "INVALID_LICENSE: "),
        ("suspended", 1, "OB413", "INACTIVE_LICENSE: "),
        ("expired", 1, "OB423", "EXPIRED_LICENSE: "),
        ("poor", 51, "OB402", "INSUFFICIENT_CREDITS: "),
        ("zero", 0, "OB400", "INVALID_AMOUNT: "),
        ("null", None, "OB400", "INVALID_AMOUNT: "),
    ],
)
def test_its_errors(sql, owner, new_license, contents, prepare, amount, sqlstate, prefix):
    license = new_license(credits=50, expires_at=PAST if prepare == "expired" else None)
    raw_key = {"unknown": license.raw_key[:-1] + "!", "no key": None}.get(prepare, license.raw_key)
    if prepare == "suspended":
        licenses.set_status(owner, license.id, "suspended")
    before = contents()

    with pytest.raises(psycopg2.Error) as refused:
        sql("SELECT obol.deduct_credits(%s, %s)", (raw_key, amount))
    assert refused.value.pgcode == sqlstate
    assert refused.value.diag.message_primary.startswith(prefix)
    assert license.raw_key not in str(refused.value)
    assert contents() == before
