"""POST /api/v1/generate with `"stream": true`: the events that its description promises."""

import json

import pytest
from calls import event, requests_in

from service.gateway import sse
from service.http.services import services_of

KEY = {"Idempotency-Key": "k"}
START = event("message_start", message={"model": "m", "usage": {"input_tokens": 3}})
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4}) + event("message_stop")
PROMPT = "[sandbox input_tokens=30]"
WORDS = ["This", " answer", " comes", " from", " the", " sandbox,", " not", " from", " a", " model."]


@pytest.fixture
def ask(ask):
    """`ask(license, …)`, for a stream unless a test says otherwise."""

    def post(license, prompt=PROMPT, *more, stream=True, **fields):
        return ask(license, prompt, *more, stream=stream, **fields)

    return post


def events(response):
    """(name, document) of each event; pings and the like are comments, and left out."""
    assert (response.status_code, response.content_type) == (200, "text/event-stream; charset=utf-8")
    return [(event.name, json.loads(event.data())) for event in sse.events([response.data]) if event.name]


def error(response, code="upstream_error"):
    """The texts before an error event, and its document."""
    *texts, (name, document) = events(response)
    assert (name, document["code"], document["type"]) == ("error", code, f"/problems/{code}")
    assert document["instance"] == f"urn:obol:request:{response.headers['request-id']}"
    assert {name for name, _ in texts} <= {"text"}
    return texts, document


def test_the_events_of_an_answer(ask, new_license, state, sql, upstream):
    license = new_license()

    response = ask(license)

    ((hold_id,),) = sql("SELECT hold_id::text FROM obol.holds")
    usage = {"input_tokens": 30, "output_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    done = {
        "id": hold_id,
        "model": "sandbox/claude-sonnet-5-5",
        "stop_reason": "end_turn",
        "usage": usage,
        "credits": {"charged": 40, "balance": 960},
    }
    assert events(response) == [*[("text", {"text": word}) for word in WORDS], ("done", done)]
    assert list(events(response)[-1][1]) == list(done)
    texts = "".join(f'event: text\ndata: {{"text":"{word}"}}\n\n' for word in WORDS)
    whole = f": ping\n\n{texts}event: done\ndata: {json.dumps(done, separators=(',', ':'))}\n\n"
    assert response.data.decode() == whole
    assert json.loads(upstream.received[0].body)["stream"] is True
    assert state(license) == (960, 0, 2)
    assert response.headers["obol-max-tokens"] == "512"
    assert response.headers["obol-credits-held"] == str(len(PROMPT) + 32 + 512)


@pytest.mark.parametrize("directives", ["[sandbox split=1]", "[sandbox future]", "[sandbox repeat_delta]"])
def test_how_the_upstream_says_it_makes_no_difference(ask, new_license, state, directives):
    license = new_license()

    told = events(ask(license, PROMPT + directives))
    assert [document["text"] for name, document in told if name == "text"] == WORDS
    assert [document["credits"] for name, document in told if name == "done"] == [{"charged": 40, "balance": 960}]
    assert state(license) == (960, 0, 2)


def test_what_is_no_text_is_left_out_and_charged(ask, new_license, state):
    license = new_license()

    told = events(ask(license, f"{PROMPT} [sandbox thinking=5]"))
    assert [document["text"] for name, document in told if name == "text"] == WORDS
    assert told[-1][1]["usage"]["output_tokens"] == 15
    assert state(license) == (955, 0, 2)


def test_a_stream_tells_the_same_as_a_whole_answer(ask, new_license):
    license = new_license()

    whole = ask(license, stream=False).get_json()
    *texts, (_, done) = events(ask(license))
    assert "".join(document["text"] for _, document in texts) == whole["text"]
    for name in ("model", "stop_reason", "usage"):
        assert done[name] == whole[name]
    assert done["credits"]["charged"] == whole["credits"]["charged"] == 40


def test_text_of_any_kind_is_told(make_client, ask, new_license, upstream_saying):
    def text(value):
        return event("content_block_delta", delta=value)

    pieces = [
        START,
        text({"type": "text_delta", "text": 'é\n"\u2028 '}),
        text({"type": "text_delta", "text": ""}),
        text({"type": "input_json_delta", "partial_json": "{}"}),
        text("none"),
        text({"type": "text_delta", "text": ["no", "text"]}),
        END,
    ]
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, pieces))

    told = events(ask(new_license(), client=client))
    # Only strings are text, as in an answer that is not streamed.
    assert [document["text"] for name, document in told if name == "text"] == ['é\n"\u2028 ']
    assert told[-1][0] == "done"


def test_a_keyed_stream_comes_again_byte_for_byte(ask, new_license, state, upstream):
    license = new_license()
    first = ask(license, headers=KEY)

    again = ask(license, headers=KEY)
    assert again.data == first.data
    assert again.headers["obol-replayed"] == "true"
    assert (again.headers["obol-credits-charged"], again.headers["obol-credits-balance"]) == ("40", "960")
    assert "obol-credits-held" not in again.headers
    assert state(license) == (960, 0, 2)
    assert upstream.calls == 1


def test_a_key_stands_for_a_stream_or_a_whole_answer(ask, new_license, problem, upstream):
    license = new_license()
    ask(license, headers=KEY)

    problem(ask(license, headers=KEY, stream=False), "idempotency_key_reused")
    assert upstream.calls == 1


@pytest.mark.parametrize(
    ("directive", "words", "texts"),
    [
        ("cut_after=5", "connection to the model failed", 2),
        ("end_after=15", "broke off", 10),
        ("error_after=6", "failed in the middle", 3),
        ("garbage", "could not be read", 0),
        ("no_usage", "could not be read", 10),
    ],
)
def test_an_answer_that_breaks_off_costs_nothing(ask, new_license, state, sql, logged, directive, words, texts):
    license = new_license()

    told, document = error(ask(license, f"[sandbox {directive}]", KEY))
    assert words in document["detail"]
    assert (len(told), document["status"]) == (texts, 502)
    assert b"The prompt asked" not in json.dumps(document).encode()
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)
    (line,) = requests_in(logged)
    assert (line["code"], line["credits"], line["status"]) == ("upstream_error", 0, 200)
    # The key is free again.
    assert events(ask(license, headers=KEY))[-1][0] == "done"


def test_an_upstream_that_stalls(make_client, ask, new_license, state):
    client, license = make_client(OBOL_UPSTREAM_TIMEOUT_S="1"), new_license()

    _, document = error(ask(license, "[sandbox stall_after=5]", client=client), "upstream_timeout")
    assert document["status"] == 504
    assert state(license) == (1000, 0, 1)


def test_a_refusal_is_no_answer_and_costs_nothing(ask, new_license, state):
    license = new_license()

    told, document = error(ask(license, "[sandbox refusal]"))
    assert (told, document["detail"]) == ([], "The model refused to answer. Nothing was charged.")
    assert state(license) == (1000, 0, 1)


def test_a_refusal_after_some_text_is_an_answer(ask, new_license, state):
    license = new_license()

    assert events(ask(license, f"{PROMPT} [sandbox late_refusal]"))[-1][1]["stop_reason"] == "refusal"
    assert state(license) == (960, 0, 2)


def test_text_that_nobody_could_read_is_not_sold(make_client, ask, new_license, state, upstream_saying):
    pieces = [
        START,
        b'event: content_block_delta\ndata: {"delta": {"text": \n\n',
        END,
    ]
    client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, pieces)), new_license()

    assert error(ask(license, client=client))[0] == []
    assert state(license) == (1000, 0, 1)


def test_what_cannot_be_paid_for_is_withheld(app, ask, new_license, state, sql):
    license = new_license()
    sql("ALTER TABLE obol.ledger_entries ADD CONSTRAINT no_charges CHECK (kind <> 'charge')")

    texts, document = error(ask(license), "database_error")
    assert (len(texts), "withheld" in document["detail"]) == (10, True)
    services_of(app).lease.beat()
    assert state(license) == (1000, 0, 1)


def test_before_a_stream_begins_an_error_is_a_response(ask, new_license, problem, upstream):
    problem(ask(new_license(credits=0)), "insufficient_credits")
    problem(ask(new_license(), "[sandbox status=529]"), "upstream_error", "7")
    problem(ask(new_license(), "[sandbox close]"), "upstream_error", "1")
    problem(ask(new_license(), stream="yes"), "validation_failed")
    assert upstream.calls == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_cap_lowers_max_tokens_or_refuses(ask, new_license, problem, state, upstream, stream):
    license, prompt = new_license(), PROMPT + "a" * 1000
    counted = 30 + 3 + 32

    response = ask(license, prompt, {"obol-max-credits": str(counted + 300)}, stream=stream)
    assert (response.headers["obol-max-tokens"], response.headers["obol-credits-held"]) == ("300", str(counted + 300))
    assert json.loads(upstream.received[-1].body)["max_tokens"] == 300
    assert state(license) == (960, 0, 2)

    refused = ask(license, prompt, {"obol-max-credits": str(counted + 255)}, stream=stream)
    assert problem(refused, "max_credits_exceeded")["required"] == counted + 256
    refused = ask(license, prompt, {"obol-max-credits": "many"}, stream=stream)
    assert problem(refused, "validation_failed")["errors"][0]["field"] == "obol-max-credits"
    assert (upstream.count_calls, upstream.calls) == (2, 1)
    assert state(license) == (960, 0, 2)
