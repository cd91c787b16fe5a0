"""POST /api/v1/deductions: what is taken, what is refused and why, and that nothing else moves."""

import json
from uuid import UUID

import pytest
from calls import PAST
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import operator
from service.repository import licenses

PATH = "/api/v1/deductions"
NO_KEY = "obol_" + "0" * 32 + "_" + "a" * 38

# Examples share the test's license, which is the point: nothing but a 200 may move it.
few = settings(
    max_examples=30, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def post(client, license, body, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(PATH, data=raw, content_type="application/json", headers={**license.headers, **headers})


def test_takes_credits(client, new_license, state):
    license = new_license(credits=1000)

    response = post(client, license, {"amount": 300, "reference": "job 7"})

    assert response.status_code == 200
    assert response.content_type == "application/json"
    answer = response.get_json()
    assert UUID(answer.pop("id"))
    assert answer == {"amount": 300, "balance": 700}
    assert state(license) == (700, 0, 2)


def test_the_reference_is_in_the_statement(client, new_license):
    license = new_license()
    post(client, license, {"amount": 1, "reference": "émile 🐘"})

    entry = client.get("/api/v1/license/entries", headers=license.headers).get_json()["entries"][0]
    assert (entry["kind"], entry["amount"], entry["reference"]) == ("deduction", -1, "émile 🐘")


def test_the_whole_balance_and_not_one_credit_more(client, new_license, problem, state):
    license = new_license(credits=10)

    document = problem(post(client, license, {"amount": 11}), "insufficient_credits")
    assert (document["required"], document["available"]) == (11, 10)
    assert state(license) == (10, 0, 1)
    assert post(client, license, {"amount": 10}).get_json()["balance"] == 0


@pytest.mark.parametrize("amount", [0, -1, 2**63, -(2**63), 10**30])
def test_an_amount_out_of_range_is_refused_by_name(client, new_license, problem, state, amount):
    license = new_license()

    document = problem(post(client, license, {"amount": amount}), "amount_invalid")
    assert document["errors"][0]["field"] == "amount"
    assert document["detail"] == "amount must be a whole number of credits from 1 to 9223372036854775807."
    assert state(license) == (1000, 0, 1)


def test_the_largest_amount_is_only_too_dear(client, new_license, problem):
    document = problem(post(client, new_license(credits=10), {"amount": 2**63 - 1}), "insufficient_credits")
    assert document["required"] == 2**63 - 1


WRONG_FIELDS = [
    (b"{}", "amount", "is required"),
    (b'{"amount": null}', "amount", "must not be null"),
    (b'{"amount": 1.5}', "amount", "must be a whole number"),
    (b'{"amount": 1.0}', "amount", "must be a whole number"),
    (b'{"amount": 1e3}', "amount", "must be a whole number"),
    (b'{"amount": "5"}', "amount", "must be a whole number"),
    (b'{"amount": true}', "amount", "must be a whole number"),
    (b'{"amount": [1]}', "amount", "must be a whole number"),
    (b'{"amount": {"$gt": 0}}', "amount", "must be a whole number"),
    (b'{"amount": 1, "ammount": 1}', "ammount", "is not a field"),
    (b'{"amount": 1, "\\ud800": 1}', "\ud800", "is not a field"),
    (b'{"amount": 1, "reference": 7}', "reference", "must be a string"),
    (b'{"amount": 1, "reference": "a\\u0000b"}', "reference", "without NUL"),
    (b'{"amount": 1, "reference": "\\udead"}', "reference", "without NUL and lone surrogates"),
    (b'{"amount": 1, "reference": "' + b"x" * 501 + b'"}', "reference", "0 to 500 characters"),
]


def test_a_wrong_field_is_named(client, new_license, problem, state):
    license = new_license()
    for body, field, message in WRONG_FIELDS:
        document = problem(post(client, license, body), "validation_failed")
        assert [error["field"] for error in document["errors"]] == [field], body
        assert message in document["errors"][0]["message"]
        assert document["detail"].startswith(f"{field}: ")
        assert state(license) == (1000, 0, 1), body


def test_every_wrong_field_is_named_at_once(client, new_license, problem):
    document = problem(post(client, new_license(), {"amount": "1", "reference": 2, "x": 3}), "validation_failed")
    assert {error["field"] for error in document["errors"]} == {"amount", "reference", "x"}


UNREADABLE = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b'{"amount": 1}{"amount": 1}', "not valid JSON"),
    (b'{"amount": 01}', "not valid JSON"),
    (b"\xef\xbb\xbf{}", "not valid JSON"),
    (b'{"amount": 1, "reference": "\xff"}', "not valid UTF-8 (byte 28)"),
    (b'{"amount": NaN}', "not JSON that can be read here"),
    (b'{"amount": Infinity}', "not JSON that can be read here"),
    (b'{"amount": 1' + b"0" * 5000 + b"}", "the nesting is too big"),
    (b"[" * 9000 + b"]" * 9000, "the nesting is too big"),
    (b'{"a":' * 9000 + b"1" + b"}" * 9000, "the nesting is too big"),
    (b"[" * 100_000 + b"]" * 100_000, "10000 values at most"),
    (b'{"amount": 1, "amount": 2}', "twice"),
    (b'{"amount": 1, "reference": {"a": 1, "a": 2}}', "twice"),
    (b"[]", "must be a JSON object"),
    (b"5", "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b'"amount"', "must be a JSON object"),
]


def test_a_body_that_cannot_be_read(client, new_license, problem, state):
    license = new_license()
    for body, message in UNREADABLE:
        document = problem(post(client, license, body), "malformed_request")
        assert message in document["detail"], body[:30]
        assert document["errors"] == [{"field": "body", "message": document["detail"]}]
        assert state(license) == (1000, 0, 1), body[:30]


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "text/json"])
def test_a_body_of_another_type(client, new_license, problem, state, content_type):
    license = new_license()
    response = client.post(PATH, data=b'{"amount": 1}', content_type=content_type, headers=license.headers)

    assert "Content-Type: application/json" in problem(response, "unsupported_media_type")["detail"]
    assert state(license) == (1000, 0, 1)


def test_a_content_type_with_a_charset_is_json(client, new_license):
    response = client.post(
        PATH, data=b'{"amount": 1}', content_type="application/json; charset=utf-8", headers=new_license().headers
    )
    assert response.status_code == 200


@few
@given(amount=json_values)
def test_any_amount_is_taken_or_refused(client, new_license, state, amount):
    license = new_license(credits=100)

    response = post(client, license, {"amount": amount})

    assert response.status_code in (200, 400, 402, 422)
    taken = amount if response.status_code == 200 else 0
    assert state(license)[:2] == (100 - taken, 0)


@few
@given(body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_refused_without_a_trace(client, new_license, state, body):
    license = new_license(credits=100)

    assert post(client, license, body).status_code in (400, 422)
    assert state(license) == (100, 0, 1)


@pytest.mark.parametrize(
    ("unknown", "suspended", "expired", "replayed", "amount", "code"),
    [
        (True, True, True, False, "1", "validation_failed"),
        (True, True, True, False, 0, "amount_invalid"),
        (True, True, True, True, 11, "license_invalid"),
        (False, True, True, True, 11, "idempotency_key_reused"),
        (False, True, True, False, 13, "license_inactive"),
        (False, False, True, False, 13, "license_expired"),
        (False, False, False, False, 13, "insufficient_credits"),
    ],
)
def test_which_error_wins(
    client, owner, new_license, problem, sql, unknown, suspended, expired, replayed, amount, code
):
    license = new_license(credits=12)
    if replayed:
        post(client, license, {"amount": 2}, **{"Idempotency-Key": "k"})
    if expired:
        sql("UPDATE obol.licenses SET expires_at = %s", (PAST,))
    if suspended:
        licenses.set_status(owner, license.id, "suspended")
    headers = {"Authorization": f"Bearer {NO_KEY}"} if unknown else {}

    problem(post(client, license, {"amount": amount}, **{"Idempotency-Key": "k"}, **headers), code)


def test_the_same_key_gives_the_same_bytes_and_charges_once(client, new_license, state):
    license = new_license(credits=100)
    key = {"Idempotency-Key": "once"}
    first = post(client, license, {"amount": 40}, **key)
    post(client, license, {"amount": 1})

    again = post(client, license, {"amount": 40}, **key)

    assert (again.status_code, again.data) == (200, first.data)
    assert state(license) == (59, 0, 3)


def test_a_refunded_deduction_is_gone(client, owner, new_license, problem, state):
    license = new_license(credits=100)
    key = {"Idempotency-Key": "once"}
    first = post(client, license, {"amount": 40}, **key).get_json()
    operator.refund(owner, license.id, UUID(first["id"]), reason="sorry")

    problem(post(client, license, {"amount": 40}, **key), "answer_gone")
    assert state(license) == (100, 0, 3)


def test_a_replay_needs_no_license_that_is_still_good(client, owner, new_license, sql):
    license = new_license(credits=100)
    key = {"Idempotency-Key": "once"}
    first = post(client, license, {"amount": 100}, **key)
    licenses.set_status(owner, license.id, "suspended")
    sql("UPDATE obol.licenses SET expires_at = %s", (PAST,))

    assert post(client, license, {"amount": 100}, **key).data == first.data


@pytest.mark.parametrize(
    ("body", "headers"),
    [({"amount": 41}, {}), ({"amount": 40, "reference": "x"}, {}), ({"amount": 40}, {"anthropic-version": "2"})],
)
def test_the_same_key_with_another_payload_is_refused(client, new_license, problem, state, body, headers):
    license = new_license(credits=100)
    post(client, license, {"amount": 40}, **{"Idempotency-Key": "k"})

    problem(post(client, license, body, **{"Idempotency-Key": "k"}, **headers), "idempotency_key_reused")
    assert state(license) == (60, 0, 2)


def test_the_same_key_at_another_resource_is_refused(client, new_license, problem):
    license = new_license(credits=100)
    post(client, license, {"amount": 40}, **{"Idempotency-Key": "k"})

    response = client.post("/api/v1/holds", json={"amount": 40}, headers={**license.headers, "Idempotency-Key": "k"})
    problem(response, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "käse", "tab\tbed"])
def test_an_idempotency_key_that_cannot_be_one(client, new_license, problem, state, key):
    license = new_license()

    document = problem(post(client, license, {"amount": 1}, **{"Idempotency-Key": key}), "validation_failed")
    assert document["errors"][0]["field"] == "Idempotency-Key"
    assert state(license) == (1000, 0, 1)


@few
@given(key=st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n"), max_size=300))
def test_any_idempotency_key_is_taken_or_refused(client, new_license, state, key):
    license = new_license(credits=100)

    response = post(client, license, {"amount": 1}, **{"Idempotency-Key": key})

    assert response.status_code in (200, 422)
    assert state(license)[0] == (99 if response.status_code == 200 else 100)
