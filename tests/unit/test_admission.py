"""What bounds the cost of a request, and what is refused because nothing does."""

import pytest

from service.admission import Survey, survey
from service.problems import Problem

BYTES = 1000
FRAMING, FEATURES, TOOL = 32, 1024, 1024
WRITTEN_5M = ("input", "cache_read", "cache_write_5m")
WRITTEN_1H = ("input", "cache_read", "cache_write_5m", "cache_write_1h")
EPHEMERAL = {"type": "ephemeral"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
BY_URL = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}


def request(*blocks, **more):
    return {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": list(blocks) or "Hi"}], **more}


def surveyed(*blocks, **more):
    return survey(request(*blocks, **more), BYTES)


def refused(*blocks, **more):
    with pytest.raises(Problem) as problem:
        surveyed(*blocks, **more)
    (error,) = problem.value.extra["errors"]
    assert problem.value.detail.startswith(error["field"])
    return problem.value.code, error["field"]


def nested(block, levels):
    """A block in a tool's result in a tool's result, and so on."""
    for _ in range(levels):
        block = {"type": "tool_result", "content": [block]}
    return block


def test_the_bytes_of_a_text_bound_it():
    assert surveyed() == Survey(("m",), BYTES + FRAMING, ("input", "cache_read"), 1000, 256)


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({"tools": [{"name": "a", "input_schema": {}}]}, FEATURES),
        ({"tools": [{"type": "custom", "name": "a"}]}, FEATURES),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, FEATURES + TOOL),
        (
            {"tools": [{"type": "text_editor_20250728"}, {"type": "computer_20251124"}, {"type": "memory_20250818"}]},
            FEATURES + 3 * TOOL,
        ),
        ({"tools": []}, 0),
        ({"tools": "none"}, FEATURES),
        ({"output_config": {"format": {}}}, FEATURES),
        ({"output_format": {"type": "json_schema"}}, FEATURES),
        ({"thinking": {"type": "adaptive"}}, FEATURES),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, FEATURES),
        ({"context_management": {"edits": None}}, FEATURES),
        ({"tools": [{"name": "a"}], "thinking": {"type": "adaptive"}}, FEATURES),
        ({"system": "Be short.", "metadata": {"user_id": "u"}, "temperature": 1, "future": {"a": [1]}}, 0),
        ({"service_tier": "auto"}, 0),
    ],
    ids=str,
)
def test_what_the_upstream_adds_to_a_prompt(more, tokens):
    assert surveyed(**more).input_tokens == BYTES + FRAMING + tokens


@pytest.mark.parametrize(
    ("field", "harmless", "refused_values"),
    [
        ("container", [None], ["c", {}, {"skills": []}]),
        ("mcp_servers", [None, []], [[{"url": "https://example.com"}], {}, "x"]),
        ("compaction", [None], [{"enabled": True}, True]),
        ("speed", [None, "standard"], ["fast", "", 1]),
        ("inference_geo", [None, "global"], ["us", "eu"]),
    ],
)
def test_fields_that_let_the_upstream_use_more_than_the_request_shows(field, harmless, refused_values):
    for value in harmless:
        assert surveyed(**{field: value}).input_tokens == BYTES + FRAMING
    for value in refused_values:
        assert refused(**{field: value}) == ("cost_unbounded", field)


def test_a_thread_is_refused_as_the_sdks_expect_it():
    assert surveyed(thread=None).input_tokens == BYTES + FRAMING
    for thread in ({"id": "t"}, {}, "t", False):
        with pytest.raises(Problem) as problem:
            # Before anything else: without it the client asks again.
            surveyed(BY_URL, thread=thread, container="c")
        assert (problem.value.code, problem.value.extra) == ("thread_unsupported_request", {"unsupported": []})


@pytest.mark.parametrize("kind", ["compact_20260112", "compact", "compact_like_nothing_else"])
def test_compaction_is_refused(kind):
    edits = {"edits": [{"type": "clear_thinking_20251015"}, {"type": kind}]}
    assert refused(context_management=edits) == ("cost_unbounded", "context_management.edits.1")


@pytest.mark.parametrize(
    "kind",
    ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset", "tool_search", "", 7, "x"],
)
def test_tools_that_run_on_the_upstream_s_side_are_refused(kind):
    assert refused(tools=[{"name": "a"}, {"type": kind, "name": "b"}]) == ("cost_unbounded", "tools.1.type")


def test_a_refusal_does_not_repeat_all_that_it_was_given():
    with pytest.raises(Problem) as problem:
        surveyed(tools=[{"type": "x" * 5000}])
    assert len(problem.value.detail) < 250


@pytest.mark.parametrize("levels", [0, 1, 5])
@pytest.mark.parametrize("field", ["messages", "system"])
@pytest.mark.parametrize(
    ("block", "path"),
    [
        (BY_URL, ".source"),
        ({"type": "document", "source": {"type": "url", "url": "https://example.com"}}, ".source"),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, ".source"),
        ({"type": "image", "source": {}}, ".source"),
        ({"type": "future", "source": {"type": "future"}}, ".source"),
        ({"type": "container_upload", "file_id": "f"}, ""),
        ({"type": "tool_definition", "definition": {"type": "web_search_20250305"}}, ".definition.type"),
        ({"type": "tool_definition", "definition": {"type": "mcp_toolset_1"}}, ".definition.type"),
        ({"type": "document", "source": {"type": "content", "content": [BY_URL]}}, ".source.content.0.source"),
    ],
    ids=str,
)
def test_what_the_request_does_not_hold_itself_is_refused_wherever_it_stands(block, path, field, levels):
    within = ".content.0" * levels
    if field == "system":
        assert refused(system=[nested(block, levels)]) == ("cost_unbounded", f"system.0{within}{path}")
    else:
        expected = f"messages.0.content.0{within}{path}"
        assert refused(nested(block, levels)) == ("cost_unbounded", expected)


@pytest.mark.parametrize(
    ("block", "counted"),
    [
        (IMAGE, True),
        ({"type": "document", "source": {"type": "base64", "data": "AA"}}, True),
        ({"type": "document", "source": {"type": "text", "data": "Hi"}}, False),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "Hi"}]}}, False),
        ({"type": "document", "source": {"type": "content", "content": [IMAGE]}}, True),
        ({"type": "document", "source": {"type": "text"}, "citations": {"enabled": True}}, True),
        ({"type": "document", "source": {"type": "text"}, "citations": {"enabled": False}}, False),
        ({"type": "document", "source": {"type": "text"}, "citations": None}, False),
        ({"type": "search_result", "source": "https://example.com", "citations": {"enabled": True}}, True),
        ({"type": "search_result", "source": "https://example.com"}, False),
        ({"type": "tool_definition", "definition": {"type": "custom", "name": "a"}}, False),
        ({"type": "tool_definition", "definition": {"type": None, "name": "a"}}, False),
        ({"type": "tool_definition", "definition": {"name": "a", "input_schema": {}}}, False),
        ({"type": "tool_definition", "definition": "a"}, False),
        ({"type": "tool_definition", "definition": {"type": "bash_20250124"}}, True),
        ({"type": "tool_definition", "definition": {"type": "browser_toolset_20260101"}}, True),
        ({"type": "text", "text": "Hi"}, False),
        ({"type": "text", "text": "Hi", "citations": [{"type": "char_location"}]}, False),
        ({"type": "tool_reference", "tool_name": "a"}, True),
        ({"type": "tool_addition", "name": "a"}, True),
        ({"type": "compaction", "content": "a"}, True),
        ({"type": "web_search_result", "url": "https://example.com", "encrypted_content": "A"}, True),
        ({"type": "encrypted_search_result"}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("levels", [0, 3])
def test_what_bytes_do_not_bound_has_to_be_counted(block, counted, levels):
    assert surveyed(nested(block, levels)).input_tokens == (None if counted else BYTES + FRAMING)


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        ("browser_toolset_20260101", True),
        ("computer_toolset_20260101", True),
        ("bash_toolset_", True),
        ("memory_20250818", False),
        ("custom", False),
        (None, False),
    ],
)
def test_a_toolset_has_to_be_counted(kind, counted):
    tools = [{"name": "an_own_toolset_of_mine"}, {"type": kind, "name": "b"}]

    added = FEATURES + (TOOL if kind == "memory_20250818" else 0)
    assert surveyed(tools=tools).input_tokens == (None if counted else BYTES + FRAMING + added)


@pytest.mark.parametrize(("deferred", "counted"), [(True, True), (False, False), (None, False)])
def test_a_tool_that_comes_later_has_to_be_counted(deferred, counted):
    tools = [{"name": "a"}, {"name": "b", "defer_loading": deferred}]
    assert surveyed(tools=tools).input_tokens == (None if counted else BYTES + FRAMING + FEATURES)


def test_what_has_to_be_counted_hides_nothing_that_is_to_be_refused():
    assert refused(BY_URL, IMAGE)[1] == "messages.0.content.0.source"
    assert refused(IMAGE, BY_URL)[1] == "messages.0.content.1.source"
    assert refused(BY_URL, tools=[{"type": "browser_toolset_1"}])[1] == "messages.0.content.0.source"
    made_upstream = {"type": "tool_definition", "definition": {"type": "bash_20250124", "examples": [BY_URL]}}
    assert refused(made_upstream)[1] == "messages.0.content.0.definition.examples.0.source"


def test_what_stands_beside_the_definition_of_a_tool_is_looked_at():
    block = {"type": "tool_definition", "definition": {"type": "custom", "name": "a"}}

    assert refused(block | {"examples": [BY_URL]})[1] == "messages.0.content.0.examples.0.source"
    assert refused(block | {"source": BY_URL["source"]})[1] == "messages.0.content.0.source"
    assert surveyed(block | {"source": IMAGE["source"]}).input_tokens is None


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_what_a_tool_was_called_with_is_only_text(kind):
    call = {"type": kind, "id": "t", "name": "a", "input": {"source": {"type": "url"}, "blocks": [BY_URL, IMAGE]}}

    assert surveyed(call).input_tokens == BYTES + FRAMING
    # Anything beside the input is looked at.
    assert refused(call | {"content": [BY_URL]})[1] == "messages.0.content.0.content.0.source"
    assert refused({"type": "text", "input": BY_URL})[1] == "messages.0.content.0.input.source"


@pytest.mark.parametrize("content", [None, 7, "text", [], ["a", 7, None, [IMAGE, [7]]]])
def test_messages_of_any_shape_are_surveyed(content):
    message = [content, {"role": "user", "content": content}]

    expected = None if isinstance(content, list) and content else BYTES + FRAMING
    assert survey(request() | {"messages": message, "system": content}, BYTES).input_tokens == expected


def test_nesting_without_end_is_surveyed():
    assert surveyed(nested(IMAGE, 5000)).input_tokens is None
    assert refused(nested(BY_URL, 5000))[1] == "messages.0.content.0" + ".content.0" * 5000 + ".source"


@pytest.mark.parametrize(
    ("more", "classes"),
    [
        ({}, ("input", "cache_read")),
        ({"cache_control": None}, ("input", "cache_read")),
        ({"cache_control": EPHEMERAL}, WRITTEN_5M),
        ({"cache_control": EPHEMERAL | {"ttl": "5m"}}, WRITTEN_5M),
        ({"cache_control": EPHEMERAL | {"ttl": None}}, WRITTEN_5M),
        ({"cache_control": EPHEMERAL | {"ttl": "1h"}}, WRITTEN_1H),
        # What this release does not know is taken for the dearest.
        ({"cache_control": EPHEMERAL | {"ttl": "1w"}}, WRITTEN_1H),
        ({"cache_control": "ephemeral"}, WRITTEN_5M),
        ({"system": [{"type": "text", "text": "Hi", "cache_control": EPHEMERAL}]}, WRITTEN_5M),
        ({"tools": [{"name": "a", "cache_control": EPHEMERAL | {"ttl": "1h"}}]}, WRITTEN_1H),
        ({"messages": [{"content": [nested({"cache_control": EPHEMERAL}, 4)]}]}, WRITTEN_5M),
        (
            {"cache_control": EPHEMERAL, "system": [{"cache_control": EPHEMERAL | {"ttl": "1h"}}]},
            WRITTEN_1H,
        ),
    ],
    ids=str,
)
def test_what_a_prompt_can_be_charged_as(more, classes):
    assert surveyed(**more).classes == classes


@pytest.mark.parametrize(
    ("more", "least"),
    [
        ({}, 256),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 0}, 0),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}}, 256),
        ({"thinking": {"type": "enabled", "budget_tokens": 256}}, 257),
        ({"thinking": {"type": "enabled", "budget_tokens": 600}}, 601),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, 1000),
        ({"thinking": {"type": "enabled", "budget_tokens": "600"}}, 256),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, 256),
        ({"thinking": "yes"}, 256),
    ],
    ids=str,
)
def test_fewer_tokens_than_these_are_not_worth_asking_for(more, least):
    assert surveyed(**more).least_max_tokens == least


def test_fallbacks_may_run_in_place_of_the_model():
    fallbacks = [{"model": "b", "max_tokens": 2000}, {"model": "c", "max_tokens": None}, {"model": "d", "system": "x"}]

    found = surveyed(fallbacks=fallbacks)
    assert (found.models, found.max_tokens, found.least_max_tokens) == (("m", "b", "c", "d"), 2000, 256)
    assert surveyed(fallbacks=[{"model": "b", "max_tokens": 5}]).max_tokens == 1000
    assert len(surveyed(fallbacks=[{"model": "b" * 200, "max_tokens": 1_000_000}] * 3).models) == 4


@pytest.mark.parametrize("nothing", [None, [], {}, ""])
def test_no_fallbacks(nothing):
    assert surveyed(fallbacks=nothing).models == ("m",)


@pytest.mark.parametrize(
    ("fallbacks", "code", "field"),
    [
        ("default", "cost_unbounded", "fallbacks"),
        ({"model": "b"}, "cost_unbounded", "fallbacks"),
        ([{"model": "b"}] * 4, "validation_failed", "fallbacks"),
        (["b"], "validation_failed", "fallbacks.0.model"),
        ([{"model": "b"}, {}], "validation_failed", "fallbacks.1.model"),
        ([{"model": 7}], "validation_failed", "fallbacks.0.model"),
        ([{"model": ""}], "validation_failed", "fallbacks.0.model"),
        ([{"model": "a b"}], "validation_failed", "fallbacks.0.model"),
        ([{"model": "b\0"}], "validation_failed", "fallbacks.0.model"),
        ([{"model": "b\n"}], "validation_failed", "fallbacks.0.model"),
        ([{"model": "b" * 201}], "validation_failed", "fallbacks.0.model"),
        ([{"model": "b", "max_tokens": "5"}], "validation_failed", "fallbacks.0.max_tokens"),
        ([{"model": "b", "max_tokens": True}], "validation_failed", "fallbacks.0.max_tokens"),
        ([{"model": "b", "max_tokens": -1}], "validation_failed", "fallbacks.0.max_tokens"),
        ([{"model": "b", "max_tokens": 1_000_001}], "validation_failed", "fallbacks.0.max_tokens"),
        ([{"model": "b", "speed": "fast"}], "cost_unbounded", "fallbacks.0.speed"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_fallbacks_that_cannot_be_priced(fallbacks, code, field):
    assert refused(fallbacks=fallbacks) == (code, field)
