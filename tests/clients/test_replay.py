"""The official Python SDK with an Idempotency-Key: the same answer again, charged once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import uuid4

import anthropic
import httpx2
import pytest
from asking import TEXT, TOOL, asked, cost_of, message_calls
from factories import wait_until


def keyed(directives="", **more):
    """A request under a key of its own."""
    return asked(directives, extra_headers={"Idempotency-Key": str(uuid4())}, **more)


def streamed(client, request):
    """The message of a stream, and the types of its events."""
    with client.messages.stream(**request) as stream:
        events = [event.type for event in stream]
        return stream.get_final_message(), events


def test_the_same_key_gives_the_same_answer_and_is_charged_once(client, license, books, upstream):
    request = keyed("tool_turns=1", tools=[TOOL])
    first = client.messages.create(**request)
    again = client.messages.with_raw_response.create(**request)

    assert again.parse().to_dict() == first.to_dict()
    assert again.headers["obol-replayed"] == "true"
    assert message_calls(upstream) == 1
    assert books(license) == (100_000 - cost_of(first.usage), 0, [cost_of(first.usage)])


def test_a_stream_is_streamed_again_event_by_event_and_charged_once(client, license, books, upstream):
    request = keyed("thinking=5] [sandbox tool_turns=1", tools=[TOOL])
    first, events = streamed(client, request)
    again, events_again = streamed(client, request)

    assert again.to_dict() == first.to_dict()
    assert events_again == events
    assert message_calls(upstream) == 1
    assert books(license)[2] == [cost_of(first.usage)]


def test_another_key_or_none_is_another_call(client, license, books, upstream):
    messages = [client.messages.create(**request) for request in (keyed(), keyed(), asked(), asked())]

    assert len({message.id for message in messages}) == 4
    assert books(license)[2] == [cost_of(message.usage) for message in messages]


def test_one_key_for_two_requests_is_refused(make_client, license, books):
    """As `default_headers` would have it: a key belongs to one request, and not to a client."""
    client = make_client(default_headers={"Idempotency-Key": "always-the-same"})
    client.messages.create(**asked())
    with pytest.raises(anthropic.UnprocessableEntityError) as raised:
        client.messages.create(**asked("output_tokens=3"))

    assert raised.value.error_code == "idempotency_key_reused"
    assert len(books(license)[2]) == 1


def test_a_failed_call_leaves_its_key_free(client, license, books, upstream):
    key = {"Idempotency-Key": "job-of-today"}
    with pytest.raises(anthropic.OverloadedError):
        client.messages.create(**asked("status=529"), extra_headers=key)
    with pytest.raises(anthropic.APIStatusError, match="broke off"):
        streamed(client, asked("end_after=9", extra_headers=key))
    message = client.messages.create(**asked(), extra_headers=key)

    assert message_calls(upstream) == 3
    assert books(license)[2] == [cost_of(message.usage)]


# Nothing of it, half of its head, half of its body.
@pytest.mark.parametrize("keep", [0, 100, 600])
def test_the_sdk_s_own_retry_after_a_lost_answer_gets_the_answer_that_was_paid(
    make_client, relay, license, books, requests, upstream, keep
):
    """The answer is lost before it can be read; the SDK asks again by itself, under the same key."""
    lossy = relay(keep)
    request = keyed()
    message = make_client(base_url=lossy.url, max_retries=3).messages.create(**request)

    assert message.content[0].text == TEXT
    assert len(requests) >= 2
    assert {sent.headers["idempotency-key"] for sent in requests} == {request["extra_headers"]["Idempotency-Key"]}
    assert message_calls(upstream) == 1
    assert books(license) == (100_000 - cost_of(message.usage), 0, [cost_of(message.usage)])


def test_without_a_key_the_sdk_s_retry_is_another_answer_and_another_charge(
    make_client, relay, license, books, upstream
):
    """What a key is good for."""
    message = make_client(base_url=relay(0).url, max_retries=1).messages.create(**asked())

    assert message_calls(upstream) == 2
    assert books(license)[2] == [cost_of(message.usage)] * 2


def test_a_stream_lost_before_it_began_is_asked_for_again_by_the_sdk(make_client, relay, license, books, upstream):
    """Obol reads on without its client; a retry that comes before the end is told to wait."""
    client = make_client(base_url=relay(0).url, max_retries=5)
    message, events = streamed(client, keyed("event_delay_ms=20"))

    assert (message.content[0].text, events[-1]) == (TEXT, "message_stop")
    assert message_calls(upstream) == 1
    assert books(license)[2] == [cost_of(message.usage)]


# In the first events, and in the middle of the text.
@pytest.mark.parametrize("keep", [600, 1500])
def test_a_stream_cut_on_its_way_in_is_an_error_and_comes_whole_the_second_time(
    make_client, relay, license, books, upstream, keep
):
    client = make_client(base_url=relay(keep).url, max_retries=5)
    request = keyed("event_delay_ms=5")
    events = []
    # The SDK hands on what its HTTP client says of a stream that has begun.
    with pytest.raises(httpx2.RemoteProtocolError), client.messages.stream(**request) as stream:
        events.extend(event.type for event in stream)
    assert "message_stop" not in events

    message, events = streamed(client, request)
    assert (message.content[0].text, events[-1]) == (TEXT, "message_stop")
    assert message_calls(upstream) == 1
    assert books(license) == (100_000 - cost_of(message.usage), 0, [cost_of(message.usage)])


def test_a_key_whose_first_call_still_runs_is_waited_for_by_the_sdk(
    make_client, license, books, upstream, requests, wait_with
):
    """Two processes do the same job: the second gets a 409 that the SDK asks again after."""
    refused = Event()
    wait_with(lambda: refused.wait(60))
    client = make_client(max_retries=5)
    request = keyed("delay_ms=1")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.messages.create, **request)
        wait_until(lambda: message_calls(upstream), what="the first call at the upstream")
        second = pool.submit(client.messages.create, **request)
        # The first call, the second, and the second once more.
        wait_until(lambda: len(requests) > 2, what="a retry")
        refused.set()

    assert second.result().to_dict() == first.result().to_dict()
    assert message_calls(upstream) == 1
    assert books(license)[2] == [cost_of(second.result().usage)]
