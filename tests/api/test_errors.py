"""What is common to all errors: their shape, which of them wins, bodies that are too large, and a
database that is busy or gone."""

import io
import json
import threading

import pytest
from calls import PAST
from factories import wait_until
from werkzeug.exceptions import BadRequest, ImATeapot

import service
from service import keys
from service.problems import BY_CODE

DEDUCTIONS, GENERATE = "/api/v1/deductions", "/api/v1/generate"
MEBIBYTE = 1024 * 1024
JSON = "application/json"


class CountingStream(io.RawIOBase):
    """A body that is never in memory at once; `given` says how much of it was read."""

    def __init__(self, size):
        self.size, self.given = size, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        length = min(len(buffer), self.size - self.given)
        buffer[:length] = b"a" * length
        self.given += length
        return length


def send(client, path, license, stream, chunked, content_type=JSON):
    length = {"wsgi.input_terminated": True} if chunked else {"CONTENT_LENGTH": str(stream.size)}
    return client.post(
        path,
        content_type=content_type,
        headers=license.headers if license else None,
        environ_overrides={"wsgi.input": stream, **length},
    )


def test_the_contract_is_the_whole_table(problem):
    status = problem.__globals__["STATUS"]
    assert {code: row.status for code, row in BY_CODE.items()} == status


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(("path", "limit"), [(DEDUCTIONS, MEBIBYTE), (GENERATE, 32 * MEBIBYTE)])
def test_a_body_over_the_limit_is_refused_and_read_no_further(
    client, new_license, problem, state, upstream, path, limit, chunked
):
    license, stream = new_license(), CountingStream(limit + 100_000)

    document = problem(send(client, path, license, stream, chunked), "payload_too_large")
    assert document["limit_bytes"] == limit
    assert limit < stream.given <= limit + 65536
    assert state(license) == (1000, 0, 1)
    assert upstream.calls == 0


@pytest.mark.parametrize(("too_much", "status"), [(0, 200), (1, 413)])
def test_the_limit_is_exact(client, new_license, too_much, status):
    body = b'{"amount": 1}'.ljust(MEBIBYTE + too_much)
    response = client.post(DEDUCTIONS, data=body, content_type=JSON, headers=new_license().headers)
    assert response.status_code == status


def test_a_prompt_of_two_megabytes_is_read(client, new_license, problem, upstream):
    response = client.post(GENERATE, json={"prompt": "a" * 2_000_000}, headers=new_license(credits=255).headers)
    assert problem(response, "insufficient_credits")["required"] == 2_000_000 + 32 + 256

    # Counted it is less, and still too dear.
    prompt = "[sandbox input_tokens=500000]" + "a" * 2_000_000
    response = client.post(GENERATE, json={"prompt": prompt}, headers=new_license().headers)
    assert problem(response, "insufficient_credits")["required"] == 500_000 + 50_000 + 32 + 256
    assert (upstream.count_calls, upstream.calls) == (1, 0)


def test_the_type_is_judged_before_the_size_and_the_size_before_the_shape(client, new_license, problem):
    license = new_license()
    problem(
        send(client, DEDUCTIONS, license, CountingStream(2 * MEBIBYTE), False, "text/plain"), "unsupported_media_type"
    )
    problem(send(client, DEDUCTIONS, license, CountingStream(2 * MEBIBYTE), False), "payload_too_large")
    problem(send(client, DEDUCTIONS, license, CountingStream(20), False), "malformed_request")


def test_a_body_that_ends_before_its_length_is_not_taken(client, new_license, problem, state):
    license, whole = new_license(), b'{"amount": 1}'
    # As gunicorn hands it over.
    environ = {"wsgi.input": io.BytesIO(whole), "wsgi.input_terminated": True, "CONTENT_LENGTH": "14"}

    response = client.post(DEDUCTIONS, content_type=JSON, headers=license.headers, environ_overrides=environ)
    assert problem(response, "malformed_request")["detail"] == "The body ends after 13 of 14 bytes."
    assert state(license) == (1000, 0, 1)


ALONE, WITH_V1, OPENAI = "without /v1", "with /v1 at its end", "API of OpenAI"
OFFERED = "POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/messages", WITH_V1),
        ("/messages/count_tokens", WITH_V1),
        ("/models", WITH_V1),
        ("/v1/v1/messages", ALONE),
        ("/v1/v1/messages/count_tokens", ALONE),
        ("/v1/v1/models", ALONE),
        ("/api/v1/messages", ALONE),
        ("/api/v1/v1/messages", ALONE),
        ("/anthropic/v1/messages", ALONE),
        ("/v1/chat/completions", OPENAI),
        ("/chat/completions", OPENAI),
        ("/v1/responses", OPENAI),
        ("/v1/embeddings", OPENAI),
        ("/v1/messages/batches", OFFERED),
        ("/v1/messages/batches/b/results", OFFERED),
        ("/v1/files", OFFERED),
        ("/v1/messages/", OFFERED),
        ("/v1/complete", OFFERED),
        ("/v1", OFFERED),
        ("/message", "/docs and /openapi.json list"),
        ("/api/v1/nothing", "/docs and /openapi.json list"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_a_client_built_wrong_says_what_to_set(client, problem, wire_error, path, hint, method):
    response = client.open(base_url="http://localhost", path=path, method=method)
    if path.startswith("/v1/"):
        wire_error(response, "not_found")
        assert response.get_json()["error"]["type"] == "not_found_error"
        assert hint in response.get_json()["error"]["message"]
    else:
        assert hint in problem(response, "not_found")["detail"]


@pytest.mark.parametrize(
    ("path", "length", "code"),
    [
        (GENERATE, 65536, "malformed_request"),
        (GENERATE, 65537, "license_invalid"),
        ("/v1/messages", 65536, "malformed_request"),
        ("/v1/messages", 65537, "license_invalid"),
        ("/v1/messages/count_tokens", 65537, "license_invalid"),
        (DEDUCTIONS, 65536, "malformed_request"),
        (DEDUCTIONS, 65537, "license_invalid"),
    ],
)
def test_nobody_else_s_large_body_is_parsed(client, new_license, path, length, code):
    unknown = keys.make(new_license().id).license_key

    for key in (unknown, "obol_bad"):
        response = client.post(path, data=b"[" * length, content_type=JSON, headers={"x-api-key": key})
        assert code in response.get_data(as_text=True)
    license = new_license()
    response = client.post(path, data=b"[" * length, content_type=JSON, headers=license.headers)
    assert "malformed_request" in response.get_data(as_text=True)


@pytest.mark.parametrize(
    "path",
    ["/problems/nothing", "/nothing", "/api/v1", "/api/v1/license/", "/api//v1/license", "/api/v1/holds/x/settle"],
)
def test_there_is_nothing_here(client, problem, path):
    problem(client.get(path), "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", DEDUCTIONS, {"POST", "OPTIONS"}), ("POST", "/api/v1/license", {"GET", "HEAD", "OPTIONS"})],
)
def test_a_method_that_is_not_taken(client, problem, method, path, allow):
    response = client.open(path, method=method)
    problem(response, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == allow


def test_what_nobody_thought_of_is_opaque(app, client, new_license, problem, logged, monkeypatch):
    def explode(*args, **kwargs):
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("service.repository.ledger.deduct", explode)
    response = client.post(DEDUCTIONS, json={"amount": 1}, headers=new_license().headers)

    problem(response, "internal_error")
    assert b"secret" not in response.data
    (line,) = [line for line in logged if line["event"] == "internal_error"]
    assert line["error"] == "RuntimeError"
    assert "secret" not in json.dumps(line)
    assert line["request_id"] == response.headers["request-id"]


def test_an_http_error_that_is_not_in_the_table_is_opaque(own_app, problem):
    @own_app.get("/teapot")
    def teapot():
        raise ImATeapot

    problem(own_app.test_client().get("/teapot"), "internal_error")


def test_a_bad_request_of_the_server_s_own_is_a_problem(own_app, problem):
    @own_app.get("/bad")
    def bad():
        raise BadRequest("the server's own words")

    assert problem(own_app.test_client().get("/bad"), "malformed_request")["detail"] == "The request cannot be read."


def test_a_row_that_stays_locked_is_worth_another_try(client, new_license, problem, sql, state, lock):
    license = new_license()
    sql("ALTER FUNCTION obol.deduct SET lock_timeout = '100ms'")
    locked = lock()

    response = client.post(DEDUCTIONS, json={"amount": 1}, headers=license.headers)
    problem(response, "database_error", retry_after="1")
    locked.close()
    assert state(license) == (1000, 0, 1)


def test_no_connection_in_time_is_over_capacity(make_client, new_license, problem, sql, state, monkeypatch, lock):
    monkeypatch.setattr(service, "CALL_WAIT_S", 0.2)
    client, license, other = make_client(OBOL_POOL_SIZE="1"), new_license(), new_license()
    locked = lock()

    def deduct(license):
        return client.application.test_client().post(DEDUCTIONS, json={"amount": 1}, headers=license.headers)

    first = threading.Thread(target=deduct, args=(license,))
    first.start()
    wait_until(
        lambda: sql("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"),
        what="the first call's wait",
    )
    problem(deduct(other), "over_capacity", retry_after="1")
    locked.close()
    first.join()
    assert (state(license), state(other)) == ((999, 0, 2), (1000, 0, 1))


def test_without_a_database_a_client_is_told_to_ask_again(make_client, new_license, problem, refusing_url):
    database_url = refusing_url.replace("http://", "postgresql://nobody:a-password@") + "/none"
    client = make_client(DATABASE_URL=database_url)

    for path, body in ((DEDUCTIONS, {"amount": 1}), (GENERATE, {"prompt": "a"})):
        response = client.post(path, json=body, headers=new_license().headers)
        problem(response, "over_capacity", retry_after="1")
        assert b"a-password" not in response.data


def test_an_error_of_the_database_that_has_no_code_here_is_opaque(client, new_license, problem, sql, state):
    license = new_license()
    sql("ALTER TABLE obol.ledger_entries ADD CONSTRAINT no_sevens CHECK (amount <> -7)")

    response = client.post(DEDUCTIONS, json={"amount": 7}, headers=license.headers)
    problem(response, "database_error")
    assert b"no_sevens" not in response.data
    assert state(license) == (1000, 0, 1)


def test_a_body_that_comes_too_slowly_is_given_up(client, new_license, problem, monkeypatch):
    monkeypatch.setattr("service.http.body.BODY_GRACE_S", -1)
    monkeypatch.setattr("service.http.body.LEAST_BYTES_PER_S", 1e12)

    response = client.post(DEDUCTIONS, json={"amount": 1}, headers=new_license().headers)

    assert "in time" in problem(response, "malformed_request")["detail"]


def test_a_large_body_is_parsed_only_for_a_license_that_exists(client, new_license, problem):
    body = b"[" + b"0," * 1024 * 1024 + b"0]"
    unknown = {"Authorization": "Bearer nothing", "Content-Type": "application/json"}

    problem(client.post(GENERATE, data=body, headers=unknown), "license_invalid")
    known = new_license().headers | {"Content-Type": "application/json"}
    problem(client.post(GENERATE, data=body, headers=known), "malformed_request")


LARGE = b'{"amount": 1}'.ljust(65537)
IDEMPOTENCY_KEY = {"Idempotency-Key": "k"}


def test_a_large_body_is_for_a_license_that_can_pay(client, new_license, problem, sql):
    def deduct(license):
        return client.post(DEDUCTIONS, data=LARGE, content_type=JSON, headers=license.headers)

    poor, expired, suspended = new_license(credits=0), new_license(expires_at=PAST), new_license()
    sql("UPDATE obol.licenses SET status = 'suspended' WHERE license_id = %s", (str(suspended.id),))

    # The JSON is not looked at, though it is as it should be.
    document = problem(deduct(poor), "insufficient_credits")
    assert (document["required"], document["available"]) == (1, 0)
    problem(deduct(expired), "license_expired")
    problem(deduct(suspended), "license_inactive")
    assert deduct(new_license()).status_code == 200


def test_a_large_body_replays_for_a_license_that_has_expired_since(client, new_license, problem, sql):
    license = new_license(credits=1)
    keyed = license.headers | IDEMPOTENCY_KEY
    assert client.post(DEDUCTIONS, data=LARGE, content_type=JSON, headers=keyed).get_json()["balance"] == 0
    sql("UPDATE obol.licenses SET expires_at = now() - interval '1 day'")

    assert client.post(DEDUCTIONS, data=LARGE, content_type=JSON, headers=keyed).get_json()["balance"] == 0
    problem(client.post(DEDUCTIONS, data=LARGE, content_type=JSON, headers=license.headers), "license_expired")


def test_a_large_body_ends_a_hold_that_holds_all_credits(client, new_license):
    license = new_license(credits=1)
    opened = client.post("/api/v1/holds", json={"amount": 1}, headers=license.headers).get_json()

    path = f"/api/v1/holds/{opened['id']}/settle"
    assert client.post(path, data=LARGE, content_type=JSON, headers=license.headers).get_json()["balance"] == 0


@pytest.mark.parametrize("where", ["body", "query"])
def test_of_a_thousand_fields_that_are_wrong_twenty_are_named(client, new_license, problem, where):
    names = {f"{number:04}{'x' * 1000}": 1 for number in range(1000)}
    if where == "body":
        response = client.post(DEDUCTIONS, json={"amount": 1, **names}, headers=new_license().headers)
    else:
        few = dict.fromkeys((f"{number:02}{'x' * 200}" for number in range(25)), 1)
        response = client.get("/api/v1/license/entries", query_string=few, headers=new_license().headers)

    document = problem(response, "validation_failed")
    assert len(document["errors"]) == 20
    assert all(len(error["field"]) == 100 for error in document["errors"])
    assert document["detail"].endswith(f"; and {980 if where == 'body' else 5} more")
    assert len(response.data) < 10_000


def test_what_is_wrong_in_a_list_is_named_by_its_number(client, new_license, wire_error):
    message = {"role": "user", "content": "Hi"}
    body = {"model": "m", "max_tokens": 1, "messages": [message, None]}

    details = wire_error(client.post("/v1/messages", json=body, headers=new_license().headers), "validation_failed")
    assert details["errors"] == [{"field": "messages.1", "message": "Field may not be null."}]
