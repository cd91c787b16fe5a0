"""obol.open_hold: which error wins, and what ends while a call waits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.keys import KeyDigest
from service.repository import licenses

PAST = datetime.now(UTC) - timedelta(days=1)


@pytest.mark.parametrize(
    ("amount", "unknown", "suspended", "expired", "code"),
    [
        (0, True, True, True, "amount_invalid"),
        (-1, True, True, True, "amount_invalid"),
        (None, True, True, True, "amount_invalid"),
        (11, True, True, True, "license_invalid"),
        (11, False, True, True, "license_inactive"),
        (11, False, False, True, "license_expired"),
        (11, False, False, False, "insufficient_credits"),
    ],
)
def test_which_error_wins_for_a_client(
    owner, new_license, client_hold, refused, amount, unknown, suspended, expired, code
):
    license = new_license(credits=10, expires_at=PAST if expired else None)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")
    if unknown:
        license = replace(license, key=KeyDigest(license.id, b"\0" * 32))

    with refused(code):
        client_hold(license, amount)


@pytest.mark.parametrize(
    ("amount", "unknown", "suspended", "expired", "priced", "code"),
    [
        (-1, True, True, True, False, "amount_invalid"),
        (11, True, True, True, False, "license_invalid"),
        (11, False, True, True, False, "license_inactive"),
        (11, False, False, True, False, "license_expired"),
        (11, False, False, False, False, "model_not_priced"),
        (11, False, False, False, True, "insufficient_credits"),
    ],
)
def test_which_error_wins_for_a_generation(
    owner, new_license, process_hold, refused, amount, unknown, suspended, expired, priced, code
):
    license = new_license(credits=10, expires_at=PAST if expired else None)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")
    if unknown:
        license = replace(license, key=KeyDigest(license.id, b"\0" * 32))

    with refused(code):
        process_hold(license, amount, **({} if priced else {"price": None}))


def test_an_unpriced_model_is_refused_though_the_credits_are_there(new_license, process_hold, refused):
    license = new_license(credits=1000)

    with refused("model_not_priced") as problem:
        process_hold(license, 1, price=None)
    assert "a-model" in problem.value.detail


def test_the_key_of_another_license_opens_nothing(new_license, process_hold, client_hold, refused):
    license, other = new_license(), new_license()
    crossed = replace(license, key=KeyDigest(license.id, other.key.digest))

    with refused("license_invalid"):
        client_hold(crossed)
    with refused("license_invalid"):
        process_hold(crossed)


def test_a_key_that_was_rotated_away_opens_nothing(owner, new_license, client_hold, process_hold, refused):
    license = new_license()
    licenses.rotate_key(owner, KeyDigest(license.id, b"n" * 32), 0)

    with refused("license_invalid"):
        client_hold(license)
    with refused("license_invalid"):
        process_hold(license)


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
@pytest.mark.parametrize(
    ("what", "code"), [("licenses", "license_expired"), ("license_keys", "license_invalid")], ids=["license", "key"]
)
def test_what_expires_while_the_call_waits_is_refused(request, new_license, overtaken, kind, what, code):
    """The time that the guarded write compares with is from before the wait."""
    open_hold = request.getfixturevalue(kind)
    license = new_license()

    ended = overtaken(license, lambda: open_hold(license), f"UPDATE obol.{what} SET expires_at = clock_timestamp()")

    assert ended == code


def test_a_client_s_time_begins_when_its_call_had_its_turn(new_license, client_hold, at_once):
    """Not before the wait: it would be told of a time that it never had."""
    license = new_license()
    let_go = []

    def meanwhile(cursor):
        cursor.execute("SELECT clock_timestamp()")
        let_go.extend(cursor.fetchone())

    (hold,) = at_once(license, [lambda: client_hold(license, expires_in_s=60)], meanwhile)

    assert hold.expires_at - let_go[0] >= timedelta(seconds=60)
