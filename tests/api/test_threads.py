"""One license and its threads: what counts, for whom, and until when."""

import json

import pytest

from service import keys
from service.http.services import services_of

LICENSE = "/api/v1/license"
STREAM = {"prompt": "Hi", "max_tokens": 9, "stream": True}


@pytest.fixture
def client(make_client):
    """A client of a process in which a license has four threads."""
    return make_client(OBOL_THREADS_PER_LICENSE="4")


@pytest.fixture
def taken(client):
    """`taken()`: how many threads are counted, for anybody."""
    return lambda: sum(services_of(client.application).threads._taken.values())


@pytest.fixture
def open_stream(client):
    """`open_stream(license)`: a stream of which nothing was read."""
    opened = []

    def ask(license):
        opened.append(client.post("/api/v1/generate", json=STREAM, headers=license.headers))
        return opened[-1]

    yield ask
    for response in opened:
        response.close()


def test_a_stream_has_its_thread_until_it_is_closed(client, open_stream, new_license, problem, wire_error, taken):
    license = new_license()
    streams = [open_stream(license) for _ in range(4)]
    assert [stream.status_code for stream in streams] == [200] * 4

    refused = client.get(LICENSE, headers=license.headers, buffered=True)
    document = problem(refused, "limit_exceeded", retry_after="1")
    assert {name: document[name] for name in ("limit", "limit_value", "used", "retry_after_s")} == {
        "limit": "threads", "limit_value": 4, "used": 4, "retry_after_s": 1,
    }  # fmt: skip
    for path in ("/v1/models", "/v1/models/m"):
        wire_error(client.get(path, headers=license.headers, buffered=True), "limit_exceeded", retry_after="1")
    assert client.get(LICENSE, headers=new_license().headers, buffered=True).status_code == 200

    streams[0].close()
    assert client.get(LICENSE, headers=license.headers, buffered=True).status_code == 200
    for stream in streams:
        stream.close()
    assert taken() == 0


@pytest.mark.parametrize("code", ["malformed_request", "license_invalid", "insufficient_credits"])
def test_what_is_refused_gives_its_thread_back(client, new_license, taken, code):
    license = new_license(credits=0)
    headers = license.headers if code != "license_invalid" else {"x-api-key": keys.make(license.id).license_key}
    body = b"{" if code == "malformed_request" else json.dumps(STREAM).encode()
    for _ in range(6):
        response = client.post(
            "/api/v1/generate", data=body, content_type="application/json", headers=headers, buffered=True
        )
        assert response.get_json()["code"] == code
    assert taken() == 0


def test_forged_keys_shut_nobody_out(client, open_stream, new_license, taken):
    license = new_license()
    threads = services_of(client.application).threads
    for _ in range(20):
        forged = keys.make(license.id)
        # As if each of them were waiting for the database.
        threads.take(forged.digest)

    assert open_stream(license).status_code == 200


def test_a_key_with_many_calls_that_was_never_found_good_is_looked_up(client, new_license, monkeypatch, problem):
    license = new_license()
    threads = services_of(client.application).threads
    unknown = keys.make(license.id)
    for key in (license.key, unknown.digest):
        threads.take(key)

    refused = client.get(LICENSE, headers={"x-api-key": unknown.license_key}, buffered=True)
    problem(refused, "license_invalid")
    # The good one goes on, and is known from now on.
    assert client.get(LICENSE, headers=license.headers, buffered=True).status_code == 200
    assert not threads.is_in_doubt(license.key)


def test_a_key_that_was_rotated_away_counts_for_its_license_no_more(client, new_license, sql, problem):
    license = new_license()
    threads = services_of(client.application).threads
    assert client.get(LICENSE, headers=license.headers, buffered=True).status_code == 200
    threads.take(license.key)
    assert not threads.is_in_doubt(license.key)
    sql("DELETE FROM obol.license_keys")

    problem(client.get(LICENSE, headers=license.headers, buffered=True), "license_invalid")

    assert threads.is_in_doubt(license.key)
