"""What a call costs the database: one statement a deduction, two a generation."""

import pytest
from sqlalchemy import event


@pytest.fixture
def statements(app, client, new_license):
    """The statements that the pool of the application runs, with the price book read already."""
    services = app.extensions["obol"]
    services.leases.beat()
    client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=new_license().headers)
    ran = []
    event.listen(services.database._engine, "before_cursor_execute", lambda *event: ran.append(event[2]))
    return ran


def test_a_deduction_is_one(client, new_license, statements):
    headers = new_license().headers | {"Idempotency-Key": "k"}

    assert client.post("/api/v1/deductions", json={"amount": 1}, headers=headers).status_code == 200
    assert len(statements) == 1


def test_a_refused_deduction_is_one(client, new_license, statements):
    assert client.post("/api/v1/deductions", json={"amount": 9999}, headers=new_license().headers).status_code == 402
    assert len(statements) == 1


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


def test_an_answer_given_again_is_one(client, new_license, statements):
    headers = new_license().headers | {"Idempotency-Key": "k"}
    client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=headers)
    statements.clear()

    assert client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=headers).status_code == 200
    assert len(statements) == 1
