"""What is found in the messages of a request, however deep: what no bytes bound has to be counted, and
what the request does not hold itself is refused."""

import pytest
from surveying import BY_URL, BYTES, FRAMING, IMAGE, IMAGE_URL, nested, refused, request, surveyed

from service.gateway.survey import IMAGE_TOKENS, survey


@pytest.mark.parametrize("levels", [0, 1, 5])
@pytest.mark.parametrize("field", ["messages", "system"])
@pytest.mark.parametrize(
    ("block", "path"),
    [
        (BY_URL, ".source"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, ".source"),
        ({"type": "image", "source": {"type": ["url"]}}, ".source"),
        ({"type": "future", "source": {"type": "url", "url": "https://example.com"}}, ".source"),
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


@pytest.mark.parametrize("levels", [0, 1, 5])
def test_an_image_that_the_upstream_fetches_has_a_bound_of_its_own(levels):
    block = nested(IMAGE_URL, levels)

    found = surveyed(block, {"type": "text", "text": "Hi"}, block, system=[block])
    assert (found.input_tokens, found.image_urls) == (BYTES + FRAMING + 3 * IMAGE_TOKENS, 3)
    counted = surveyed(block, IMAGE)
    assert (counted.input_tokens, counted.image_urls) == (None, 1)
    # The largest that any model takes is of 4,784 tokens.
    assert IMAGE_TOKENS > 4784
    # What is no part of the prompt is no image.
    call = {"type": "tool_use", "input": {"a": IMAGE_URL}}
    assert surveyed(call, metadata=IMAGE_URL, tools=[{"name": "a", "input_examples": [IMAGE_URL]}]).image_urls == 0


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_what_a_tool_was_called_with_is_only_text(kind):
    call = {"type": kind, "id": "t", "name": "a", "input": {"source": {"type": "url"}, "blocks": [BY_URL, IMAGE]}}

    # Its parameters are written between marks of the upstream's own.
    assert surveyed(call).input_tokens == BYTES + FRAMING + 2 * 16
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
