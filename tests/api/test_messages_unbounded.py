"""POST /v1/messages: what is refused because nothing bounds what it costs."""

import json

import pytest
from calls import both

BY_URL = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}

REFUSED = [
    ("messages.0.content.0.source", {"messages": [{"content": [BY_URL]}]}),
    (
        "messages.0.content.0.source",
        {"messages": [{"content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}]},
    ),
    (
        "messages.0.content.0.content.0.source",
        {"messages": [{"content": [{"type": "tool_result", "content": [BY_URL]}]}]},
    ),
    ("messages.0.content.0", {"messages": [{"content": [{"type": "container_upload", "file_id": "f"}]}]}),
    ("system.0.source", {"system": [BY_URL]}),
    ("tools.0.type", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("tools.1.type", {"tools": [{"name": "a"}, {"type": "code_execution_20250825", "name": "c"}]}),
    ("mcp_servers", {"mcp_servers": [{"type": "url", "url": "https://example.com"}]}),
    ("container", {"container": "c"}),
    ("compaction", {"compaction": {"enabled": True}}),
    ("context_management.edits.0", {"context_management": {"edits": [{"type": "compact_20260112"}]}}),
    ("speed", {"speed": "fast"}),
    ("inference_geo", {"inference_geo": "us"}),
    ("fallbacks", {"fallbacks": "default"}),
    ("fallbacks.0.speed", {"fallbacks": [{"model": "b", "speed": "fast"}]}),
]


@both
def test_what_cannot_be_bounded_is_refused_by_name_and_without_a_call(
    send, new_license, wire_error, state, upstream, stream
):
    license = new_license()
    for field, fields in REFUSED:
        response = send(license, stream=stream, **fields)
        details = wire_error(response, "cost_unbounded")
        assert [error["field"] for error in details["errors"]] == [field], fields
        assert response.get_json()["error"]["message"].startswith(field)
    assert upstream.received == []
    assert state(license) == (1000, 0, 1)


@both
@pytest.mark.parametrize("thread", [{"id": "t"}, {}, "t", False])
def test_a_thread_is_refused_as_sdks_expect_it(send, new_license, wire_error, state, upstream, thread, stream):
    license = new_license()

    response = send(license, thread=thread, stream=stream)
    assert wire_error(response, "thread_unsupported_request") == {
        "error_code": "thread_unsupported_request",
        "unsupported": [],
    }
    assert (response.status_code, response.get_json()["error"]["type"]) == (400, "invalid_request_error")
    assert upstream.received == []
    assert state(license) == (1000, 0, 1)
    assert send(license, thread=None, stream=stream).status_code == 200


@both
def test_what_only_looks_like_it_is_not_refused(send, new_license, upstream, stream):
    call = {"type": "tool_use", "id": "t", "name": "a", "input": {"x": BY_URL, "type": "container_upload"}}
    harmless = {
        "container": None,
        "mcp_servers": [],
        "speed": "standard",
        "inference_geo": "global",
        "fallbacks": [],
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "tools": [{"type": "custom", "name": "web_search_20250305", "input_schema": {"type": "object"}}],
    }
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": json.dumps(BY_URL)}]},
    ]

    response = send(new_license(credits=10_000), messages=messages, stream=stream, **harmless)
    assert response.status_code == 200
    assert upstream.count_calls == 0
