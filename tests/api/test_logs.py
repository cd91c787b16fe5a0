"""One line a request, request ids, and that keys, prompts and answers are nowhere."""

import json
import re
import threading
from collections import Counter

import pytest
from calls import event, message, requests_in
from factories import wait_until

from service import keys, server
from service.http.services import services_of

GENERATE, DEDUCTIONS, MESSAGES = "/api/v1/generate", "/api/v1/deductions", "/v1/messages"


def test_one_line_a_request(client, new_license, logged):
    license = new_license()

    response = client.post(GENERATE, json={"prompt": "Hi", "model": "m"}, headers=license.headers, buffered=True)

    (line,) = requests_in(logged)
    answer = response.get_json()
    assert line["request_id"] == response.headers["request-id"]
    assert line["license_id"] == str(license.id)
    assert (line["method"], line["route"], line["status"]) == ("POST", GENERATE, 200)
    assert line["credits"] == answer["credits"]["charged"]
    assert (line["hold_id"], line["model"]) == (answer["id"], "sandbox/m")
    assert 0 <= line["upstream_ms"] <= line["duration_ms"]
    assert line["delivery_ms"] >= 0


@pytest.mark.parametrize("path", [MESSAGES, GENERATE])
@pytest.mark.parametrize(
    ("directive", "model"),
    [("cut_after=0", ""), ("garbage", ""), ("cut_after=1", "sandbox/m"), ("error_after=5", "sandbox/m"),
     ("refusal", "sandbox/m"), ("output_tokens=3", "sandbox/m")],
)  # fmt: skip
def test_the_model_of_a_stream_is_the_one_that_answered(client, new_license, logged, path, directive, model):
    prompt = f"[sandbox {directive}]"
    body = {"prompt": prompt} if path == GENERATE else {"messages": [{"content": prompt}]}
    body |= {"model": "m", "max_tokens": 50, "stream": True}
    client.post(path, json=body, headers=new_license().headers, buffered=True)

    assert [line["model"] for line in requests_in(logged)] == [model]


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_of_a_fallback_is_the_one_that_answered(send, new_license, logged, stream):
    license = new_license(credits=10_000)
    for directive in ("decline", "decline_after=5", "output_tokens=3"):
        send(license, f"[sandbox {directive}]", fallbacks=[{"model": "b"}], stream=stream)

    assert [line["model"] for line in requests_in(logged)] == ["sandbox/b", "sandbox/b", "sandbox/m"]


def test_a_stream_that_did_not_begin_was_answered_by_nobody(send, new_license, logged):
    send(new_license(), "[sandbox status=529]", stream=True)
    send(new_license(credits=0), stream=True)
    assert [line.get("model") for line in requests_in(logged)] == [None, None]


FIGURES = ("status", "credits", "replayed", "delivered", "code")


@pytest.mark.parametrize("path", [MESSAGES, GENERATE])
@pytest.mark.parametrize("stream", [False, True])
def test_the_lines_of_an_answer_and_of_its_replay(client, new_license, logged, sql, path, stream):
    license = new_license()
    prompt = "[sandbox input_tokens=30]"
    body = {"prompt": prompt} if path == GENERATE else {"model": "m", "messages": [{"content": prompt}]}
    for _ in range(2):
        headers = {**license.headers, "Idempotency-Key": "k"}
        response = client.post(path, json=body | {"stream": stream, "max_tokens": 50}, headers=headers, buffered=True)

    ((hold_id,),) = sql("SELECT hold_id::text FROM obol.holds")
    first, second = requests_in(logged)
    assert [first.get(name) for name in FIGURES] == [200, 40, False, True, None]
    assert [second.get(name) for name in FIGURES] == [200, 0, True, True, None]
    model = "sandbox/m" if path == MESSAGES else "sandbox/claude-sonnet-5-5"
    for line in (first, second):
        assert (line["route"], line["license_id"], line["hold_id"]) == (path, str(license.id), hold_id)
        assert line["model"] == model
    assert second["request_id"] == response.headers["request-id"] != first["request_id"]


@pytest.mark.parametrize("path", [MESSAGES, GENERATE])
@pytest.mark.parametrize(
    ("directive", "code", "reason"),
    [
        ("cut_after=5", "upstream_error", "upstream_error"),
        ("error_after=5", "upstream_error", "upstream_error"),
        ("end_after=15", "upstream_error", "upstream_error"),
        ("stall_after=5", "upstream_timeout", "upstream_timeout"),
        ("no_usage", "upstream_error", "usage_missing"),
    ],
)
def test_the_lines_of_a_stream_that_breaks_off(make_client, new_license, logged, path, directive, code, reason):
    prompt = f"[sandbox {directive}] [sandbox input_tokens=30]"
    body = {"prompt": prompt} if path == GENERATE else {"model": "m", "messages": [{"content": prompt}]}
    make_client(OBOL_UPSTREAM_TIMEOUT_S="1").post(
        path, json=body | {"stream": True, "max_tokens": 50}, headers=new_license().headers, buffered=True
    )

    (line,) = requests_in(logged)
    assert [line.get(name) for name in FIGURES] == [200, 0, False, True, code]
    losses = [other for other in logged if other["event"] == "operator_loss"]
    # What the upstream has said so far that it used, and may charge us for.
    (loss,) = losses
    assert [loss[name] for name in ("reason", "hold_id", "license_id")] == [reason, line["hold_id"], line["license_id"]]
    is_metered = directive != "no_usage"
    assert loss["upstream_usage"].get("input_tokens") == (30 if is_metered else None)
    # What the client has got of it.
    assert loss["events"] >= 5
    assert loss["bytes"] > 100 * loss["tokens"] > 0
    missing = [other for other in logged if other["event"] == "usage_missing"]
    assert [other["hold_id"] for other in missing] == ([] if is_metered else [line["hold_id"]])
    assert all(other["request_id"] == line["request_id"] for other in logged)


@pytest.mark.parametrize("stream", [False, True])
def test_usage_that_cannot_be_charged_is_logged(make_client, new_license, send, logged, upstream_saying, stream):
    usage = {"input_tokens": 3, "output_tokens": -1, "service_tier": "canary", "more": {"input_tokens": 5}}
    events = [
        event("message_start", message={"model": "m", "usage": usage}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": -1}),
        event("message_stop"),
    ]
    url = upstream_saying(200, events if stream else message(usage=usage))
    send(new_license(), client=make_client(ANTHROPIC_BASE_URL=url), stream=stream)

    told = [(line["event"], line.get("upstream_usage")) for line in logged if line["event"] != "request"]
    # Of what came only counts are logged.
    assert told == [("usage_missing", None), ("operator_loss", {"input_tokens": 3, "output_tokens": -1})]


@pytest.mark.parametrize(
    ("amount", "status", "more"),
    [
        (7, 200, {"credits": 7}),
        (5000, 402, {"code": "insufficient_credits"}),
        ("1", 422, {"code": "validation_failed"}),
    ],
)
def test_the_line_of_a_deduction(client, new_license, logged, amount, status, more):
    client.post(DEDUCTIONS, json={"amount": amount}, headers=new_license().headers, buffered=True)

    (line,) = requests_in(logged)
    assert line["status"] == status
    assert {name: line[name] for name in more} == more
    assert ("credits" in line) == (status == 200)


def test_the_line_of_a_settle(client, new_license, logged):
    license = new_license()
    hold = client.post("/api/v1/holds", json={"amount": 10}, headers=license.headers).get_json()
    client.post(f"/api/v1/holds/{hold['id']}/settle", json={"amount": 4}, headers=license.headers, buffered=True)

    line = requests_in(logged)[-1]
    assert (line["credits"], line["route"]) == (4, "/api/v1/holds/<uuid:hold_id>/settle")


def test_a_path_that_a_client_made_up_is_not_logged(client, logged):
    client.get("/obol_a_key_in_the_wrong_place", buffered=True)

    (line,) = requests_in(logged)
    assert (line["route"], line["status"]) == (None, 404)
    assert "obol_a_key" not in json.dumps(line)


def test_a_sane_request_id_is_taken_over(client, problem):
    for given in ("abc", "a" * 128, "A-Z-0.9:/+=_", "0"):
        response = client.get("/api/v1/license", headers={"x-request-id": given})
        assert response.headers["request-id"] == given
        assert problem(response, "credentials_missing")["instance"] == f"urn:obol:request:{given}"


def test_any_other_request_id_is_replaced(client):
    for given in ("", "a" * 129, "a b", 'a"b', "ä", "a\tb", "<script>", "obol_key", "x-sk-ant-key"):
        response = client.get("/healthz", headers={"x-request-id": given})
        assert re.fullmatch(r"req_[0-9a-f]{32}", response.headers["request-id"]), given


def test_two_requests_have_two_ids(client):
    assert client.get("/healthz").headers["request-id"] != client.get("/healthz").headers["request-id"]


def test_a_login_that_can_do_too_much_is_warned_of(client, make_client, urls, refusing_url, sql, logged):
    # Of the test server's login the statements can be read, which many tests need.
    server._warn_of_excess(services_of(client.application))
    (shown,) = logged
    assert (shown["event"], shown["run_as_superuser"]) == (
        "digests_are_shown",
        ["ALTER ROLE obol_login SET track_activities = off"],
    )
    logged.clear()
    database = urls.service.rpartition("/")[2]
    sql(f"ALTER ROLE obol_login IN DATABASE {database} SET track_activities = off")
    server._warn_of_excess(services_of(make_client().application))
    assert logged == []
    # What it was for this one database goes with it.

    server._warn_of_excess(services_of(make_client(DATABASE_URL=urls.owner).application))
    nowhere = refusing_url.replace("http://", "postgresql://nobody:a-password@") + "/none"
    server._warn_of_excess(services_of(make_client(DATABASE_URL=nowhere).application))
    events = ["login_can_do_too_much", "digests_are_shown", "login_not_checked"]
    assert [line["event"] for line in logged] == events
    assert "a-password" not in json.dumps(logged)


def test_keys_prompts_and_answers_are_in_no_log_and_no_error(serve, new_license):
    license, canary = new_license(), "canary-in-the-prompt"
    bad_key, keyed = keys.make(license.id).license_key, {**license.headers, "Idempotency-Key": "k"}
    rich = new_license(credits=100_000)
    keyed_too = {**rich.headers, "Idempotency-Key": "l"}
    served = serve(OBOL_UPSTREAM_TIMEOUT_S="1")

    def request(content, **more):
        return {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": content}], **more}

    calls = [
        (GENERATE, {"prompt": canary}, keyed, 200),
        (GENERATE, {"prompt": canary}, keyed, 200),
        (GENERATE, {"prompt": canary + "!"}, keyed, 422),
        (GENERATE, {"prompt": f"{canary} [sandbox status=400]", "system": canary}, license.headers, 502),
        (GENERATE, {"prompt": f"{canary} [sandbox close]"}, license.headers, 502),
        (GENERATE, {"prompt": f"{canary} [sandbox garbage]"}, license.headers, 502),
        (GENERATE, {"prompt": f"{canary} [sandbox delay_ms=3000]"}, license.headers, 504),
        (GENERATE, {"prompt": f"{canary} [sandbox input_tokens=5000]"}, license.headers, 200),
        (GENERATE, {"prompt": canary * 1000}, license.headers, 402),
        (GENERATE, {"prompt": [canary]}, license.headers, 422),
        (GENERATE, {"prompt": canary}, {"x-api-key": bad_key}, 403),
        (DEDUCTIONS, {"amount": 1}, {"x-api-key": license.raw_key + "x"}, 403),
        (GENERATE, {"prompt": canary, "stream": True}, rich.headers, 200),
        (GENERATE, {"prompt": f"{canary} [sandbox cut_after=5]", "stream": True}, rich.headers, 200),
        (MESSAGES, request(canary), keyed_too, 200),
        (MESSAGES, request(canary), keyed_too, 200),
        (MESSAGES, request(canary, stream=True), rich.headers, 200),
        (MESSAGES, request(f"{canary} [sandbox error_after=5]", stream=True), rich.headers, 200),
        (MESSAGES, request(f"{canary} [sandbox no_usage]"), rich.headers, 502),
        (MESSAGES, request(f"{canary} [sandbox status=400]"), rich.headers, 400),
        (MESSAGES, request(canary * 1000), license.headers, 402),
        (MESSAGES, request(canary, container=canary), rich.headers, 422),
        (MESSAGES, request(canary, stream=canary), rich.headers, 400),
        (MESSAGES, request(canary, tools=[{"type": "web_search", "name": canary}]), rich.headers, 422),
        (MESSAGES + "/count_tokens", request(canary), rich.headers, 200),
        (MESSAGES, request(canary), {"x-api-key": bad_key}, 401),
    ]
    for path, body, headers, expected in calls:
        status, answer = served.post(path, json.dumps(body).encode(), headers)
        assert (status, canary.encode() in answer) == (expected, False), answer
        assert license.raw_key.encode() not in answer
        assert rich.raw_key.encode() not in answer
        assert bad_key.encode() not in answer
    served.stop()

    routes = {path for path, *_ in calls}
    log = served.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    # A line is written once its answer is, and may come after that of the next call.
    shown = Counter((line["route"], line["status"]) for line in lines if line.get("route") in routes)
    assert shown == Counter((path, expected) for path, *_, expected in calls)
    assert all({"timestamp", "level", "event", "request_id"} <= set(line) for line in lines if "route" in line)
    for secret in (license.raw_key, rich.raw_key, bad_key, canary, "comes from the sandbox", "test-upstream-key"):
        assert secret not in log


@pytest.mark.parametrize(
    ("path", "body", "function"),
    [
        (DEDUCTIONS, {"amount": 1}, "obol.deduct("),
        (GENERATE, {"prompt": "canary", "system": "canary"}, "obol.open_hold("),
        (GENERATE, {"prompt": "canary [sandbox delay_ms=600]"}, "obol.settle_hold("),
        (MESSAGES, {"model": "m", "max_tokens": 9, "messages": [{"content": "canary"}]}, "obol.open_hold("),
        (
            MESSAGES,
            {"model": "m", "max_tokens": 9, "messages": [{"content": "canary [sandbox delay_ms=600]"}]},
            "obol.settle_hold(",
        ),
    ],
)
def test_keys_prompts_and_answers_are_not_in_pg_stat_activity(
    app, new_license, sql, upstream, lock, path, body, function
):
    license, responses = new_license(), []

    def call():
        headers = {**license.headers, "Idempotency-Key": "k"}
        responses.append(app.test_client().post(path, json=body, headers=headers))

    def running():
        statements = (
            "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return [query for (query,) in sql(statements) if function in query]

    if "settle" not in function:
        locked = lock()
    thread = threading.Thread(target=call)
    thread.start()
    if "settle" in function:
        wait_until(lambda: upstream.calls, what="the call upstream")
        locked = lock()
    (query,) = wait_until(running, what=f"{function} to wait")
    locked.close()
    thread.join()

    for secret in (license.raw_key, license.raw_key[-38:], "canary", "sandbox"):
        assert secret not in query
    assert responses[0].status_code == 200
