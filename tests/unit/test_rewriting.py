"""How a request is counted, with what margin its count is held, and how its max_tokens is lowered."""

import json

import pytest
from surveying import IMAGE, IMAGE_URL, nested, request

from service.gateway.rewriting import counting_request, with_margin, with_max_tokens, without_image_urls
from service.problems import Problem


def test_a_count_is_asked_for_with_what_has_an_influence_on_it():
    counted = {
        "messages": [{"role": "user", "content": "Hi"}],
        "system": "s",
        "tools": [{"name": "a"}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
        "cache_control": {"type": "ephemeral"},
    }

    assert counting_request({"model": "a", "max_tokens": 5, "stream": True, "future": 1, **counted}, "b") == {
        "model": "b",
        **counted,
    }


def test_what_count_tokens_would_have_to_fetch_is_left_out_of_a_count():
    word = {"type": "text", "text": "image"}
    call = {"type": "tool_use", "id": "t", "name": "a", "input": {"a": IMAGE_URL}}
    body = request(IMAGE_URL, nested(IMAGE_URL, 3), IMAGE, call, "a", 7, system="s", metadata={"a": IMAGE_URL})
    before = json.dumps(body)

    left = without_image_urls(body)
    assert left["messages"][0]["content"] == [word, nested(word, 3), IMAGE, call, "a", 7]
    assert {**left, "messages": None} == {**body, "messages": None}
    assert json.dumps(body) == before
    assert without_image_urls({"model": "m", "system": [IMAGE_URL]}) == {"model": "m", "system": [word]}


def test_what_is_nested_too_deeply_to_be_counted_is_refused():
    with pytest.raises(Problem) as problem:
        without_image_urls(request(nested(IMAGE_URL, 50_000)))
    assert problem.value.code == "malformed_request"


COUNTED = {name: {"a": "b" * 500} for name in
           ("messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")}  # fmt: skip
NO_PROMPT = {"model": "m" * 500, "max_tokens": 1, "stream": True, "metadata": {"user_id": "u" * 500},
             "service_tier": "auto", "temperature": 1.0, "top_p": 0.5, "top_k": 7}  # fmt: skip


@pytest.mark.parametrize(("counted", "bound"), [(0, 32), (1, 34), (10, 43), (11, 45), (1000, 1132)])
def test_a_count_is_held_with_a_margin(counted, bound):
    assert with_margin(counted, COUNTED | NO_PROMPT) == bound
    assert with_margin(counted, {}) == bound


@pytest.mark.parametrize(
    "rest",
    [
        {"output_format": {"type": "json_schema", "schema": {"é": ["a", 1.5]}}},
        {"output_format": None},
        {"fallbacks": [{"model": "b", "output_config": {"format": {"a": "b" * 100}}}]},
        {"context_management": {"edits": []}, "future": "é\n", "stop_sequences": ["a"]},
    ],
    ids=str,
)
def test_what_is_not_counted_is_held_in_addition(rest):
    assert not rest.keys() & counting_request(COUNTED | rest, "m").keys()
    added = with_margin(1000, COUNTED | NO_PROMPT | rest) - with_margin(1000, {})
    assert added == len(json.dumps(rest)) + 1024
    # No way to write it has more bytes that mean anything.
    assert added >= len(json.dumps(rest, ensure_ascii=False, separators=(",", ":")).encode()) + 1024


def test_every_max_tokens_of_a_request_is_lowered_and_nothing_else():
    fallbacks = [{"model": "b", "max_tokens": 400, "x": 1}, {"model": "c", "max_tokens": 100}, {"model": "d"}]
    body = {"model": "a", "max_tokens": 500, "fallbacks": fallbacks, "future": [1]}

    assert with_max_tokens(body, 300) == {
        "model": "a",
        "max_tokens": 300,
        "fallbacks": [{"model": "b", "max_tokens": 300, "x": 1}, {"model": "c", "max_tokens": 100}, {"model": "d"}],
        "future": [1],
    }
    assert body["max_tokens"] == 500
    assert fallbacks[0]["max_tokens"] == 400


def test_a_max_tokens_is_never_raised():
    body = {"model": "a", "max_tokens": 5, "fallbacks": [{"model": "b", "max_tokens": None}]}
    assert with_max_tokens(body, 300) == body
    assert with_max_tokens({"model": "a", "max_tokens": 5, "fallbacks": None}, 3) == {
        "model": "a",
        "max_tokens": 3,
        "fallbacks": None,
    }
