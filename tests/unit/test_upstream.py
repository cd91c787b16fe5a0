"""Bytes to the upstream and back, and every way in which that can fail as one thing to catch."""

import json
import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from factories import free_port
from structlog.contextvars import clear_contextvars, merge_contextvars
from structlog.testing import capture_logs

from service.gateway import sse
from service.gateway.upstream import Upstream
from service.problems import Problem, Reply

MESSAGES = "/v1/messages"
ERROR = b'{ "type": "error", "error": {"type": "x", "message": "Words."} }'


def request(prompt="Hello", **more):
    return json.dumps(
        {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": prompt}], **more}
    ).encode()


@pytest.fixture(autouse=True)
def nothing_to_log_with():
    clear_contextvars()


@pytest.fixture
def client(upstream):
    return Upstream("our-key", upstream.url, 5)


@pytest.fixture
def saying():
    """`saying(status, body, headers={})`: a client of an upstream that answers so, always."""
    servers = []

    def start(status, body, headers=None):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return Upstream("our-key", f"http://127.0.0.1:{server.server_address[1]}", 5)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def failure(act, *arguments):
    with pytest.raises(Problem) as failed:
        act(*arguments)
    assert "Nothing was charged." in failed.value.detail
    return failed.value


def streamed(client, prompt="Hello"):
    return list(client.stream(MESSAGES, request(prompt, stream=True), {}))


def test_a_body_goes_and_comes_as_it_is(client, upstream):
    raw = b'{"model":  "m","max_tokens": 50, "messages": [], "future": 1.50}'

    answer = client.post(MESSAGES + "?beta=true", raw, {"anthropic-beta": "a,b"})

    assert json.loads(answer)["model"] == "sandbox/m"
    (received,) = upstream.received
    assert (received.method, received.path, received.body) == ("POST", "/v1/messages?beta=true", raw)
    assert received.headers["authorization"] == "Bearer our-key"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["anthropic-beta"] == "a,b"


def test_a_cookie_that_the_upstream_sets_is_not_kept(client, upstream):
    # The sandbox sets one with every answer.
    client.post(MESSAGES, request(), {})
    client.get("/v1/models", {})
    streamed(client)
    failure(client.post, MESSAGES, request("[sandbox status=529]"), {})
    client.post(MESSAGES, request(), {})
    assert ["cookie" in received.headers for received in upstream.received] == [False] * 5


def test_an_answer_is_not_read_in_any_way(saying):
    assert saying(200, b"\xff not JSON").post(MESSAGES, request(), {}) == b"\xff not JSON"


def test_what_is_at_a_path(client, upstream):
    assert json.loads(client.get("/v1/models/claude-haiku-5-5", {}))["type"] == "model"
    assert upstream.received[0].method == "GET"
    assert failure(client.get, "/v1/models/none", {}).reply.status == 404


def test_a_stream_s_events_come_as_they_are(client):
    events = streamed(client)

    assert [event.name for event in events][:3] == ["message_start", "content_block_start", "ping"]
    assert events[-1].name == "message_stop"


def test_a_stream_that_is_closed_closes_its_connection(client, upstream):
    body = request("[sandbox output_tokens=1000] [sandbox event_delay_ms=20]", stream=True, max_tokens=1000)
    events = client.stream(MESSAGES, body, {})
    next(events)
    events.close()

    assert upstream.used == []


@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422, 500, 503, 529])
def test_an_error_keeps_the_upstream_s_own_words(saying, status):
    client = saying(status, ERROR, {"set-cookie": "a=b", "x-other": "c"})

    for call in (client.post, client.stream):
        problem = failure(call, MESSAGES, request(), {})
        assert (problem.code, problem.extra) == ("upstream_error", {"upstream_status": status})
        assert problem.reply == Reply(status, {}, ERROR)
        assert ("It said: " in problem.detail) == (status < 500)


def error(message="Words.", kind="invalid_request_error"):
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


EMPTY = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."
LIMITED = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, ERROR), (402, ERROR), (403, ERROR), (403, b""), (401, b"<html>"),
        (400, error(EMPTY)), (400, error(EMPTY.upper())), (400, error(LIMITED)),
        (400, error(LIMITED.replace("API", "workspace API"))), (400, error("This organization has been disabled.")),
        (400, error(kind="billing_error")), (400, error(kind="permission_error")),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_about_our_account_stays_here(saying, status, body):
    client = saying(status, body, {"retry-after-ms": "5", "request-id": "req_theirs"})

    for call in (client.post, client.stream):
        with capture_logs(processors=[merge_contextvars]) as lines:
            problem = failure(call, MESSAGES, request(), {})
        assert (problem.reply, problem.extra, problem.retry_after) == (None, {"upstream_status": status}, None)
        assert "the operator's account" in problem.detail
        assert not any(word in problem.detail for word in ("Words", "balance", "organization", "limits"))
        told = {"status": status, "log_level": "error", "upstream_request_id": "req_theirs"}
        assert lines == [{"event": "upstream_refuses_us", **told}]


@pytest.mark.parametrize(
    "body",
    [
        error(),
        error("tools.0.name: 'Your credit balance is too low' is no name"),
        error(None),
        error(["a"]),
        b"",
        b"[]",
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [400, 404])
def test_what_only_quotes_such_words_is_about_the_request(saying, status, body):
    assert failure(saying(status, body).post, MESSAGES, request(), {}).reply.status == status


def test_words_about_our_account_count_with_400_only(saying):
    assert failure(saying(404, error(EMPTY)).post, MESSAGES, request(), {}).reply.status == 404


def test_too_many_requests_are_told_in_our_words(saying):
    words = "This request would exceed your organization's rate limit of 50 requests per minute (org: 5a4d-4b0c)."
    client = saying(429, error(words, "rate_limit_error"), {"retry-after": "7", "anthropic-organization-id": "5a4d"})

    for call in (client.post, client.stream):
        problem = failure(call, MESSAGES, request(), {})
        assert problem.reply == Reply(429, {"retry-after": "7"}, b"")
        assert (problem.extra, problem.retry_after) == ({"upstream_status": 429}, 7)
        assert problem.detail.endswith("It takes no more requests from this service for now: ask again later.")


@pytest.mark.parametrize(
    ("told", "logged"),
    [("req_1", "req_1"), ("a b", None), ("", None), ("x" * 200, "x" * 200), ("x" * 201, None), ("\xe9", None)],
)
def test_each_error_is_logged_under_the_upstream_s_id_of_the_request(saying, told, logged):
    with capture_logs(processors=[merge_contextvars]) as lines:
        failure(saying(529, ERROR, {"request-id": told}).post, MESSAGES, request(), {})
        # It is nobody else's.
        failure(Upstream("our-key", f"http://127.0.0.1:{free_port()}", 5).post, MESSAGES, request(), {})
    assert [line.get("upstream_request_id") for line in lines] == [logged, None]
    assert [(line["event"], line["reason"], line.get("status")) for line in lines] == [
        ("upstream_error", "status", 529),
        ("upstream_error", "connection", None),
    ]


@pytest.mark.parametrize(
    ("prompt", "reason"), [("cut_after=3", "connection"), ("stall_after=3", "timeout"), ("garbage", None)]
)
def test_a_stream_that_breaks_is_logged_under_it_too(upstream, prompt, reason):
    client = Upstream("our-key", upstream.url, 0.5)
    with capture_logs(processors=[merge_contextvars]) as lines, suppress(Problem):
        streamed(client, f"[sandbox {prompt}]")
    assert [line["reason"] for line in lines] == ([reason] if reason else [])
    assert all(line["upstream_request_id"].startswith("req_sandbox_") for line in lines)


@pytest.mark.parametrize(
    "body",
    [b"", b"busy", b"<html>", b"\xff", b"null", b"[]", b"{}", b'{"error": "busy"}', b"[" * 100_000],
    ids=lambda body: str(body[:20]),
)
def test_a_body_that_is_no_error_of_this_wire_is_not_passed_on(saying, body):
    problem = failure(saying(503, body).post, MESSAGES, request(), {})
    assert problem.reply == Reply(503, {}, b"")


def test_when_to_come_back_is_passed_on(saying):
    told = {"Retry-After": "7", "retry-after-ms": "6500", "x-should-retry": "true"}
    problem = failure(saying(429, ERROR, told).post, MESSAGES, request(), {})

    assert problem.retry_after == 7
    assert problem.reply.headers == {name.lower(): value for name, value in told.items()}


def test_a_date_to_come_back_at_is_passed_on_and_not_ours_to_tell(saying):
    told = {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}
    problem = failure(saying(429, ERROR, told).post, MESSAGES, request(), {})
    assert (problem.retry_after, problem.reply.headers) == (None, told)


@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms", "x-should-retry"])
@pytest.mark.parametrize(
    "said",
    ["", "soon", "-1", "1,5", "1.", "1e3", "9999999999", "\xb2", "TRUE", "yes", "true; x", "Wed, 21 Oct",
     "wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 CET", "Wed, <b>1 Oct 2026 07:28:00 GMT"],
)  # fmt: skip
def test_what_is_no_time_to_come_back_stays_here(saying, name, said):
    problem = failure(saying(429, ERROR, {name: said}).post, MESSAGES, request(), {})
    assert (problem.retry_after, problem.reply.headers) == (None, {})


@pytest.mark.parametrize(
    ("name", "said"),
    [("retry-after", "0"), ("retry-after", "999999"), ("retry-after-ms", "0"), ("retry-after-ms", "999999999"),
     ("retry-after-ms", "1.5"), ("x-should-retry", "true"), ("x-should-retry", "false")],
)  # fmt: skip
def test_each_of_them_is_passed_on_alone(saying, name, said):
    assert failure(saying(429, ERROR, {name: said}).post, MESSAGES, request(), {}).reply.headers == {name: said}


@pytest.mark.parametrize(("name", "said"), [("retry-after", "1.5"), ("retry-after", "9999999")])
def test_a_time_of_another_form_stays_here(saying, name, said):
    assert failure(saying(429, ERROR, {name: said}).post, MESSAGES, request(), {}).reply.headers == {}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_call_is_not_sent_on_to_another_place(saying, upstream, status):
    elsewhere = saying(status, ERROR, {"location": upstream.url + MESSAGES})

    for call in (elsewhere.post, elsewhere.stream):
        problem = failure(call, MESSAGES, request(), {})
        assert (problem.code, problem.extra, problem.reply) == ("upstream_error", {"upstream_status": status}, None)
        assert "Words" not in problem.detail
    assert upstream.received == []


@pytest.mark.parametrize("prompt", ["[sandbox close]", "[sandbox cut_after=20]"])
def test_a_connection_that_breaks(client, upstream, prompt):
    problem = failure(client.post, MESSAGES, request(prompt), {})

    assert (problem.code, problem.retry_after, problem.reply) == ("upstream_error", 1, None)
    assert "The connection to the model failed" in problem.detail
    assert upstream.calls == 1


@pytest.mark.parametrize("prompt", ["[sandbox close]", "[sandbox cut_after=3]"])
def test_a_connection_that_breaks_in_a_stream(client, upstream, prompt):
    problem = failure(streamed, client, prompt)

    assert (problem.code, problem.retry_after) == ("upstream_error", 1)
    assert "The connection to the model failed" in problem.detail
    assert upstream.calls == 1


def test_nobody_there():
    client = Upstream("our-key", f"http://127.0.0.1:{free_port()}", 5)
    assert "connection to the model failed" in failure(client.post, MESSAGES, request(), {}).detail


def test_what_is_no_http():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(100_000)
                connection.sendall(b"SSH-2.0-x\r\n")

        Thread(target=answer, daemon=True).start()
        client = Upstream("our-key", f"http://127.0.0.1:{listening.getsockname()[1]}", 5)
        assert failure(client.post, MESSAGES, request(), {}).code == "upstream_error"


@pytest.mark.parametrize("prompt", ["[sandbox delay_ms=1000]", "[sandbox stall_after=3]"])
def test_silence_is_a_timeout(upstream, prompt):
    client = Upstream("our-key", upstream.url, 0.2)
    for problem in (failure(client.post, MESSAGES, request(prompt), {}), failure(streamed, client, prompt)):
        assert (problem.code, problem.retry_after, problem.type.status) == ("upstream_timeout", 1, 504)


def test_a_stream_that_is_none_is_unreadable(saying, client):
    answer = saying(200, b"{}", {"content-type": "application/json"})
    assert "could not be read" in failure(answer.stream, MESSAGES, request(), {}).detail
    assert "could not be read" in failure(client.stream, MESSAGES, request(), {}).detail


@pytest.mark.parametrize("directive", ["", "[sandbox split=1]"])
def test_an_event_that_is_too_long_is_unreadable(client, monkeypatch, directive):
    monkeypatch.setattr(sse, "LONGEST_EVENT", 20)
    events = client.stream(MESSAGES, request(directive, stream=True), {})
    assert "could not be read" in failure(next, events).detail


def test_bytes_that_are_not_what_their_encoding_says(saying):
    client = saying(200, b"not gzip", {"content-encoding": "gzip", "content-type": "text/event-stream"})

    assert failure(client.post, MESSAGES, request(), {}).code == "upstream_error"
    assert failure(lambda: list(client.stream(MESSAGES, request(), {}))).code == "upstream_error"


def test_a_key_that_no_header_can_hold_is_no_crash():
    client = Upstream("our\nkey", f"http://127.0.0.1:{free_port()}", 5)
    assert failure(client.post, MESSAGES, request(), {}).code == "upstream_error"
