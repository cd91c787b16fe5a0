"""POST /v1/messages as a wire: what crosses, in both directions, and what does not."""

import gc
import json
from uuid import uuid4

import pytest

from service.http.request_log import _SANE
from service.http.services import services_of
from service.problems import Problem

COMMENT = ": obol-credits-charged: {charged}\n: obol-credits-balance: {balance}\n\n"
OURS = "test-upstream-key"

# What the SDK that asks the upstream says of itself, and HTTP of the connection.
OF_OUR_OWN = {
    "host",
    "connection",
    "accept",
    "accept-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "authorization",
    "anthropic-version",
}


def request(prompt, **more):
    message = {"role": "user", "content": prompt}
    return json.dumps({"model": "m", "max_tokens": 100, "messages": [message], **more}).encode()


def comment(charged, balance):
    return COMMENT.format(charged=charged, balance=balance).encode()


@pytest.mark.parametrize(
    "directives",
    ["", "[sandbox future]", "[sandbox thinking=5]", "[sandbox late_refusal]", "[sandbox output_tokens=0]"],
)
def test_a_whole_answer_is_the_upstream_s_byte_for_byte(send, new_license, upstream_s_own, state, directives):
    license, raw = new_license(), request(f"[sandbox input_tokens=30] {directives}")

    response = send(license, raw=raw)

    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.data == upstream_s_own(raw)
    charge = 30 + response.get_json()["usage"]["output_tokens"]
    assert response.headers["obol-credits-held"] == str(len(raw) + 32 + 100)
    assert response.headers["obol-max-tokens"] == "100"
    assert response.headers["obol-credits-charged"] == str(charge)
    assert response.headers["obol-credits-balance"] == str(1000 - charge)
    assert "obol-replayed" not in response.headers
    assert state(license) == (1000 - charge, 0, 2)


@pytest.mark.parametrize(
    "directives",
    [
        "",
        "[sandbox future]",
        "[sandbox split=1]",
        "[sandbox split=7]",
        "[sandbox split=1] [sandbox repeat_delta]",
        "[sandbox thinking=5]",
        "[sandbox repeat_delta]",
        "[sandbox late_refusal]",
        "[sandbox output_tokens=0]",
    ],
)
def test_a_stream_is_the_upstream_s_byte_for_byte_and_a_comment(send, new_license, upstream_s_own, state, directives):
    license, raw = new_license(), request(f"[sandbox input_tokens=30] {directives}", stream=True)

    response = send(license, raw=raw)

    assert (response.status_code, response.content_type) == (200, "text/event-stream; charset=utf-8")
    own = upstream_s_own(raw)
    balance, held, entries = state(license)
    assert response.data == own + comment(1000 - balance, balance)
    assert (held, entries) == (0, 2)
    words = own.count(b'"text_delta"') + own.count(b'"thinking_delta"')
    assert 1000 - balance == 30 + words
    assert response.headers["obol-credits-held"] == str(len(raw) + 32 + 100)
    assert response.headers["obol-max-tokens"] == "100"
    assert "obol-credits-charged" not in response.headers


def test_line_ends_and_comments_of_any_kind_in_any_pieces_go_through(make_client, send, new_license, upstream_saying):
    stream = (
        b'event: message_start\r\ndata: {"type": "message_start",\r\n'
        b'data: "message": {"model": "m", "usage": {"input_tokens": 3}}}\r\n\r\n'
        b": hello\r\rid: 7\rretry: 1\rfuture: x\r\r"
        b"\n\n\r\n\r\n"
        b'event: content_block_future\ndata: {"type": "content_block_future",\ndata: "a": "\xc3\xa9"}\n\n'
        b'event: content_block_delta\r\ndata: {"delta": {"text": "Hi"}}\r\n\r\n'
        b'event: message_delta\ndata: {"type": "message_delta", "delta": {"stop_reason": "end_turn"},'
        b' "usage": {"output_tokens": 4}}\n\n'
        b": the end is near\n\n\n\n"
        b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    )
    for size in (1, 2, 3, len(stream)):
        pieces = [stream[begin : begin + size] for begin in range(0, len(stream), size)]
        client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, pieces)), new_license()
        response = send(license, client=client, stream=True)
        assert response.data == stream + comment(7, 993)


def test_a_stream_is_not_kept_by_a_proxy(send, new_license):
    headers = send(new_license(), stream=True).headers
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert "content-length" not in headers


def test_a_body_goes_upstream_as_it_came(send, new_license, upstream):
    raw = (
        '{ "future": {"a": [1.50, 1e2, null]},"messages":[{"role":"user","content":"\\u00e9 é \\/"}],\n'
        '"model":"m",  "max_tokens":100, "metadata": {"user_id": "u"}, "temperature": 0.10}'
    ).encode()

    assert send(new_license(), raw=raw).status_code == 200
    assert upstream.received[0].body == raw


@pytest.mark.parametrize("stream", [True, False])
def test_of_the_client_s_headers_only_version_and_beta_cross(send, new_license, upstream, stream):
    license = new_license()
    crossing = {"anthropic-version": "2099-01-01", "anthropic-beta": "a-2025,b-2026"}
    staying = {
        "cookie": "session=canary",
        "user-agent": "canary/1",
        "accept": "canary/json",
        "accept-language": "canary",
        "x-forwarded-for": "canary",
        "forwarded": "for=canary",
        "idempotency-key": "canary",
        "obol-max-credits": "5000",
        "x-request-id": "canary",
        "anthropic-dangerous-direct-browser-access": "canary",
        "x-stainless-lang": "canary",
        "origin": "https://canary.example",
        "referer": "https://canary.example",
        "x-anything": "canary",
    }

    assert send(license, headers={**staying, **crossing}, stream=stream).status_code == 200

    (received,) = upstream.received
    assert {name: received.headers[name] for name in crossing} == crossing
    assert "canary" not in str(received.headers)
    others = {name for name in received.headers if not name.startswith("x-stainless-")}
    assert others == OF_OUR_OWN | {"anthropic-beta"}
    assert received.headers["authorization"] == f"Bearer {OURS}"
    assert license.raw_key not in str(received)
    assert license.raw_key.removeprefix("obol_") not in str(received)


@pytest.mark.parametrize("header", ["x-api-key", "Authorization"])
def test_either_header_takes_the_key_and_neither_crosses(send, new_license, upstream, header):
    license = new_license()
    key = f"Bearer {license.raw_key}" if header == "Authorization" else license.raw_key

    assert send(None, headers={header: key}).status_code == 200
    assert license.raw_key not in str(upstream.received)


def test_without_a_beta_none_is_made_up(send, new_license, upstream):
    send(new_license())
    assert "anthropic-beta" not in upstream.received[0].headers


@pytest.mark.parametrize(
    ("asked", "crossed"),
    [
        ("?beta=true", "?beta=true"),
        ("?beta=true&key=canary", "?beta=true"),
        ("?key=canary", ""),
        ("", ""),
        ("?beta=a%26b", "?beta=a%26b"),
    ],
)
def test_of_the_query_only_what_the_wire_has_crosses(send, new_license, upstream, asked, crossed):
    send(new_license(), path="/v1/messages" + asked)
    assert upstream.received[0].path == "/v1/messages" + crossed


@pytest.mark.parametrize("directives", ["", "[sandbox status=429]", "[sandbox status=400]"])
@pytest.mark.parametrize("stream", [True, False])
def test_of_the_upstream_s_headers_none_crosses_back(send, new_license, directives, stream):
    response = send(new_license(), directives, stream=stream)

    of_an_answer = {"obol-charge-id", "obol-max-tokens", "obol-credits-held"}
    if not stream:
        of_an_answer |= {"obol-credits-charged", "obol-credits-balance", "content-length"}
    else:
        of_an_answer |= {"x-accel-buffering"}
    of_an_error = {"content-length"} | ({"retry-after"} if "429" in directives else set())
    names = {name.lower() for name, _ in response.headers}
    of_all = {"content-type", "request-id", "cache-control", "x-content-type-options"}
    assert names == of_all | (of_an_error if directives else of_an_answer)
    assert OURS not in str(response.headers)
    assert OURS.encode() not in response.data


def test_every_response_has_an_id_of_ours(client, send, new_license):
    license = new_license()
    responses = [
        send(license),
        send(license, stream=True),
        send(license, "[sandbox status=529]"),
        send(license, "[sandbox close]"),
        send(license, raw=b"{"),
        send(None),
        client.get("/v1/nothing", headers=license.headers),
        client.put("/v1/messages", headers=license.headers),
        client.get("/v1/models", headers=license.headers),
    ]
    ids = [response.headers["request-id"] for response in responses]
    assert all(_SANE.fullmatch(id) and id.startswith("req_") and "sandbox" not in id for id in ids)
    assert len(set(ids)) == len(ids)


def test_the_client_s_own_id_is_taken(send, new_license):
    response = send(new_license(), raw=b"{", headers={"x-request-id": "mine"})
    assert (response.headers["request-id"], response.get_json()["request_id"]) == ("mine", "mine")


@pytest.mark.parametrize("stream", [True, False])
def test_what_one_client_was_set_as_a_cookie_is_not_sent_for_another(send, new_license, upstream, stream):
    send(new_license(), stream=stream)
    send(new_license(), stream=stream)
    # The upstream sets one with every answer; there is one client of it here, and many of us.
    assert "cookie" not in upstream.received[1].headers


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/messages", "/api/v1/generate"])
def test_while_the_model_works_a_request_is_bytes_and_nothing_else(app, send, new_license, monkeypatch, path, stream):
    live, client, canary = [], services_of(app).upstream, f"canary-{uuid4()}"

    def look(*call):
        gc.collect()
        found = [found for found in gc.get_objects() if isinstance(found, dict)]
        live.append(sum(canary in str(document.get("messages")) or document.get(canary) == [7] for document in found))
        raise Problem("upstream_error", "Nothing was charged.")

    monkeypatch.setattr(client, "post", look)
    monkeypatch.setattr(client, "stream", look)
    said = f'"prompt": "{canary}"'
    if path == "/v1/messages":
        said = f'"messages": [{{"content": ["{canary}"]}}], "a": {{"{canary}": [7]}}'
    raw = f'{{"model": "m", "max_tokens": 100, "stream": {json.dumps(stream)}, {said}}}'.encode()
    assert send(new_license(), raw=raw, path=path).status_code == 502
    assert live == [0]
