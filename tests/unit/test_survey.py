"""What bounds the cost of a request, and what is refused because nothing does."""

import pytest
from surveying import BY_URL, BYTES, FEATURES, FRAMING, TOOL, nested, refused, surveyed

from service.gateway.survey import Survey
from service.problems import Problem

WRITTEN_5M = ("input", "cache_read", "cache_write_5m")
WRITTEN_1H = ("input", "cache_read", "cache_write_5m", "cache_write_1h")
EPHEMERAL = {"type": "ephemeral"}


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


CALL = {"type": "tool_use", "id": "t", "name": "a"}
PARAMETER, ESCAPE, NUMBER = 16, 4, 24


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ({}, 0),
        ({"a": 1, "b": "c", "d": [1, 2.5]}, 3 * PARAMETER),
        ({"a": {"b": 1, "c": {}}}, PARAMETER),
        ({"a": "\xe9\u4e2d"}, PARAMETER + 2 * ESCAPE),
        ({"\U0001f600": 0}, PARAMETER + 2 * ESCAPE),
        # 1e15 and 1e20 in full.
        ({"a": [1e15, 1e20, 1.0]}, PARAMETER + 3 * NUMBER),
        ({"a": [1.05, 0.5, 10**20, 1e-7, True]}, PARAMETER),
        (None, 0),
        ("a", 0),
        ([1.0], 0),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("levels", [0, 2])
def test_what_a_tool_was_called_with_is_written_anew(given, tokens, levels):
    assert surveyed(nested(CALL | {"input": given}, levels)).input_tokens == BYTES + FRAMING + tokens
    assert surveyed({"type": "text", "text": "Hi", "input": given}).input_tokens == BYTES + FRAMING


@pytest.mark.parametrize("field", ["tools", "output_config", "output_format"])
def test_what_is_json_to_the_model_is_written_anew(field):
    value = [{"name": "a", "input_schema": {"maximum": 1e15, "title": "\xe9"}}]
    assert surveyed(**{field: value}).input_tokens == BYTES + FRAMING + FEATURES + ESCAPE + NUMBER


def test_what_is_nested_too_deeply_to_be_written_anew_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Problem) as problem:
        surveyed(CALL | {"input": {"a": deep}})
    assert problem.value.code == "malformed_request"


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
