"""The sandbox answers as the upstream does, with what it was told to use; see test_sandbox_*.py for the rest."""

import pytest
from sandbox_client import FRESH, TEXT, call


def test_answers_with_words_and_names_itself(upstream):
    status, message = call(upstream)

    assert status == 200
    assert message["model"] == "sandbox/m"
    assert message["content"] == [{"type": "text", "text": TEXT}]
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["usage"]["output_tokens"] == 10
    assert message["usage"]["input_tokens"] > 0
    assert upstream.calls == 1


@pytest.mark.parametrize(
    ("asked", "most", "got", "stop_reason"),
    [(0, 50, 0, "end_turn"), (3, 50, 3, "end_turn"), (50, 50, 50, "end_turn"), (51, 50, 50, "max_tokens")],
)
def test_uses_the_output_tokens_that_it_was_told(upstream, asked, most, got, stop_reason):
    _, message = call(upstream, f"[sandbox output_tokens={asked}]", max_tokens=most)

    assert (message["usage"]["output_tokens"], message["stop_reason"]) == (got, stop_reason)
    assert len(message["content"][0]["text"].split()) == got


def test_reports_the_input_tokens_that_it_was_told(upstream):
    assert call(upstream, "[sandbox input_tokens=5000]")[1]["usage"]["input_tokens"] == 5000


def test_directives_stand_together_and_anywhere_in_the_messages(upstream):
    content = [{"type": "text", "text": "a [sandbox input_tokens=7] b [sandbox output_tokens=2] [sandbox unknown=1]"}]
    usage = call(upstream, content)[1]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 2)


@pytest.mark.parametrize(
    ("directive", "usage"),
    [
        ("", {"input_tokens": 9, "output_tokens": 10, **FRESH}),
        (
            "[sandbox cache_write_5m=3][sandbox cache_write_1h=4][sandbox cache_read=5]",
            {
                "input_tokens": 9,
                "output_tokens": 10,
                "cache_creation_input_tokens": 7,
                "cache_read_input_tokens": 5,
                "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
            },
        ),
        (
            "[sandbox cache_write_1h=4][sandbox unsplit]",
            {**FRESH, "input_tokens": 9, "output_tokens": 10, "cache_creation_input_tokens": 4},
        ),
        ("[sandbox cache_read=5]", {**FRESH, "input_tokens": 9, "output_tokens": 10, "cache_read_input_tokens": 5}),
    ],
)
def test_reports_what_went_through_the_cache(upstream, directive, usage):
    assert call(upstream, f"[sandbox input_tokens=9]{directive}")[1]["usage"] == usage


@pytest.mark.parametrize("directive", ["refusal", "decline"])
def test_refuses(upstream, directive):
    message = call(upstream, f"[sandbox {directive}]")[1]
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert message["usage"]["output_tokens"] == 10


def test_refuses_after_its_text(upstream):
    message = call(upstream, "[sandbox late_refusal]")[1]
    assert (message["content"][0]["text"], message["stop_reason"]) == (TEXT, "refusal")


def test_leaves_the_usage_out(upstream):
    assert "usage" not in call(upstream, "[sandbox no_usage]")[1]


def test_sends_a_field_of_the_future(upstream):
    assert call(upstream, "[sandbox future]")[1]["future"]


def test_thinks_first(upstream):
    message = call(upstream, "[sandbox thinking=7]")[1]

    thinking, text = message["content"]
    assert thinking.keys() == {"type", "thinking", "signature"}
    assert (thinking["type"], len(thinking["thinking"].split())) == ("thinking", 7)
    assert thinking["signature"]
    assert text["text"] == TEXT
    assert message["usage"]["output_tokens"] == 17


@pytest.mark.parametrize(
    ("most", "words", "output", "stop_reason"),
    [(17, 10, 17, "end_turn"), (9, 2, 9, "max_tokens"), (5, 0, 5, "max_tokens")],
)
def test_thinking_counts_against_max_tokens(upstream, most, words, output, stop_reason):
    message = call(upstream, "[sandbox thinking=7]", max_tokens=most)[1]

    assert len(message["content"][1]["text"].split()) == words
    assert (message["usage"]["output_tokens"], message["stop_reason"]) == (output, stop_reason)


def test_calls_a_tool_until_it_has_the_results(upstream):
    messages = [{"role": "user", "content": "[sandbox tool_turns=2]"}]
    for turn in (1, 2):
        message = call(upstream, messages=messages, tools=[{"name": "weather"}, {"name": "other"}])[1]

        text, used = message["content"]
        assert text == {"type": "text", "text": TEXT}
        assert used == {"type": "tool_use", "id": used["id"], "name": "weather", "input": {"turn": turn}}
        assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("tool_use", 15)
        messages += [
            {"role": "assistant", "content": message["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": used["id"], "content": "rain"}]},
        ]
    message = call(upstream, messages=messages, tools=[{"name": "weather"}])[1]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("end_turn", 10)


def test_without_tools_it_calls_none(upstream):
    assert call(upstream, "[sandbox tool_turns=2]")[1]["stop_reason"] == "end_turn"


def test_a_tool_call_that_does_not_fit(upstream):
    message = call(upstream, "[sandbox tool_turns=1]", tools=[{"name": "weather"}], max_tokens=14)[1]

    assert [block["type"] for block in message["content"]] == ["text"]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 10)


@pytest.mark.parametrize(("directive", "used_first"), [("decline", 0), ("decline_after=20", 20)])
def test_lets_a_fallback_answer(upstream, directive, used_first):
    prompt = f"[sandbox {directive}][sandbox input_tokens=9][sandbox cache_read=5]"
    message = call(upstream, prompt, fallbacks=[{"model": "f"}, {"model": "g"}])[1]

    assert (message["model"], message["stop_reason"]) == ("sandbox/f", "end_turn")
    assert message["content"][0] == {"type": "fallback", "from": {"model": "m"}, "to": {"model": "f"}}
    assert message["content"][1]["text"] == TEXT
    served = {**FRESH, "input_tokens": 9, "output_tokens": 10, "cache_read_input_tokens": 5}
    first = {**FRESH, "type": "message", "model": "m", "input_tokens": 9, "output_tokens": used_first}
    assert message["usage"] == {
        **served,
        "iterations": [first, {"type": "fallback_message", "model": "f", **served}],
    }


@pytest.mark.parametrize("fallbacks", [[], "default"])
def test_nobody_named_to_fall_back_on(upstream, fallbacks):
    assert call(upstream, "[sandbox decline]", fallbacks=fallbacks)[1]["stop_reason"] == "refusal"
    assert call(upstream, "Hello", fallbacks=[{"model": "f"}])[1]["model"] == "sandbox/m"
