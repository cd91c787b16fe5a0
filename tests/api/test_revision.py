"""A database that is not at this release's revision: nothing is sold, and what is in flight is settled."""

import pytest
from calls import requests_in

from service.http.services import services_of
from service.lease import BEATS_PER_LEASE

GENERATE, MESSAGES = "/api/v1/generate", "/v1/messages"
BODY = {"model": "m", "max_tokens": 9, "messages": []}


@pytest.fixture
def downgrade(app, sql):
    """`downgrade()`: an older schema is there while this release serves, and the heartbeat has seen it."""

    def begin():
        sql("UPDATE obol.alembic_version SET version_num = '0000'")
        services_of(app).lease.beat()

    return begin


def retry_after(app):
    return str(round(services_of(app).lease._lease_s / BEATS_PER_LEASE))


@pytest.mark.parametrize("stream", [False, True])
def test_no_answer_is_sold(app, client, new_license, downgrade, upstream, sql, problem, wire_error, stream):
    license = new_license()
    downgrade()

    response = client.post(GENERATE, json={"prompt": "a", "stream": stream}, headers=license.headers)
    assert "at migration 0000" in problem(response, "over_capacity", retry_after(app))["detail"]
    response = client.post(MESSAGES, json=BODY | {"stream": stream}, headers=license.headers)
    wire_error(response, "over_capacity", retry_after(app))
    assert upstream.received == []
    assert sql("SELECT count(*) FROM obol.holds") == [(0,)]


def test_no_credits_are_set_aside(app, client, new_license, downgrade, problem):
    license = new_license()
    downgrade()

    problem(
        client.post("/api/v1/holds", json={"amount": 5}, headers=license.headers), "over_capacity", retry_after(app)
    )
    # A deduction is one call: it is done or it is not.
    assert client.post("/api/v1/deductions", json={"amount": 5}, headers=license.headers).status_code == 200


def test_a_stream_that_has_begun_is_paid_for(client, new_license, downgrade, logged):
    license = new_license()
    response = client.post(GENERATE, json={"prompt": "a", "stream": True}, headers=license.headers)
    downgrade()

    assert b"event: done" in response.data
    response.close()
    (line,) = requests_in(logged)
    assert line["credits"] > 0


def test_once_it_is_migrated_answers_are_sold_again(app, client, new_license, downgrade, sql):
    license = new_license()
    ((head,),) = sql("SELECT version_num FROM obol.alembic_version")
    downgrade()
    assert client.post(GENERATE, json={"prompt": "a"}, headers=license.headers).status_code == 503
    sql("UPDATE obol.alembic_version SET version_num = %s", (head,))
    services_of(app).lease.beat()
    assert client.post(GENERATE, json={"prompt": "a"}, headers=license.headers).status_code == 200
