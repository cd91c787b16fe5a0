"""obol.check_admission: what open_hold checks but for the credits, in its order, and no hold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.keys import KeyDigest
from service.pricing import CLASSES
from service.repository import holds, licenses

PRICE = dict.fromkeys(CLASSES, 1_000_000)
PAST = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def check(db):
    """`check(license, key=None, fingerprint=b"one", price=PRICE)`: the row that comes back."""

    def ask(license, *, key=None, fingerprint=b"one", price=PRICE):
        return holds.check_admission(
            db, license.key, uuid4(), model="a-model", price=price, idempotency_key=key, fingerprint=fingerprint
        )

    return ask


def test_it_tells_what_is_available_and_sets_nothing_aside(new_license, process_hold, check, contents):
    license = new_license(credits=1000)
    process_hold(license, 300)
    before = contents()

    checked = check(license)

    assert (checked.outcome, checked.available) == ("checked", 700)
    assert (checked.hold_id, checked.amount, checked.state) == (None,) * 3
    assert (checked.charge, checked.balance, checked.answer) == (None,) * 3
    assert contents() == before


def test_an_empty_balance_is_not_refused(new_license, check):
    assert check(new_license(credits=0)).available == 0


def test_a_settled_call_is_replayed(new_license, process_hold, settle, check):
    license = new_license(credits=1000)
    hold = process_hold(license, 300, key="k")
    settle(license, hold, 120, answer=b"sealed")

    checked = check(license, key="k")

    assert (checked.outcome, checked.hold_id, checked.charge, checked.balance) == ("replayed", hold.hold_id, 120, 880)
    assert checked.state == "settled"
    assert bytes(checked.answer) == b"sealed"


def test_a_license_that_expired_still_gets_what_it_paid_for(new_license, process_hold, settle, check, sql):
    license = new_license(credits=1000)
    settle(license, process_hold(license, 300, key="k"), 120, answer=b"sealed")
    sql("UPDATE obol.licenses SET expires_at = %s", (PAST,))

    assert check(license, key="k").outcome == "replayed"


def test_another_payload_is_refused(new_license, process_hold, check, refused):
    license = new_license(credits=1000)
    process_hold(license, 300, key="k")

    with refused("idempotency_key_reused"):
        check(license, key="k", fingerprint=b"two")


def test_a_twin_of_a_running_call_is_refused(new_license, process_hold, check, refused):
    license = new_license(credits=1000)
    process_hold(license, 300, key="k")

    with refused("idempotency_in_progress"):
        check(license, key="k")


def test_an_answer_that_is_not_stored_is_gone(new_license, process_hold, settle, check, refused):
    license = new_license(credits=1000)
    settle(license, process_hold(license, 300, key="k"), 120)

    with refused("answer_gone"):
        check(license, key="k")


def test_the_first_of_several_refusals_is_told(new_license, owner, check, refused):
    unknown = new_license(credits=1000)
    unknown = replace(unknown, key=KeyDigest(unknown.id, b"\0" * 32))
    inactive = new_license(credits=1000, expires_at=PAST)
    licenses.set_status(owner, inactive.id, "suspended")
    expired, good = new_license(credits=1000, expires_at=PAST), new_license(credits=1000)

    with refused("license_invalid"):
        check(unknown, price=None)
    with refused("license_inactive"):
        check(inactive, price=None)
    with refused("license_expired"):
        check(expired, price=None)
    with refused("model_not_priced"):
        check(good, price=None)
