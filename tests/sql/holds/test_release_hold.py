"""obol.release_hold: a hold that ends at nothing, and who may end it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import psycopg2
import pytest
from factories import wait_until

from service.keys import KeyDigest
from service.problems import Problem
from service.repository import holds, licenses


def test_gives_everything_back_and_books_nothing(db, new_license, client_hold, state_of, money, sql):
    license = new_license(credits=1000)
    hold, other = client_hold(license, 300), client_hold(license, 5)

    result = holds.release(db, license.key, hold.hold_id)

    assert (result.amount, result.state, result.expires_at) == (300, "released", hold.expires_at)
    assert (state_of(hold), state_of(other), money(license)) == ("released", "held", (1000, 5))
    assert sql("SELECT kind FROM obol.ledger_entries") == [("grant",)]


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_the_same_again_gives_the_same(request, db, new_license, process_id, money, kind):
    license = new_license(credits=1000)
    hold = request.getfixturevalue(kind)(license)
    process_id = process_id if kind == "process_hold" else None
    first = holds.release(db, license.key, hold.hold_id, process_id=process_id)

    assert holds.release(db, license.key, hold.hold_id, process_id=process_id) == first
    assert money(license) == (1000, 0)


def test_a_settled_hold_stays_settled(db, new_license, process_id, process_hold, settle, refused):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 1)

    with refused("hold_not_open"):
        holds.release(db, license.key, hold.hold_id, process_id=process_id)


def test_past_its_time_a_client_s_hold_counts_as_expired(db, new_license, client_hold, overdue, reap, refused):
    license = new_license()
    hold = client_hold(license)
    overdue(hold)

    with refused("hold_not_open") as problem:
        holds.release(db, license.key, hold.hold_id)
    assert "expired" in problem.value.detail
    assert reap() == 1
    with refused("hold_not_open"):
        holds.release(db, license.key, hold.hold_id)


def test_a_process_may_release_its_expired_hold_and_then_not_settle_it(
    db, new_license, process_id, process_hold, settle, lapse, state_of, money, refused
):
    license = new_license(credits=1000)
    hold = process_hold(license)
    lapse()

    first = holds.release(db, license.key, hold.hold_id, process_id=process_id)

    assert (first.state, state_of(hold), money(license)) == ("released", "released", (1000, 0))
    assert holds.release(db, license.key, hold.hold_id, process_id=process_id) == first
    with refused("hold_not_open"):
        settle(license, hold, 1)


def test_releasing_an_expired_hold_leaves_the_key_to_who_took_it_over(
    db, new_license, process_id, process_hold, settle, lapse, refused
):
    license = new_license(credits=1000)
    first = process_hold(license, key="k")
    lapse()
    second = process_hold(license, key="k")

    holds.release(db, license.key, first.hold_id, process_id=process_id)

    with refused("idempotency_in_progress"):
        process_hold(license, key="k")
    assert settle(license, second, 10).balance == 990


def test_a_process_s_release_frees_the_key(db, new_license, process_id, process_hold, sql):
    license = new_license()
    hold = process_hold(license, key="k")
    holds.release(db, license.key, hold.hold_id, process_id=process_id)

    assert sql("SELECT in_force FROM obol.idempotency_keys") == [(False,)]


def test_a_client_s_release_keeps_the_key(db, new_license, client_hold, sql):
    license = new_license()
    hold = client_hold(license, key="k")
    holds.release(db, license.key, hold.hold_id)

    assert sql("SELECT in_force FROM obol.idempotency_keys") == [(True,)]
    assert client_hold(license, key="k").hold_id == hold.hold_id


# What ends while the call waits


def test_a_client_s_hold_whose_time_is_up_while_the_call_waits_is_not_open(db, new_license, client_hold, overtaken):
    """The time that the guarded write compares with is from before the wait."""
    license = new_license()
    hold = client_hold(license)

    ended = overtaken(
        license,
        lambda: holds.release(db, license.key, hold.hold_id),
        "UPDATE obol.holds SET expires_at = clock_timestamp()",
    )

    assert ended == "hold_not_open"


def test_a_hold_that_is_settled_late_while_its_release_waits_stays_settled(
    db, urls, new_license, process_id, process_hold, lapse, waiting, state_of, money
):
    """The release has read that the hold is expired, and then waits for the row that the settle has written."""
    license = new_license(credits=1000)
    hold = process_hold(license)
    lapse()
    settling = psycopg2.connect(urls.owner)
    with ThreadPoolExecutor(1) as pool:
        with settling, settling.cursor() as cursor:
            cursor.execute(
                "SELECT charge FROM obol.settle_hold(%s, %s, %s, %s, 70, %s, NULL, NULL, NULL)",
                (str(license.id), license.key.digest, str(hold.hold_id), str(process_id), '{"output": 70}'),
            )
            assert cursor.fetchall() == [(70,)]
            releasing = pool.submit(holds.release, db, license.key, hold.hold_id, process_id=process_id)
            wait_until(lambda: waiting() == 1, what="a lock wait")
        settling.close()

        with pytest.raises(Problem) as problem:
            releasing.result()
    assert problem.value.code == "hold_not_open"
    assert (state_of(hold), money(license)) == ("settled", (930, 0))


# Errors


def test_the_key_goes_before_the_hold(db, new_license, client_hold, refused):
    license = new_license()
    hold = client_hold(license)
    wrong = KeyDigest(license.id, b"\0" * 32)

    with refused("license_invalid"):
        holds.release(db, wrong, uuid4())
    with refused("license_invalid"):
        holds.release(db, wrong, hold.hold_id)


def test_an_unknown_hold(db, new_license, refused):
    license = new_license()

    with refused("hold_not_found"):
        holds.release(db, license.key, uuid4())


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_another_license_cannot_release_it(request, db, new_license, process_id, refused, kind):
    license, other = new_license(), new_license()
    hold = request.getfixturevalue(kind)(license)
    process_id = process_id if kind == "process_hold" else None

    with refused("hold_not_found"):
        holds.release(db, other.key, hold.hold_id, process_id=process_id)
    with refused("license_invalid"):
        holds.release(db, KeyDigest(license.id, other.key.digest), hold.hold_id, process_id=process_id)


def test_a_hold_belongs_to_who_opened_it(db, new_license, client_hold, process_hold, process_id, refused):
    license = new_license()
    of_client, of_process = client_hold(license), process_hold(license)

    with refused("hold_not_found"):
        holds.release(db, license.key, of_process.hold_id)
    with refused("hold_not_found"):
        holds.release(db, license.key, of_process.hold_id, process_id=uuid4())
    with refused("hold_not_found"):
        holds.release(db, license.key, of_client.hold_id, process_id=process_id)


def test_a_key_that_was_good_at_opening_releases(db, new_license, client_hold, cut_off):
    license = new_license()
    hold = client_hold(license)
    cut_off(license)

    assert holds.release(db, license.key, hold.hold_id).state == "released"


def test_a_key_that_had_ended_before_the_hold_was_opened_does_not(db, owner, new_license, client_hold, refused):
    license = new_license()
    new_key = KeyDigest(license.id, b"n" * 32)
    licenses.rotate_key(owner, new_key, 0)
    hold = client_hold(replace(license, key=new_key))

    with refused("license_invalid"):
        holds.release(db, license.key, hold.hold_id)
