"""What is taken for an answer and for its usage, and what becomes of everything else."""

import pytest

from service.problems import Problem
from service.upstream import Upstream, text_of, usage_of

BODY = {"model": "m", "max_tokens": 50}


@pytest.fixture
def client(upstream):
    return Upstream("our-key", upstream.url, 5)


def ask(client, prompt):
    return client.create_message(BODY | {"messages": [{"role": "user", "content": prompt}]})


def usage(**more):
    return usage_of({"usage": {"input_tokens": 1, "output_tokens": 2, **more}})


def test_an_answer_comes_as_the_wire_has_it(client):
    message = ask(client, "Hello")
    assert message["model"] == "sandbox/m"
    assert text_of(message).startswith("This answer")
    assert usage_of(message)["output_tokens".removesuffix("_tokens")] == 10


@pytest.mark.parametrize("directive", ["garbage", "close", "no_usage", "refusal", "status=400", "status=500"])
def test_no_answer_is_one_thing_to_catch_and_one_call(client, upstream, directive):
    with pytest.raises(Problem) as failed:
        ask(client, f"[sandbox {directive}]")
    assert failed.value.code == "upstream_error"
    assert "Nothing was charged." in failed.value.detail
    assert upstream.calls == 1


def test_silence_is_a_timeout(upstream):
    with pytest.raises(Problem) as failed:
        ask(Upstream("our-key", upstream.url, 0.2), "[sandbox delay_ms=1000]")
    assert failed.value.code == "upstream_timeout"


@pytest.mark.parametrize(("status", "passed_on"), [(400, True), (429, True), (401, False), (403, False), (529, False)])
def test_only_what_is_about_the_request_is_passed_on(client, status, passed_on):
    with pytest.raises(Problem) as failed:
        ask(client, f"[sandbox status={status}]")
    assert ("The prompt asked for this error." in failed.value.detail) == passed_on
    assert failed.value.extra == {"upstream_status": status}


def test_tokens_of_each_class():
    split = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}
    assert usage(cache_creation_input_tokens=7, cache_creation=split, cache_read_input_tokens=5) == {
        "input": 1,
        "output": 2,
        "cache_write_5m": 3,
        "cache_write_1h": 4,
        "cache_read": 5,
    }


@pytest.mark.parametrize(
    ("more", "written"),
    [
        ({}, (0, 0)),
        ({"cache_creation_input_tokens": None, "cache_read_input_tokens": None, "cache_creation": None}, (0, 0)),
        ({"cache_creation_input_tokens": 7}, (7, 0)),
        ({"cache_creation_input_tokens": 7, "cache_creation": None}, (7, 0)),
        ({"cache_creation_input_tokens": 7, "cache_creation": {"ephemeral_5m_input_tokens": 7}}, (7, 0)),
        # No token is charged in both classes, and none in neither.
        ({"cache_creation_input_tokens": 7, "cache_creation": {"ephemeral_1h_input_tokens": 7}}, (0, 7)),
        ({"cache_creation_input_tokens": 7, "cache_creation": {"ephemeral_1h_input_tokens": 3}}, (4, 3)),
    ],
)
def test_cache_writes_are_counted_once(more, written):
    counted = usage(**more)
    assert (counted["cache_write_5m"], counted["cache_write_1h"]) == written


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"usage": None},
        {"usage": []},
        {"usage": {}},
        {"usage": {"input_tokens": 1}},
        {"usage": {"input_tokens": 1, "output_tokens": None}},
        {"usage": {"input_tokens": 1, "output_tokens": -1}},
        {"usage": {"input_tokens": "1", "output_tokens": 1}},
        {"usage": {"input_tokens": True, "output_tokens": 1}},
        {"usage": {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": "9"}},
        {"usage": {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": -9}},
        {"usage": {"input_tokens": 1, "output_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 0.5}}},
    ],
    ids=str,
)
def test_usage_that_is_none(message):
    assert usage_of(message) is None


def test_only_text_blocks_are_text():
    blocks = [{"type": "text", "text": "a"}, {"type": "text"}, {"type": "tool_use", "text": "x"}, {}]
    assert text_of({"content": [*blocks, {"type": "text", "text": "b"}]}) == "ab"


@pytest.mark.parametrize(
    "split", [{"ephemeral_5m_input_tokens": 0}, {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}]
)
def test_cache_writes_that_the_split_leaves_out_are_counted(split):
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 100, "cache_creation": split}

    assert usage_of({"usage": usage})["cache_write_5m"] == 100
