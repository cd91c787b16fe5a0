"""obol.deduct and obol.deduct_credits: every result, every SQLSTATE, and which error wins."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg2
import pytest

from service.problems import Problem
from service.repository import credits, licenses

PAST = datetime.now(UTC) - timedelta(days=1)
FINGERPRINT, OTHER_FINGERPRINT = b"one payload", b"another payload"


def deduct(db, license, amount=100, *, key=None, deduction_id=None, fingerprint=FINGERPRINT, reference=None):
    return credits.deduct(db, license.key, deduction_id or uuid4(), amount, key, fingerprint, reference)


def test_takes_credits_and_books_an_entry(db, new_license, sql):
    license = new_license(credits=1000)
    deduction_id = uuid4()

    result = deduct(db, license, 300, deduction_id=deduction_id, reference="job 7")

    assert (result.deduction_id, result.amount, result.balance) == (deduction_id, 300, 700)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " WHERE kind = 'deduction'"
    ) == [(2, "deduction", -300, 700, str(deduction_id), "job 7")]


def test_the_same_id_again_charges_nothing(db, new_license):
    license = new_license(credits=1000)
    deduction_id = uuid4()
    first = deduct(db, license, 300, deduction_id=deduction_id)
    deduct(db, license, 1)

    assert deduct(db, license, 300, deduction_id=deduction_id) == first
    assert licenses.find(db, license.key).balance == 699


def test_the_whole_balance_can_be_taken_and_not_one_credit_more(db, new_license):
    license = new_license(credits=10)

    with pytest.raises(Problem) as refused:
        deduct(db, license, 11)
    assert refused.value.code == "insufficient_credits"
    assert refused.value.extra == {"required": 11, "available": 10}
    assert deduct(db, license, 10).balance == 0


@pytest.mark.parametrize(
    ("amount", "unknown", "suspended", "expired", "code"),
    [
        (0, True, True, True, "amount_invalid"),
        (-1, True, True, True, "amount_invalid"),
        (11, True, True, True, "license_invalid"),
        (11, False, True, True, "license_inactive"),
        (11, False, False, True, "license_expired"),
        (11, False, False, False, "insufficient_credits"),
    ],
)
def test_which_error_wins(db, owner, new_license, amount, unknown, suspended, expired, code):
    license = new_license(credits=10, expires_at=PAST if expired else None)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")
    if unknown:
        license = new_license().__class__(license.id, "", license.key._replace(digest=b"\0" * 32))

    with pytest.raises(Problem) as refused:
        deduct(db, license, amount)
    assert refused.value.code == code


def test_by_hand_as_the_first_version_did(sql, new_license):
    license = new_license(credits=50)

    assert sql("SELECT obol.deduct_credits(%s, 20)", (license.raw_key,)) == [(30,)]
    assert sql("SELECT obol.deduct_credits(license_key => %s, amount => 5)", (license.raw_key,)) == [(25,)]


def test_by_hand_with_an_idempotency_key(sql, new_license):
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
def test_errors_by_hand(sql, owner, new_license, prepare, amount, sqlstate, prefix):
    license = new_license(credits=50, expires_at=PAST if prepare == "expired" else None)
    raw_key = {"unknown": license.raw_key[:-1] + "!", "no key": None}.get(prepare, license.raw_key)
    if prepare == "suspended":
        licenses.set_status(owner, license.id, "suspended")

    with pytest.raises(psycopg2.Error) as refused:
        sql("SELECT obol.deduct_credits(%s, %s)", (raw_key, amount))
    assert refused.value.pgcode == sqlstate
    assert refused.value.diag.message_primary.startswith(prefix)
    assert license.raw_key not in str(refused.value)


def test_idempotency_key_replays_and_guards_its_payload(db, new_license):
    license = new_license(credits=100)
    first = deduct(db, license, 40, key="k")

    assert deduct(db, license, 40, key="k") == first
    with pytest.raises(Problem) as refused:
        deduct(db, license, 41, key="k", fingerprint=OTHER_FINGERPRINT)
    assert refused.value.code == "idempotency_key_reused"
    assert licenses.find(db, license.key).balance == 60


def test_replay_goes_before_the_license_s_state(db, owner, new_license):
    license = new_license(credits=100)
    first = deduct(db, license, 100, key="k")
    licenses.set_status(owner, license.id, "suspended")

    assert deduct(db, license, 100, key="k") == first


def test_a_refused_call_leaves_its_key_free(db, owner, new_license):
    license = new_license(credits=10)
    with pytest.raises(Problem):
        deduct(db, license, 40, key="k")
    credits.grant(owner, license.id, uuid4(), 100, None, FINGERPRINT, None)

    assert deduct(db, license, 40, key="k").balance == 70


def test_licenses_do_not_share_idempotency_keys(db, new_license):
    one, other = new_license(credits=10), new_license(credits=20)

    assert deduct(db, one, 1, key="k").balance == 9
    assert deduct(db, other, 1, key="k").balance == 19
