"""/healthz and /readyz."""

import pytest


def test_the_process_answers(client):
    response = client.get("/healthz")
    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})


def test_the_process_answers_without_a_database(make_client, refusing_url):
    database_url = refusing_url.replace("http://", "postgresql://nobody@") + "/none"
    client = make_client(DATABASE_URL=database_url)

    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json() == {"status": "not ready", "reason": "The database could not be reached. Ask again."}


def test_ready_at_the_newest_migration(client, sql):
    response = client.get("/readyz")

    ((revision,),) = sql("SELECT version_num FROM obol.alembic_version")
    assert (response.status_code, response.get_json()) == (200, {"status": "ready", "revision": revision})


@pytest.mark.parametrize(
    ("statement", "at"),
    [
        ("UPDATE obol.alembic_version SET version_num = '0000'", "0000"),
        ("DELETE FROM obol.alembic_version", "None"),
    ],
)
def test_not_ready_at_another_migration(client, sql, statement, at):
    sql(statement)

    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["status"] == "not ready"
    assert f"at migration {at}, this release at" in response.get_json()["reason"]


def test_not_ready_on_an_empty_database(make_client, empty_database):
    response = make_client(DATABASE_URL=empty_database.service).get("/readyz")
    assert (response.status_code, response.get_json()["status"]) == (503, "not ready")
