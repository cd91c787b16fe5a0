"""obol.expire_holds: holds of one license that were due are given back, and nothing else is."""

from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import holds, processes


@pytest.fixture
def expire(db, process_id):
    """`expire(license_id, hold_ids)`: as the process that opened the holds of processes here."""
    return lambda license_id, hold_ids: holds.expire(db, license_id, hold_ids, process_id=process_id)


def test_gives_them_back_and_books_nothing(
    expire, new_license, client_hold, process_hold, state_of, money, overdue, sql
):
    license = new_license(credits=1000)
    late, of_process, early = client_hold(license, 300), process_hold(license, 200), client_hold(license, 50)
    overdue(late)

    assert expire(license.id, [late.hold_id, of_process.hold_id]) == 2
    assert [state_of(hold) for hold in (late, of_process, early)] == ["expired", "expired", "held"]
    assert money(license) == (1000, 50)
    assert sql("SELECT kind FROM obol.ledger_entries") == [("grant",)]


def test_a_hold_of_nothing_ends_too(expire, new_license, process_hold, state_of, money):
    license = new_license(credits=10)
    free, other = process_hold(license, 0), process_hold(license, 10)

    assert expire(license.id, [free.hold_id]) == 1
    assert (state_of(free), state_of(other), money(license)) == ("expired", "held", (10, 10))


def test_the_same_again_does_nothing(expire, new_license, process_hold, contents):
    license = new_license()
    hold = process_hold(license)
    process_hold(license)
    assert expire(license.id, [hold.hold_id]) == 1
    before = contents()

    assert expire(license.id, [hold.hold_id]) == 0
    assert contents() == before


@pytest.mark.parametrize("end", ["settled", "released"])
def test_what_has_ended_since_is_passed_over(
    db, expire, new_license, process_id, process_hold, settle, state_of, money, end
):
    license = new_license(credits=1000)
    ended, due, other = (process_hold(license) for _ in range(3))
    if end == "settled":
        settle(license, ended, 70)
    else:
        holds.release(db, license.key, ended.hold_id, process_id=process_id)

    assert expire(license.id, [ended.hold_id, due.hold_id]) == 1
    assert [state_of(hold) for hold in (ended, due, other)] == [end, "expired", "held"]
    assert money(license) == (930 if end == "settled" else 1000, 100)


def test_a_client_s_hold_whose_time_is_not_up_stays(expire, new_license, client_hold, contents):
    license = new_license()
    hold = client_hold(license)
    before = contents()

    assert expire(license.id, [hold.hold_id]) == 0
    assert contents() == before


@pytest.mark.parametrize("other", [None, uuid4()])
def test_no_other_ends_a_hold_before_the_lease_of_its_process_has_lapsed(
    db, new_license, process_id, process_hold, contents, state_of, money, other
):
    license = new_license(credits=1000)
    hold = process_hold(license)
    before = contents()

    assert holds.expire(db, license.id, [hold.hold_id], process_id=other) == 0
    assert contents() == before

    processes.heartbeat(db, process_id, 0)
    assert holds.expire(db, license.id, [hold.hold_id], process_id=other) == 1
    assert (state_of(hold), money(license)) == ("expired", (1000, 0))


def test_a_lease_that_was_renewed_after_somebody_looked_saves_the_hold(
    db, new_license, process_id, process_hold, contents
):
    process_hold(new_license())
    processes.heartbeat(db, process_id, 0)
    (due,) = holds.due(db)
    processes.heartbeat(db, process_id, 30)
    before = contents()

    assert holds.expire(db, due.license_id, due.hold_ids) == 0
    assert contents() == before


def test_what_has_expired_is_still_charged_for_late(db, new_license, process_id, process_hold, settle, money):
    license = new_license(credits=1000)
    hold = process_hold(license)
    processes.heartbeat(db, process_id, 0)
    assert holds.expire(db, license.id, [hold.hold_id]) == 1
    processes.heartbeat(db, process_id, 30)

    assert settle(license, hold, 70).balance == 930
    assert money(license) == (930, 0)


def test_processes_of_earlier_releases_end_what_is_due(
    db, new_license, client_hold, process_id, process_hold, overdue, sql, state_of
):
    """They ask as they did, and do not say who they are."""
    license = new_license()
    late, early, of_process = client_hold(license), client_hold(license), process_hold(license)
    overdue(late)
    ids = [str(hold.hold_id) for hold in (late, early, of_process)]

    def ask():
        return sql("SELECT obol.expire_holds(%s, %s::uuid[])", (str(license.id), ids))

    assert ask() == [(1,)]
    assert [state_of(hold) for hold in (late, early, of_process)] == ["expired", "held", "held"]
    processes.heartbeat(db, process_id, 0)
    assert ask() == [(1,)]
    assert state_of(of_process) == "expired"


def test_the_holds_of_another_license_stay(expire, new_license, process_hold, contents):
    license, other = new_license(), new_license()
    process_hold(license)
    hold = process_hold(other)
    before = contents()

    assert expire(license.id, [hold.hold_id]) == 0
    assert expire(license.id, [uuid4()]) == 0
    assert expire(uuid4(), [hold.hold_id]) == 0
    assert expire(license.id, []) == 0
    assert contents() == before


def test_a_license_that_may_no_longer_be_used_gets_its_credits_back_too(
    expire, new_license, process_hold, cut_off, sql
):
    license = new_license()
    hold = process_hold(license)
    cut_off(license)

    assert expire(license.id, [hold.hold_id]) == 1
    assert sql("SELECT held FROM obol.licenses") == [(0,)]


def test_a_generation_s_key_is_freed_and_a_client_s_is_not(
    expire, new_license, client_hold, process_hold, overdue, sql
):
    license = new_license()
    of_client, of_process = client_hold(license, key="client"), process_hold(license, key="process")
    process_hold(license, key="another")
    overdue(of_client)

    assert expire(license.id, [of_client.hold_id, of_process.hold_id]) == 2
    assert sql("SELECT idempotency_key, in_force FROM obol.idempotency_keys ORDER BY 1") == [
        ("another", True),
        ("client", True),
        ("process", False),
    ]


# While another call has the license


def test_a_busy_license_fails_its_own_call_only(expire, new_license, process_hold, locked, state_of):
    busy, other = new_license(), new_license()
    left, given_back = process_hold(busy), process_hold(other)

    with locked(busy):
        with pytest.raises(Problem) as problem:
            expire(busy.id, [left.hold_id])
        assert expire(other.id, [given_back.hold_id]) == 1

    assert (problem.value.code, problem.value.outcome_unknown) == ("database_error", False)
    assert (state_of(left), state_of(given_back)) == ("held", "expired")
    assert expire(busy.id, [left.hold_id]) == 1


@pytest.mark.parametrize("others", [0, 500])
@pytest.mark.parametrize("end", ["settled", "released"])
def test_a_sum_that_is_wrong_after_a_wait_is_asked_for_again(
    expire,
    new_license,
    client_hold,
    process_id,
    process_hold,
    patient,
    at_once,
    asked_again,
    state_of,
    money,
    end,
    others,
):
    """Two holds were due when the call began to wait, and one has ended when it has its turn. What is
    held besides (`others`) would pay for the wrong sum."""
    license = new_license(credits=1000)
    ended, due = process_hold(license, 100), process_hold(license, 20)
    if others:
        client_hold(license, others)
    patient()

    def end_one(cursor):
        arguments = (str(license.id), license.key.digest, str(ended.hold_id), str(process_id))
        if end == "settled":
            usage = '{"output": 70}'
            cursor.execute(
                "SELECT FROM obol.settle_hold(%s, %s, %s, %s, 70, %s, NULL, NULL, NULL)", (*arguments, usage)
            )
        else:
            cursor.execute("SELECT FROM obol.release_hold(%s, %s, %s, %s, NULL)", arguments)

    (count,) = at_once(license, [lambda: expire(license.id, [ended.hold_id, due.hold_id])], end_one)

    assert (count, asked_again()) == (1, 1)
    assert (state_of(ended), state_of(due)) == (end, "expired")
    assert money(license) == (930 if end == "settled" else 1000, others)


def test_what_expires_meanwhile_by_another_hand_expires_once(
    expire, new_license, process_hold, patient, at_once, asked_again, money
):
    license = new_license(credits=1000)
    hold, _ = process_hold(license), process_hold(license)
    patient()

    counts = at_once(license, [lambda: expire(license.id, [hold.hold_id])] * 3)

    assert (sorted(counts), asked_again()) == ([0, 0, 1], 2)
    assert money(license) == (1000, 100)
