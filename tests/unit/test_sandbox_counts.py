"""The sandbox counts tokens as its answers do, and lists models."""

import json

import pytest
from sandbox_client import DEEP, FRESH, call, send

COUNT = "/v1/messages/count_tokens"


def usage_of(upstream, content, **more):
    return call(upstream, content, **more)[1]["usage"]


def count(upstream, content, **more):
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    return send(upstream, COUNT, json.dumps(body).encode())[1]["input_tokens"]


REQUEST = b'{"model":"claude-sonnet-5-5","max_tokens":512,"messages":[{"role":"user","content":"Hello"}]}'


def test_counts_what_the_readme_prints(upstream):
    assert send(upstream, "/v1/messages", REQUEST)[1]["usage"] == {"input_tokens": 23, "output_tokens": 10, **FRESH}
    raw = REQUEST.replace(b'"max_tokens":512,', b"")
    assert send(upstream, COUNT, raw)[1] == {"input_tokens": 23}
    assert (upstream.calls, upstream.count_calls) == (1, 1)


@pytest.mark.parametrize(
    "directives",
    ["[sandbox input_tokens=9]", "[sandbox cache_write_5m=3][sandbox cache_write_1h=4][sandbox cache_read=5]"],
)
def test_counts_what_the_answer_will_report(upstream, directives):
    usage = usage_of(upstream, directives)
    cached = usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]
    assert count(upstream, directives) == usage["input_tokens"] + cached


@pytest.mark.parametrize("kind", ["url", "file"])
@pytest.mark.parametrize("levels", [0, 2])
def test_what_is_not_in_the_request_is_answered_and_not_counted(upstream, kind, levels):
    block = {**LINKED, "source": {**LINKED["source"], "type": kind}}
    for _ in range(levels):
        block = {"type": "tool_result", "content": [block]}
    assert usage_of(upstream, [block])["input_tokens"] >= 1500

    body = {"model": "m", "messages": [{"role": "user", "content": [block]}]}
    status, document, *_ = send(upstream, COUNT, json.dumps(body).encode())
    assert (status, document["error"]["type"]) == (400, "invalid_request_error")
    # What a tool was called with is only text.
    called = {"type": "tool_use", "id": "t", "name": "a", "input": {"a": block}}
    assert 0 < count(upstream, [called]) < 1500


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}}
LINKED = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 400_000}}
PLAIN = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A" * 400_000}}
HOLDER = {"type": "document", "source": {"type": "content", "content": [IMAGE]}}


@pytest.mark.parametrize(
    ("content", "least"),
    [
        ("ü" * 4000, 2000),
        ("\ud800", 1),
        ([IMAGE], 1500),
        ([DOCUMENT, IMAGE], 4500),
        ([PLAIN], 100_000),
        ([HOLDER], 1500),
        ([{"type": "tool_result", "tool_use_id": "t", "content": [IMAGE, DOCUMENT]}], 4500),
        ([{"type": "image", "source": "none"}, {"type": ["image"], "source": {}}], 1),
    ],
)
def test_counts_bytes_but_not_of_media(upstream, content, least):
    counted = count(upstream, content, system="s", tools=[])
    usage = usage_of(upstream, content, system="s", tools=[], temperature=1)

    assert least < counted < least + 120
    assert usage["input_tokens"] == counted


def test_token_counts_have_bad_days_of_their_own(upstream):
    assert count(upstream, "[sandbox status=529][sandbox close][sandbox delay_ms=9000]") > 0
    raw = b'{"model": "m", "messages": "[sandbox count_status=529]"}'
    assert send(upstream, COUNT, raw)[0] == 529
    raw = b'{"model": "m", "max_tokens": 1, "messages": "[sandbox count_status=529]"}'
    assert send(upstream, "/v1/messages", raw)[0] == 200
    assert (upstream.calls, upstream.count_calls) == (1, 2)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", DEEP])
def test_a_body_that_cannot_be_counted(upstream, raw):
    status, body, _ = send(upstream, COUNT, raw)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("query", "names", "has_more"),
    [
        ("", ["opus", "sonnet", "haiku"], False),
        ("?limit=2", ["opus", "sonnet"], True),
        ("?limit=2&after_id=claude-sonnet-5-5", ["haiku"], False),
        ("?limit=1&before_id=claude-haiku-5-5", ["sonnet"], True),
        ("?after_id=claude-haiku-5-5", [], False),
    ],
)
def test_lists_models(upstream, query, names, has_more):
    ids = [f"claude-{name}-5-5" for name in names]
    status, page, _ = send(upstream, f"/v1/models{query}")

    assert status == 200
    assert [model["id"] for model in page["data"]] == ids
    assert all(model["type"] == "model" and model["created_at"] for model in page["data"])
    assert all(model["display_name"].startswith("Sandbox") for model in page["data"])
    assert page["has_more"] is has_more
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "after_id=none"])
def test_a_list_that_cannot_be_had(upstream, query):
    assert send(upstream, f"/v1/models?{query}")[0] == 400


def test_shows_a_model(upstream):
    assert send(upstream, "/v1/models/claude%2Dopus-5-5?x=1")[1]["id"] == "claude-opus-5-5"
    status, body, _ = send(upstream, "/v1/models/none")
    assert (status, body["error"]["type"]) == (404, "not_found_error")
