"""obol.settle_hold: who may settle what, with which key, and which error wins."""

from dataclasses import replace
from uuid import uuid4

import pytest

from service.keys import KeyDigest
from service.repository import holds, licenses


@pytest.mark.parametrize("amount", [-1, None])
def test_the_amount_goes_before_the_key(db, new_license, refused, amount):
    unknown = KeyDigest(new_license().id, b"\0" * 32)

    with refused("amount_invalid"):
        holds.settle(db, unknown, uuid4(), amount=amount)


def test_the_key_goes_before_the_hold(db, new_license, client_hold, refused):
    license = new_license()
    hold = client_hold(license)
    wrong = KeyDigest(license.id, b"\0" * 32)

    with refused("license_invalid"):
        holds.settle(db, wrong, uuid4(), amount=1)
    with refused("license_invalid"):
        holds.settle(db, wrong, hold.hold_id, amount=1)


def test_an_unknown_hold(db, new_license, refused):
    license = new_license()

    with refused("hold_not_found"):
        holds.settle(db, license.key, uuid4(), amount=1)


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_another_license_cannot_settle_it(request, db, new_license, process_id, refused, kind):
    license, other = new_license(), new_license()
    hold = request.getfixturevalue(kind)(license)
    process_id = process_id if kind == "process_hold" else None

    with refused("hold_not_found"):
        holds.settle(db, other.key, hold.hold_id, amount=1, process_id=process_id)
    with refused("license_invalid"):
        holds.settle(db, KeyDigest(license.id, other.key.digest), hold.hold_id, amount=1, process_id=process_id)


def test_a_client_cannot_see_a_process_s_hold(db, new_license, process_hold, refused):
    license = new_license()
    hold = process_hold(license)

    with refused("hold_not_found"):
        holds.settle(db, license.key, hold.hold_id, amount=0)


def test_a_process_sees_its_own_holds_only(db, new_license, client_hold, process_hold, process_id, refused):
    license = new_license()
    of_client, of_process = client_hold(license), process_hold(license)

    with refused("hold_not_found"):
        holds.settle(db, license.key, of_client.hold_id, amount=1, process_id=process_id)
    with refused("hold_not_found"):
        holds.settle(db, license.key, of_process.hold_id, amount=1, process_id=uuid4())


def test_a_client_cannot_settle_above_its_hold(db, new_license, client_hold, refused):
    license = new_license(credits=1000)
    hold = client_hold(license, 10)

    with refused("settle_exceeds_hold") as problem:
        holds.settle(db, license.key, hold.hold_id, amount=11)
    assert problem.value.extra == {"required": 11, "held": 10}
    assert holds.settle(db, license.key, hold.hold_id, amount=10).charge == 10


@pytest.mark.parametrize("amount", [1, 11])
def test_not_open_goes_before_too_much(db, new_license, client_hold, refused, amount):
    license = new_license()
    hold = client_hold(license, 10)
    holds.release(db, license.key, hold.hold_id)

    with refused("hold_not_open"):
        holds.settle(db, license.key, hold.hold_id, amount=amount)


@pytest.mark.parametrize("amount", [1, 11])
def test_past_its_time_a_client_s_hold_counts_as_expired(db, new_license, client_hold, overdue, refused, amount):
    license = new_license()
    hold = client_hold(license, 10)
    overdue(hold)

    with refused("hold_not_open") as problem:
        holds.settle(db, license.key, hold.hold_id, amount=amount)
    assert "expired" in problem.value.detail


def test_a_client_s_hold_whose_time_is_up_while_the_call_waits_is_not_open(db, new_license, client_hold, overtaken):
    """The time that the guarded write compares with is from before the wait."""
    license = new_license()
    hold = client_hold(license, 10)

    ended = overtaken(
        license,
        lambda: holds.settle(db, license.key, hold.hold_id, amount=1),
        "UPDATE obol.holds SET expires_at = clock_timestamp()",
    )

    assert ended == "hold_not_open"


def test_a_client_s_expired_hold_is_never_settled_late(db, new_license, client_hold, overdue, refused, reap):
    license = new_license()
    hold = client_hold(license)
    overdue(hold)
    assert reap() == 1

    with refused("hold_not_open"):
        holds.settle(db, license.key, hold.hold_id, amount=1)


def test_a_released_hold_of_a_process_stays_released(db, new_license, process_id, process_hold, settle, refused):
    license = new_license()
    hold = process_hold(license)
    holds.release(db, license.key, hold.hold_id, process_id=process_id)

    with refused("hold_not_open"):
        settle(license, hold, 1)


# A service already given is paid for


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_a_key_that_was_good_at_opening_settles(request, db, new_license, process_id, cut_off, kind):
    license = new_license(credits=100)
    hold = request.getfixturevalue(kind)(license, 60)
    cut_off(license)

    process_id = process_id if kind == "process_hold" else None
    usage = {"output": 50} if process_id else None
    assert holds.settle(db, license.key, hold.hold_id, amount=50, process_id=process_id, usage=usage).balance == 50


def test_so_does_the_key_that_replaced_it(db, owner, new_license, client_hold):
    license = new_license(credits=100)
    hold = client_hold(license, 60)
    new_key = KeyDigest(license.id, b"n" * 32)
    licenses.rotate_key(owner, new_key, 0)

    assert holds.settle(db, new_key, hold.hold_id, amount=50).balance == 50


def test_a_key_that_had_ended_before_the_hold_was_opened_does_not(db, owner, new_license, client_hold, refused):
    license = new_license()
    new_key = KeyDigest(license.id, b"n" * 32)
    licenses.rotate_key(owner, new_key, 0)
    hold = client_hold(replace(license, key=new_key))

    with refused("license_invalid"):
        holds.settle(db, license.key, hold.hold_id, amount=1)


def test_a_key_that_came_after_the_hold_and_has_ended_does_not(db, owner, new_license, client_hold, refused):
    license = new_license()
    hold = client_hold(license)
    between, last = KeyDigest(license.id, b"n" * 32), KeyDigest(license.id, b"m" * 32)
    licenses.rotate_key(owner, between, 0)
    licenses.rotate_key(owner, last, 0)

    with refused("license_invalid"):
        holds.settle(db, between, hold.hold_id, amount=1)
    assert holds.settle(db, last, hold.hold_id, amount=1).charge == 1
