"""/api/v1/holds: open, settle, release; the same again, too much, too late, and somebody else's."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from calls import PAST
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import keys
from service.repository import holds, licenses, processes

PATH = "/api/v1/holds"


def open_hold(client, license, body=None, **headers):
    return client.post(PATH, json=body or {"amount": 400}, headers={**license.headers, **headers})


def settle(client, license, hold_id, amount):
    return client.post(f"{PATH}/{hold_id}/settle", json={"amount": amount}, headers=license.headers)


def release(client, license, hold_id):
    return client.post(f"{PATH}/{hold_id}/release", headers=license.headers)


def expire(sql, hold_id):
    sql("UPDATE obol.holds SET expires_at = clock_timestamp() WHERE hold_id = %s", (hold_id,))


def test_sets_credits_aside(client, new_license, state):
    license = new_license(credits=1000)

    response = open_hold(client, license, {"amount": 400, "expires_in_s": 60, "reference": "job"})

    assert response.status_code == 201
    hold = response.get_json()
    assert (hold["amount"], hold["state"], hold["available"]) == (400, "held", 600)
    assert hold["expires_at"].endswith("Z")
    lives = datetime.fromisoformat(hold["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < lives <= timedelta(seconds=60)
    assert state(license) == (1000, 400, 1)


def test_lives_for_five_minutes_when_nothing_is_said(client, new_license):
    hold = open_hold(client, new_license()).get_json()
    lives = datetime.fromisoformat(hold["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=290) < lives <= timedelta(seconds=300)


def test_held_credits_cannot_be_spent_twice(client, new_license, problem):
    license = new_license(credits=1000)
    open_hold(client, license, {"amount": 700})

    document = problem(open_hold(client, license, {"amount": 301}), "insufficient_credits")
    assert (document["required"], document["available"]) == (301, 300)


def test_settle_charges_what_was_used_and_gives_the_rest_back(client, new_license, state):
    license = new_license(credits=1000)
    hold = open_hold(client, license).get_json()

    response = settle(client, license, hold["id"], 150)

    assert response.status_code == 200
    assert response.get_json() == {
        "id": hold["id"],
        "amount": 400,
        "state": "settled",
        "expires_at": hold["expires_at"],
        "charged": 150,
        "balance": 850,
    }
    assert state(license) == (850, 0, 2)


def test_the_same_settle_again_gives_the_same_answer(client, new_license, state):
    license = new_license(credits=1000)
    hold = open_hold(client, license).get_json()
    first = settle(client, license, hold["id"], 400)
    client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)

    assert settle(client, license, hold["id"], 400).data == first.data
    assert state(license) == (599, 0, 3)


def test_release_gives_all_back_and_again_the_same(client, new_license, state):
    license = new_license(credits=1000)
    hold = open_hold(client, license).get_json()

    first = release(client, license, hold["id"])

    assert first.status_code == 200
    assert first.get_json() == {
        "id": hold["id"],
        "amount": 400,
        "state": "released",
        "expires_at": hold["expires_at"],
    }
    assert release(client, license, hold["id"]).data == first.data
    assert state(license) == (1000, 0, 1)


@pytest.mark.parametrize(
    ("end", "then", "code"),
    [
        (lambda *hold: settle(*hold, 10), lambda *hold: settle(*hold, 11), "hold_not_open"),
        (lambda *hold: settle(*hold, 10), release, "hold_not_open"),
        (release, lambda *hold: settle(*hold, 10), "hold_not_open"),
        (lambda *hold: None, lambda *hold: settle(*hold, 401), "settle_exceeds_hold"),
        (lambda *hold: None, lambda *hold: settle(*hold, 2**63 - 1), "settle_exceeds_hold"),
    ],
)
def test_an_end_that_cannot_be(client, new_license, problem, state, end, then, code):
    license = new_license(credits=1000)
    hold_id = open_hold(client, license).get_json()["id"]
    end(client, license, hold_id)
    before = state(license)

    problem(then(client, license, hold_id), code)
    assert state(license) == before


def test_above_the_hold_the_answer_says_both_amounts(client, new_license, problem):
    license = new_license(credits=1000)
    hold_id = open_hold(client, license).get_json()["id"]

    document = problem(settle(client, license, hold_id, 401), "settle_exceeds_hold")
    assert (document["required"], document["held"]) == (401, 400)


@pytest.mark.parametrize("reaped", [False, True])
@pytest.mark.parametrize("end", [lambda *hold: settle(*hold, 1), release])
def test_an_expired_hold_is_over(client, db, new_license, problem, sql, state, reaped, end):
    license = new_license(credits=1000)
    hold_id = open_hold(client, license).get_json()["id"]
    expire(sql, hold_id)
    if reaped:
        (due,) = holds.due(db)
        assert holds.expire(db, due.license_id, due.hold_ids) == 1

    assert "expired" in problem(end(client, license, hold_id), "hold_not_open")["detail"]
    assert state(license) == (1000, 0 if reaped else 400, 1)


@pytest.mark.parametrize("call", [lambda *hold: settle(*hold, 1), release])
def test_a_hold_that_is_not_there_or_not_mine(client, new_license, problem, state, call):
    license, other = new_license(), new_license()
    theirs = open_hold(client, other).get_json()["id"]

    problem(call(client, license, uuid4()), "hold_not_found")
    problem(call(client, license, theirs), "hold_not_found")
    assert state(other) == (1000, 400, 1)


@pytest.mark.parametrize("hold_id", ["1", "not-a-uuid", "%00"])
def test_a_hold_id_that_is_none(client, new_license, problem, hold_id):
    problem(settle(client, new_license(), hold_id, 1), "not_found")


@pytest.mark.parametrize("end", [lambda *hold: settle(*hold, 400), release])
def test_a_service_already_given_can_be_ended_by_a_license_that_no_longer_is_good(client, owner, new_license, sql, end):
    license = new_license(credits=1000)
    hold_id = open_hold(client, license).get_json()["id"]
    licenses.set_status(owner, license.id, "suspended")
    sql("UPDATE obol.licenses SET expires_at = %s", (PAST,))
    licenses.rotate_key(owner, keys.KeyDigest(license.id, b"n" * 32), 0)

    assert end(client, license, hold_id).status_code == 200


WRONG_HOLDS = [
    ({"amount": 0}, "amount_invalid", "amount"),
    ({"amount": -1}, "amount_invalid", "amount"),
    ({"amount": 2**63}, "amount_invalid", "amount"),
    ({"amount": 1.5}, "validation_failed", "amount"),
    ({"amount": 1, "expires_in_s": 0}, "validation_failed", "expires_in_s"),
    ({"amount": 1, "expires_in_s": 86401}, "validation_failed", "expires_in_s"),
    ({"amount": 1, "expires_in_s": 10**30}, "validation_failed", "expires_in_s"),
    ({"amount": 1, "expires_in_s": None}, "validation_failed", "expires_in_s"),
    ({"amount": 1, "expires_in": 5}, "validation_failed", "expires_in"),
    ({"amount": 1, "reference": []}, "validation_failed", "reference"),
]


def test_a_hold_that_cannot_be_opened(client, new_license, problem, state):
    license = new_license()
    for body, code, field in WRONG_HOLDS:
        assert problem(open_hold(client, license, body), code)["errors"][0]["field"] == field
        assert state(license) == (1000, 0, 1), body


WRONG_SETTLES = [
    ({"amount": 0}, "amount_invalid"),
    ({"amount": -1}, "amount_invalid"),
    ({"amount": 2**63}, "amount_invalid"),
    ({"amount": "5"}, "validation_failed"),
    ({"amount": None}, "validation_failed"),
    ({"amount": 5, "reference": "x"}, "validation_failed"),
    ({}, "validation_failed"),
    ([], "malformed_request"),
]


def test_a_settle_of_the_wrong_shape(client, new_license, problem, state):
    license = new_license()
    hold_id = open_hold(client, license).get_json()["id"]
    for body, code in WRONG_SETTLES:
        problem(client.post(f"{PATH}/{hold_id}/settle", json=body, headers=license.headers), code)
        assert state(license) == (1000, 400, 1), body


@settings(max_examples=30, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amount=st.integers() | st.integers(1, 450) | st.floats() | st.none() | st.text(max_size=3))
def test_any_amount_settles_once_or_is_refused(client, new_license, state, amount):
    license = new_license(credits=1000)
    hold_id = open_hold(client, license).get_json()["id"]

    response = settle(client, license, hold_id, amount)

    assert response.status_code in (200, 400, 422)
    assert state(license)[:2] == ((1000 - amount, 0) if response.status_code == 200 else (1000, 400))


def test_the_same_key_opens_one_hold(client, new_license, problem, state):
    license = new_license(credits=1000)
    key = {"Idempotency-Key": "once"}
    first = open_hold(client, license, **key)
    client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)

    again = open_hold(client, license, **key)

    assert (again.status_code, again.data) == (201, first.data)
    assert state(license) == (999, 400, 2)
    problem(open_hold(client, license, {"amount": 5}, **key), "idempotency_key_reused")


@pytest.mark.parametrize("end", ["settled", "released", "expired"])
def test_the_same_key_tells_what_has_become_of_the_hold(client, new_license, state, sql, end):
    license = new_license(credits=1000)
    key = {"Idempotency-Key": "once"}
    first = open_hold(client, license, **key).get_json()
    if end == "settled":
        settle(client, license, first["id"], 150)
    elif end == "released":
        release(client, license, first["id"])
    else:
        expire(sql, first["id"])
    before = state(license)

    again = open_hold(client, license, **key).get_json()

    # Its time is the one thing that the test has moved.
    assert again | {"expires_at": None} == first | {"state": end, "expires_at": None}
    assert state(license) == before


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
def test_an_idempotency_key_that_cannot_be_one(client, new_license, problem, state, key):
    license = new_license()

    document = problem(open_hold(client, license, **{"Idempotency-Key": key}), "validation_failed")
    assert document["errors"][0]["field"] == "Idempotency-Key"
    assert state(license) == (1000, 0, 1)


@pytest.mark.parametrize(("suspended", "code"), [(True, "license_inactive"), (False, "license_expired")])
def test_a_license_that_is_not_good_opens_nothing(client, owner, new_license, problem, suspended, code):
    license = new_license(expires_at=PAST)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    problem(open_hold(client, license), code)


@pytest.mark.parametrize("path", ["settle", "release"])
def test_the_hold_of_a_generation_in_flight_is_no_client_s(client, db, new_license, problem, state, path):
    license, hold_id, process_id = new_license(), uuid4(), uuid4()
    processes.heartbeat(db, process_id, 30)
    holds.open_for_process(
        db,
        license.key,
        hold_id,
        process_id=process_id,
        amounts=holds.HoldAmounts(5, 5),
        model="m",
        price={"input": 1, "output": 1},
    )

    problem(client.post(f"{PATH}/{hold_id}/{path}", json={"amount": 1}, headers=license.headers), "hold_not_found")
    assert state(license) == (1000, 5, 1)
