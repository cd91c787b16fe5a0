"""A refusal before any output costs nothing, and what is output is the same whether it streams or not."""

import json

import pytest
from calls import USAGE, both, event, message, requests_in

EMPTY, TEXT = {"type": "text", "text": ""}, {"type": "text", "text": "Hi"}
MARK = {"type": "fallback", "from": {"model": "m"}, "to": {"model": "b"}}

START = event("message_start", message={"model": "m", "usage": USAGE})
REFUSAL = event("message_delta", delta={"stop_reason": "refusal"}, usage=USAGE)
STOP = event("message_stop")


def whole(content):
    return message(content=content, stop_reason="refusal")


def streamed(content):
    """The same as events; texts that are not empty come as deltas."""
    pieces = [START]
    for index, block in enumerate(content):
        text = block.get("text")
        pieces.append(event("content_block_start", index=index, content_block=block | ({"text": ""} if text else {})))
        if text:
            pieces.append(event("content_block_delta", index=index, delta={"type": "text_delta", "text": text}))
        pieces.append(event("content_block_stop", index=index))
    return [*pieces, REFUSAL, STOP]


@both
@pytest.mark.parametrize(
    ("content", "charge"),
    [
        ([], 0),
        ([EMPTY], 0),
        ([MARK, EMPTY], 0),
        ([TEXT], 7),
        ([EMPTY, TEXT], 7),
        ([{"type": "tool_use", "id": "t", "name": "a", "input": {}}], 7),
        ([{"type": "thinking", "thinking": "", "signature": ""}], 7),
        ([MARK, {"type": "future"}], 7),
    ],
    ids=str,
)
def test_what_was_written_decides_what_a_refusal_costs(
    make_client, send, new_license, state, sql, logged, upstream_saying, content, charge, stream
):
    said = streamed(content) if stream else whole(content)
    client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, said)), new_license()

    response = send(license, client=client, stream=stream)
    if stream:
        balance = f": obol-credits-balance: {1000 - charge}\n" if charge else ""
        assert response.data == b"".join(said) + f": obol-credits-charged: {charge}\n{balance}\n".encode()
    else:
        assert (response.data, response.headers["obol-credits-charged"]) == (said, str(charge))
    assert state(license)[:2] == (1000 - charge, 0)
    assert sql("SELECT state FROM obol.holds") == [("settled" if charge else "released",)]
    assert [line["credits"] for line in requests_in(logged)] == [charge]


def test_a_block_whose_beginning_nobody_can_read_is_output(make_client, send, new_license, state, upstream_saying):
    garbled = b"event: content_block_start\ndata: {\n\n"
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, [START, garbled, REFUSAL, STOP]))
    license = new_license()

    response = send(license, client=client, stream=True)
    assert garbled in response.data
    assert state(license) == (993, 0, 2)


@both
@pytest.mark.parametrize(("content", "charge"), [([EMPTY], 0), ([{"type": "tool_use", "input": {}}], 7)])
def test_generate_refuses_what_was_not_written_and_sells_what_was(
    make_client, new_license, state, problem, upstream_saying, content, charge, stream
):
    said = streamed(content) if stream else whole(content)
    client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, said)), new_license()

    response = client.post(
        "/api/v1/generate", json={"prompt": "Hi", "stream": stream}, headers=license.headers, buffered=True
    )
    if charge:
        document = json.loads(response.data.partition(b"event: done\ndata: ")[2]) if stream else response.get_json()
        assert (document["stop_reason"], document["credits"]["charged"]) == ("refusal", charge)
    elif stream:
        assert b"event: error\n" in response.data
        assert b"The model refused to answer. Nothing was charged." in response.data
    else:
        assert problem(response, "upstream_error")["detail"] == "The model refused to answer. Nothing was charged."
    assert state(license)[:2] == (1000 - charge, 0)
