"""What a call costs the database: one statement a deduction, two a generation, whole or streamed."""

import re

import pytest

from service import operator
from service.http.services import services_of


@pytest.fixture
def statements(app, client, new_license, statements):
    """The statements that the pool of the application runs, with the price book read already."""
    services_of(app).lease.beat()
    client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=new_license().headers)
    statements.clear()
    return statements


def test_a_deduction_is_one(client, new_license, statements):
    headers = new_license().headers | {"Idempotency-Key": "k"}

    assert client.post("/api/v1/deductions", json={"amount": 1}, headers=headers).status_code == 200
    assert len(statements) == 1


def test_a_refused_deduction_is_one(client, new_license, statements):
    assert client.post("/api/v1/deductions", json={"amount": 9999}, headers=new_license().headers).status_code == 402
    assert len(statements) == 1


def test_a_deduction_asked_again_is_one(client, new_license, statements):
    headers = new_license().headers | {"Idempotency-Key": "k"}
    client.post("/api/v1/deductions", json={"amount": 1}, headers=headers)
    statements.clear()

    assert client.post("/api/v1/deductions", json={"amount": 1}, headers=headers).status_code == 200
    assert len(statements) == 1


def test_a_batch_is_one_beside_those_for_the_token_and_for_where_the_licenses_are(
    client, new_license, new_token, statements
):
    ids = [str(new_license().id) for _ in range(3)]
    items = [{"license_id": license_id, "amount": 1, "idempotency_key": "k"} for license_id in ids]
    headers = {"Authorization": f"Bearer {new_token('grant')}"}

    assert client.post("/api/v1/deductions/batch", json={"items": items}, headers=headers).status_code == 200
    assert [statement.split("(")[0].strip() for statement in statements] == [
        "SELECT obol.check_token",
        "SELECT EXISTS",
        "SELECT * FROM obol.deduct_batch",
    ]


def test_a_generation_is_two(client, new_license, statements):
    headers = new_license().headers | {"Idempotency-Key": "k"}

    assert client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=headers).status_code == 200
    assert [statement.split("(")[0] for statement in statements] == [
        "SELECT * FROM obol.open_hold",
        "SELECT * FROM obol.settle_hold",
    ]


def test_a_failed_generation_is_two(client, new_license, statements):
    prompt = {"prompt": "[sandbox status=500]"}

    assert client.post("/api/v1/generate", json=prompt, headers=new_license().headers).status_code == 502
    assert len(statements) == 2


OPENED_AND_SETTLED = ["SELECT * FROM obol.open_hold", "SELECT * FROM obol.settle_hold"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("keyed", [False, True])
def test_a_message_is_two(send, new_license, statements, stream, keyed):
    assert send(new_license(), headers={"Idempotency-Key": "k"} if keyed else {}, stream=stream).status_code == 200
    assert [statement.split("(")[0] for statement in statements] == OPENED_AND_SETTLED


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_that_is_refused_is_one(send, new_license, statements, stream):
    assert send(new_license(credits=1), stream=stream).status_code == 402
    assert [statement.split("(")[0] for statement in statements] == OPENED_AND_SETTLED[:1]


@pytest.mark.parametrize("directive", ["status=500", "cut_after=3", "refusal"])
def test_a_message_that_cost_nothing_is_two(send, new_license, statements, directive):
    send(new_license(), f"[sandbox {directive}]", stream=True)
    assert [statement.split("(")[0] for statement in statements] == [
        "SELECT * FROM obol.open_hold",
        "SELECT * FROM obol.release_hold",
    ]


def test_a_message_that_is_counted_is_three(send, new_license, statements):
    image = {"type": "image", "source": {"type": "base64", "data": "AA"}}
    assert send(new_license(credits=10_000), [image]).status_code == 200
    assert [statement.split("(")[0] for statement in statements] == [
        "SELECT * FROM obol.check_admission",
        *OPENED_AND_SETTLED,
    ]


def test_a_message_whose_bytes_are_too_dear_is_three(send, new_license, statements):
    assert send(new_license(), "[sandbox input_tokens=30]" + "a" * 1000).status_code == 200
    assert [statement.split("(")[0] for statement in statements] == [OPENED_AND_SETTLED[0], *OPENED_AND_SETTLED]


@pytest.mark.parametrize(("length", "asked_first"), [(65536, []), (65537, ["SELECT * FROM obol.find_license"])])
def test_for_a_large_body_the_license_is_asked_for_first(send, new_license, statements, length, asked_first):
    raw = b'{"model": "m", "max_tokens": 9, "messages": []}'.ljust(length)
    assert send(new_license(credits=100_000), raw=raw).status_code == 200
    assert [statement.split("(")[0] for statement in statements] == asked_first + OPENED_AND_SETTLED


def test_a_message_that_is_refused_for_what_it_says_is_none(send, new_license, statements):
    assert send(new_license(), container="c").status_code == 422
    assert statements == []


def test_a_stream_given_again_is_one(send, new_license, statements):
    license, key = new_license(), {"Idempotency-Key": "k"}
    send(license, headers=key, stream=True)
    statements.clear()

    assert send(license, headers=key, stream=True).headers["obol-replayed"] == "true"
    assert len(statements) == 1


def test_a_count_is_one(client, new_license, statements):
    headers = new_license().headers
    assert client.post("/v1/messages/count_tokens", json={"messages": []}, headers=headers).status_code == 200
    assert [statement.split("(")[0] for statement in statements] == ["SELECT * FROM obol.check_license"]


def test_an_answer_given_again_is_one(client, new_license, statements):
    headers = new_license().headers | {"Idempotency-Key": "k"}
    client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=headers)
    statements.clear()

    assert client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=headers).status_code == 200
    assert len(statements) == 1


BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def look(client, new_token, statements):
    """`look(path)`: how many statements a page of the console is, for who is logged in."""
    form = client.get("/console/login", headers=BROWSER).get_data(as_text=True)
    data = {"token": new_token("read"), "csrf": re.search('name="csrf" value="([^"]+)"', form)[1], "next": ""}
    assert client.post("/console/login", data=data, headers=BROWSER).status_code == 303

    def count(path):
        statements.clear()
        assert client.get(path, headers=BROWSER).status_code == 200
        return len(statements)

    return count


@pytest.mark.parametrize(
    ("path", "expected"), [("/console", 6), ("/console/licenses", 2), ("/console/licenses/{}", 16)]
)
def test_a_page_of_the_console_asks_as_often_whatever_there_is(client, new_license, look, path, expected):
    license = new_license(credits=1000)
    page = path.format(license.id)
    assert look(page) == expected
    for _ in range(3):
        client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)
        new_license()
    assert look(page) == expected


def test_the_overview_waits_for_few_grants_that_have_ended(new_license, look, sql, monkeypatch):
    monkeypatch.setattr(operator, "MOST_CAUGHT_UP", 2)
    # With that of the fixture they are five.
    for _ in range(4):
        new_license()
    sql("UPDATE obol.licenses SET next_change_at = now() - interval '1 second'")
    assert [look("/console") for _ in range(4)] == [6 + 2, 6 + 2, 6 + 1, 6]
