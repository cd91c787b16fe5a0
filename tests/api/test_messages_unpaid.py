"""Streams that break off: nobody pays for them, so nobody can have them for ever."""

import json

import pytest
from calls import event, requests_in

from service.repository import holds

DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "word " * 20})
START = event("message_start", message={"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}})


@pytest.fixture
def breaking_client(make_client, upstream_saying):
    """A client of an upstream that fails after a hundred pieces, for about 25 tokens each."""
    overloaded = event("error", error={"type": "overloaded_error", "message": "later"})
    url = upstream_saying(200, [START, *[DELTA] * 100, overloaded])
    return make_client(ANTHROPIC_BASE_URL=url, OBOL_UNPAID_TOKENS_PER_HOUR="5000")


def test_broken_streams_cannot_be_farmed(breaking_client, send, new_license, wire_error, state, owner):
    license = new_license(credits=10_000)
    answers = []
    for _ in range(10):
        answers.append(send(license, client=breaking_client, stream=True))
        if answers[-1].status_code != 200:
            break

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    details = wire_error(answers[-1], "limit_exceeded", answers[-1].headers["Retry-After"])
    assert details["limit"] == "unpaid_tokens_per_hour"
    assert 0 < int(answers[-1].headers["Retry-After"]) == details["retry_after_s"] <= 3600
    listed = holds.every(owner, "unpaid")
    assert [row.license_id for row in listed] == [license.id] * 2
    got = [holds.Unpaid(**row.unpaid) for row in listed]
    assert [(one.reason, one.events) for one in got] == [("upstream_error", 101)] * 2
    assert sum(one.tokens for one in got) == details["used"]
    assert all(2500 <= one.tokens <= 3500 and one.bytes == len(START) + 100 * len(DELTA) for one in got)


def test_an_error_event_about_our_account_does_not_name_us(make_client, upstream_saying, send, new_license):
    ours = event("error", error={"type": "rate_limit_error", "message": "Your organization (5a4d) may …"})
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, [START, DELTA, ours]))

    told = send(new_license(credits=10_000), client=client, stream=True).data
    assert b"5a4d" not in told
    error = json.loads(told.rpartition(b"data: ")[2])
    assert (error["type"], error["error"]["type"]) == ("error", "rate_limit_error")


def test_others_are_not_refused(breaking_client, send, new_license):
    for _ in range(3):
        send(new_license(credits=10_000), client=breaking_client, stream=True)
    assert send(new_license(credits=10_000), client=breaking_client, stream=True).status_code == 200


def test_what_nobody_was_there_to_get_does_not_count(make_client, upstream_saying, new_license, send, owner, logged):
    """A client that leaves has got what it had by then, and the rest is read without it."""
    url = upstream_saying(200, [START, *[DELTA] * 100])
    client = make_client(ANTHROPIC_BASE_URL=url)
    response = send(new_license(credits=10_000), client=client, stream=True, buffered=False)
    response.close()

    (listed,) = holds.every(owner, "unpaid")
    assert listed.unpaid["events"] <= 2
    (line,) = requests_in(logged)
    assert line["delivered"] is False


def test_an_answer_in_one_piece_lets_nothing_through(make_client, send, new_license, upstream_saying, owner):
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, json.dumps({"content": []}).encode()))
    assert send(new_license(), client=client).status_code == 502
    assert holds.every(owner, "unpaid") == []


def test_an_empty_refusal_is_free_and_not_unpaid(make_client, send, new_license, owner):
    send(new_license(), "[sandbox refusal]", stream=True)
    assert holds.every(owner, "unpaid") == []
