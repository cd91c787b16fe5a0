"""The official Python SDK with nothing changed but base URL and key: what it gives for an answer."""

import asyncio
import json
from threading import Semaphore

import anthropic
import pytest
from asking import MODEL, TEXT, TOOL, asked, cost_of, message_calls

from service.dev.sandbox import models


def test_an_answer_is_a_message_of_the_sdk_and_charged_to_the_token(client, license, books, upstream):
    message = client.messages.create(**asked())

    assert type(message) is anthropic.types.Message
    assert [type(block) for block in message.content] == [anthropic.types.TextBlock]
    assert (message.content[0].text, message.stop_reason) == (TEXT, "end_turn")
    assert message.model == f"sandbox/{MODEL}"
    assert message._request_id.startswith("req_")
    assert upstream.used == [message.usage.model_dump(include=set(upstream.used[0]))]
    assert books(license) == (100_000 - cost_of(message.usage), 0, [cost_of(message.usage)])


def test_the_headers_of_an_answer_tell_what_it_cost(client, license, books):
    response = client.messages.with_raw_response.create(**asked())

    balance, _, (charge,) = books(license)
    assert response.headers["obol-credits-charged"] == str(charge) == str(cost_of(response.parse().usage))
    assert response.headers["obol-credits-balance"] == str(balance)
    assert int(response.headers["obol-credits-held"]) >= charge
    assert response.headers["obol-max-tokens"] == "100"
    assert response.headers["request-id"] == response.parse()._request_id
    # What the upstream says about our account with it is none of the client's business.
    assert not [name for name in response.headers if name.startswith(("anthropic-", "set-cookie"))]


def test_a_stream_gives_text_as_it_comes_and_then_the_whole_message(client, license, books):
    with client.messages.stream(**asked()) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()

    assert len(pieces) == 10
    assert "".join(pieces) == message.content[0].text == TEXT
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 10)
    assert stream.request_id.startswith("req_")
    assert books(license) == (100_000 - cost_of(message.usage), 0, [cost_of(message.usage)])


def test_the_first_piece_of_a_stream_comes_before_the_last_is_written(client, upstream, wait_with):
    # The sandbox waits before every event but the first: before the fourth, which is the first piece, and
    # then again, for as long as nobody has it.
    waits = Semaphore(3)
    wait_with(lambda: waits.acquire(timeout=60))

    with client.messages.stream(**asked("event_delay_ms=1")) as stream:
        next(iter(stream.text_stream))
        used_at_first = list(upstream.used)
        waits.release(100)
        stream.until_done()

    assert (used_at_first, len(upstream.used)) == ([], 1)


def test_a_stream_of_raw_events_has_every_event_once_and_nothing_of_obol_s(client):
    with client.messages.create(**asked(), stream=True) as stream:
        events = [event.type for event in stream]

    assert events == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 10,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_what_a_stream_cost_is_a_comment_at_its_end(client, license, books):
    with client.messages.with_streaming_response.create(**asked(), stream=True) as response:
        lines = list(response.iter_lines())

    balance, _, (charge,) = books(license)
    comments = [line for line in lines if line.startswith(":")]
    assert {f": obol-credits-charged: {charge}", f": obol-credits-balance: {balance}"} <= set(comments)
    assert lines.index("event: message_stop") < lines.index(comments[0])
    assert response.headers["content-type"].startswith("text/event-stream")


def test_what_a_later_api_sends_does_not_get_lost_or_in_the_way(client):
    message = client.messages.create(**asked("future"))
    with client.messages.create(**asked("future"), stream=True) as stream:
        events = [event.type for event in stream]

    assert message.model_extra["future"] == {"note": "This field is not in the documentation."}
    assert (events.count("content_block_future"), events[-1]) == (1, "message_stop")


def test_thinking_comes_in_its_own_block_and_counts_as_output(client):
    thought = asked("thinking=50", max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024})
    with client.messages.stream(**thought) as stream:
        message = stream.get_final_message()

    assert [block.type for block in message.content] == ["thinking", "text"]
    assert len(message.content[0].thinking.split()) == 50
    assert message.content[0].signature
    assert message.usage.output_tokens == 60


def test_the_tokens_of_a_cache_are_charged_too(client, license, books):
    cached = asked("cache_write_5m=100] [sandbox cache_write_1h=200] [sandbox cache_read=300")
    message = client.messages.create(**cached, cache_control={"type": "ephemeral", "ttl": "1h"})

    assert message.usage.cache_creation.ephemeral_1h_input_tokens == 200
    assert cost_of(message.usage) == message.usage.input_tokens + 600 + 10
    assert books(license)[2] == [cost_of(message.usage)]


@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_the_beta_client_s_headers_reach_the_upstream(client, upstream, how):
    features = {"betas": ["context-1m-2025-08-07", "some-beta-2026-01-01"]}
    # Not the version that Obol's own SDK would send.
    features["extra_headers"] = {"anthropic-version": "2023-06-01"}
    if how == "whole":
        message = client.beta.messages.create(**asked(), **features)
    else:
        with client.beta.messages.stream(**asked(), **features) as stream:
            message = stream.get_final_message()

    assert isinstance(message, anthropic.types.beta.BetaMessage)
    assert message.content[0].text == TEXT
    (received,) = upstream.received
    assert received.headers["anthropic-beta"] == ",".join(features["betas"])
    assert received.headers["anthropic-version"] == "2023-06-01"


def test_the_query_of_older_beta_clients_reaches_the_upstream(client, upstream):
    message = client.beta.messages.create(**asked(), extra_query={"beta": "true"})

    assert message.content[0].text == TEXT
    assert [received.path for received in upstream.received] == ["/v1/messages?beta=true"]


def test_no_license_key_and_nothing_else_of_the_client_reaches_the_upstream(client, license, upstream):
    client.messages.create(**asked(), extra_headers={"Idempotency-Key": "k-1", "Cookie": "a=b"})

    (received,) = upstream.received
    assert received.headers["authorization"] == "Bearer test-upstream-key"
    assert not [said for said in (license.raw_key, "k-1", "a=b") if said in str(received)]


def test_a_tool_call_has_its_types_and_its_input(client):
    message = client.messages.create(**asked("tool_turns=1", tools=[TOOL]))

    assert message.stop_reason == "tool_use"
    text, call = message.content
    assert (type(text), type(call)) == (anthropic.types.TextBlock, anthropic.types.ToolUseBlock)
    assert (call.name, call.input) == ("next_step", {"turn": 1})


def test_the_input_of_a_streamed_tool_call_comes_in_pieces_and_whole(client):
    with client.messages.stream(**asked("tool_turns=1", tools=[TOOL])) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()

    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == message.content[1].input == {"turn": 1}


def test_counting_tokens_is_free_and_tells_what_an_answer_will_report(client, license, books):
    request = asked()
    counted = client.messages.count_tokens(model=request["model"], messages=request["messages"])
    beta = client.beta.messages.count_tokens(model=request["model"], messages=request["messages"])
    free = books(license)

    assert free == (100_000, 0, [])
    assert counted.input_tokens == beta.input_tokens == client.messages.create(**request).usage.input_tokens


def test_models_are_listed_page_by_page_and_shown(client):
    first = client.models.list(limit=1)
    shown = client.models.retrieve(MODEL)

    assert ([model.id for model in first.data], first.has_more) == (["claude-opus-5-5"], True)
    assert [model.id for model in first] == [model["id"] for model in models.MODELS]
    assert (type(shown), shown.id, shown.created_at.year) == (anthropic.types.ModelInfo, MODEL, 2026)


def test_the_environment_variables_of_the_sdk_are_enough(served, license, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", served.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", license.raw_key)
    with anthropic.Anthropic() as client:
        assert client.messages.create(**asked()).content[0].text == TEXT


def test_the_async_client_gets_the_same(served, license, books):
    async def ask():
        options = {"base_url": served.url, "api_key": license.raw_key, "max_retries": 0}
        async with anthropic.AsyncAnthropic(**options) as client:
            whole = await client.messages.create(**asked())
            async with client.messages.stream(**asked()) as stream:
                text = "".join([piece async for piece in stream.text_stream])
                streamed = await stream.get_final_message()
            raw = [event.type async for event in await client.messages.create(**asked(), stream=True)]
            counted = await client.messages.count_tokens(model=MODEL, messages=asked()["messages"])
            listed = [model.id async for model in client.models.list(limit=2)]
        return whole, text, streamed, raw, counted, listed

    whole, text, streamed, raw, counted, listed = asyncio.run(ask())

    assert whole.content[0].text == streamed.content[0].text == text == TEXT
    assert (raw[0], raw[-1]) == ("message_start", "message_stop")
    assert counted.input_tokens == whole.usage.input_tokens
    assert len(listed) == len(models.MODELS)
    assert books(license)[2] == [cost_of(whole.usage)] * 3


def test_many_async_calls_at_once_are_each_charged_once(served, license, books, upstream):
    async def ask():
        options = {"base_url": served.url, "api_key": license.raw_key, "max_retries": 0}
        async with anthropic.AsyncAnthropic(**options) as client:

            async def streamed():
                async with client.messages.stream(**asked("delay_ms=100")) as stream:
                    return await stream.get_final_message()

            whole = [client.messages.create(**asked("delay_ms=100")) for _ in range(10)]
            return await asyncio.gather(*whole, *[streamed() for _ in range(10)])

    costs = [cost_of(message.usage) for message in asyncio.run(ask())]

    balance, held, charges = books(license)
    assert (balance, held, sorted(charges)) == (100_000 - sum(costs), 0, sorted(costs))
    assert message_calls(upstream) == 20


def test_older_clients_send_the_key_as_x_api_key(served, license):
    """As the SDKs did before 2026, and as everything does that was written against the API by hand."""
    headers = {"x-api-key": license.raw_key, "anthropic-version": "2023-06-01"}
    status, body = served.post("/v1/messages", json.dumps(asked()).encode(), headers)

    assert (status, json.loads(body)["content"][0]["text"]) == (200, TEXT)
    assert served.get("/v1/models", headers)[0] == 200
    assert served.get("/v1/models", {"x-api-key": "wrong"})[0] == 401
