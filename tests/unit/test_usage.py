"""From the usage of the wire to tokens of each class: none twice, none left out."""

import pytest

from service.gateway.usage import count_tokens, count_unpriced, merge_usage, read_usage
from service.pricing import CLASSES


def wire(input=1, output=2, **more):
    return {"input_tokens": input, "output_tokens": output, **more}


def tokens(input=1, output=2, written_5m=0, written_1h=0, read=0, model=None):
    counts = {
        "input": input,
        "output": output,
        "cache_write_5m": written_5m,
        "cache_write_1h": written_1h,
        "cache_read": read,
    }
    return counts if model is None else {"model": model, **counts}


def split(written_5m=None, written_1h=None):
    both = {"ephemeral_5m_input_tokens": written_5m, "ephemeral_1h_input_tokens": written_1h}
    return {name: count for name, count in both.items() if count is not None}


def attempt(model=None, input=1, output=2, **more):
    return {"type": "message", **({} if model is None else {"model": model}), **wire(input, output), **more}


def price(**credits):
    return {name: credits.get(name, 0) * 1_000_000 for name in CLASSES}


PRICE = {**price(input=2, output=2), "models": {"b": price(input=1, output=5), "c-20250101": price(input=9)}}
ALONE, WITH_FALLBACKS = ["a"], ["a", "b", "c-20250101"]


def used(usage, answered_by="a", models=ALONE):
    return read_usage(usage, answered_by=answered_by, models=models, price=PRICE)


@pytest.mark.parametrize(
    ("more", "written_5m", "written_1h", "read"),
    [
        ({}, 0, 0, 0),
        ({"cache_creation_input_tokens": None, "cache_read_input_tokens": None, "cache_creation": None}, 0, 0, 0),
        ({"cache_read_input_tokens": 5}, 0, 0, 5),
        ({"cache_creation_input_tokens": 7}, 7, 0, 0),
        ({"cache_creation_input_tokens": 7, "cache_creation": None}, 7, 0, 0),
        ({"cache_creation_input_tokens": 7, "cache_creation": {}}, 7, 0, 0),
        ({"cache_creation_input_tokens": 7, "cache_creation": split(3, 4)}, 3, 4, 0),
        ({"cache_creation_input_tokens": 7, "cache_creation": split(7)}, 7, 0, 0),
        ({"cache_creation_input_tokens": 7, "cache_creation": split(None, 7)}, 0, 7, 0),
        ({"cache_creation_input_tokens": 7, "cache_creation": split(0, 7)}, 0, 7, 0),
        # What the split leaves out was written all the same.
        ({"cache_creation_input_tokens": 7, "cache_creation": split(None, 3)}, 4, 3, 0),
        ({"cache_creation_input_tokens": 7, "cache_creation": split(0, 0)}, 7, 0, 0),
        # A split without its total is no reason to charge less.
        ({"cache_creation": split(3, 4)}, 3, 4, 0),
        ({"cache_creation_input_tokens": 7, "cache_creation": split(3, 4), "cache_read_input_tokens": 9}, 3, 4, 9),
        # Figures that are not about tokens of a class change nothing; thinking is output already.
        ({"output_tokens_details": {"thinking_tokens": 1}, "service_tier": "standard", "future": [1]}, 0, 0, 0),
    ],
)
def test_every_token_is_in_one_class(more, written_5m, written_1h, read):
    expected = tokens(written_5m=written_5m, written_1h=written_1h, read=read)

    assert used(wire(**more)) == expected
    # One attempt is the same, told in another way; with fallbacks it has its model's name.
    assert used(wire(99, 99, iterations=[attempt(**more)])) == expected
    named = {"attempts": [{"model": "a", **expected}]}
    assert used(wire(**more), models=WITH_FALLBACKS) == named
    assert used(wire(99, 99, iterations=[attempt("a", **more)]), models=WITH_FALLBACKS) == named


@pytest.mark.parametrize(
    "garbage",
    [
        None,
        [],
        "usage",
        {},
        {"input_tokens": 1},
        {"output_tokens": 1},
        wire(output=None),
        wire(output=-1),
        wire(input="1"),
        wire(input=True),
        wire(input=1.0),
        wire(output=10**9 + 1),
        wire(cache_read_input_tokens="9"),
        wire(cache_read_input_tokens=-1),
        wire(cache_creation_input_tokens=-9),
        wire(cache_creation_input_tokens=True),
        wire(cache_creation_input_tokens="9"),
        wire(cache_creation_input_tokens=10**9 + 1),
        wire(cache_creation=split(0.5)),
        wire(cache_creation=split(None, "1")),
        wire(cache_creation_input_tokens=5, cache_creation=split(None, -5)),
        wire(iterations={"a": 1}),
        wire(iterations=[attempt(), None]),
        wire(iterations=[attempt(), {}]),
        wire(iterations=[attempt(output=-1), attempt()]),
    ],
    ids=str,
)
def test_usage_that_says_nothing_can_be_charged_as_nothing(garbage):
    assert used(garbage) is None
    assert used(garbage, models=WITH_FALLBACKS) is None


def test_the_largest_count_is_one():
    assert used(wire(output=10**9)) == tokens(output=10**9)


@pytest.mark.parametrize("nothing", [[], None])
def test_no_iterations_are_none(nothing):
    assert used(wire(iterations=nothing)) == tokens()
    assert used(wire(iterations=nothing), "b", WITH_FALLBACKS) == {"attempts": [tokens(model="b")]}


def test_an_attempt_that_declined_before_any_output_is_not_charged():
    declined, answered = attempt("a", 50, 0), attempt("b", 30, 20, cache_read_input_tokens=4)

    usage = used(wire(30, 20, iterations=[declined, answered]), "b", WITH_FALLBACKS)
    assert usage == {"attempts": [tokens(30, 20, read=4, model="b")]}


def test_an_attempt_that_declined_after_some_output_is_charged_at_its_own_price():
    usage = used(wire(30, 20, iterations=[attempt("a", 50, 7), attempt("b", 30, 20)]), "b", WITH_FALLBACKS)
    assert usage == {"attempts": [tokens(50, 7, model="a"), tokens(30, 20, model="b")]}


def test_the_last_attempt_is_charged_even_without_output():
    assert used(wire(iterations=[attempt("a", 50, 0), attempt("b", 30, 0)]), "b", WITH_FALLBACKS) == {
        "attempts": [tokens(30, 0, model="b")]
    }
    assert used(wire(iterations=[attempt("a", 50, 0)]), models=WITH_FALLBACKS) == {
        "attempts": [tokens(50, 0, model="a")]
    }
    assert used(wire(iterations=[attempt("a", 50, 0)])) == tokens(50, 0)


@pytest.mark.parametrize("ran_on", [None, "a", "b", "anything"])
def test_the_attempts_of_the_one_model_are_all_charged_and_need_no_name(ran_on):
    usage = wire(iterations=[attempt(None, 10, 1), attempt(ran_on, 20, 2)])
    assert used(usage, "whatever") == {"attempts": [tokens(10, 1), tokens(20, 2)]}


@pytest.mark.parametrize(
    ("reported", "charged_as"),
    [
        ("a", "a"),
        ("a-20251001", "a"),
        ("b", "b"),
        ("b-20251001", "b"),
        ("c-20250101", "c-20250101"),
        ("c-20250101-20251001", "c-20250101"),
    ],
)
def test_the_model_of_an_attempt_is_named_as_the_request_named_it(reported, charged_as):
    answered = {"attempts": [tokens(30, 20, model=charged_as)]}
    both = {"attempts": [tokens(50, 7, model="a"), tokens(30, 20, model=charged_as)]}

    iterations = [attempt("a", 50, 7), attempt(reported, 30, 20)]
    assert used(wire(1, 1, iterations=iterations), "unheard-of", WITH_FALLBACKS) == both
    # Without iterations the message's own model tells.
    assert used(wire(30, 20), reported, WITH_FALLBACKS) == answered


@pytest.mark.parametrize("models", [["b", "b-20251001"], ["b-20251001", "b"]])
@pytest.mark.parametrize("reported", ["b", "b-20251001"])
def test_the_exact_name_of_a_model_outranks_the_one_without_its_date(models, reported):
    assert used(wire(), reported, models) == {"attempts": [tokens(model=reported)]}


@pytest.mark.parametrize("reported", ["b-2025", "b-fast", "b-20251001-fast", "xb", "B", "", "c", "c-20260101", 7, None])
@pytest.mark.parametrize(
    ("input", "output", "dearest"),
    # 2 credits for each token, or 1 and 5, or 9 and nothing: which is the dearest depends on the counts.
    [(10, 10, "c-20250101"), (10, 20, "b"), (0, 1, "b"), (1, 0, "c-20250101"), (8, 16, "b"), (9, 18, "b")],
)
def test_an_attempt_under_a_name_that_the_request_does_not_have_is_the_dearest(reported, input, output, dearest):
    expected = {"attempts": [tokens(input, output, model=dearest)]}

    assert used(wire(iterations=[attempt(input=input, output=output) | {"model": reported}]), "a", WITH_FALLBACKS) == (
        expected
    )
    if isinstance(reported, str):
        assert used(wire(input, output), reported, WITH_FALLBACKS) == expected


def test_the_model_that_was_asked_for_can_be_the_dearest():
    assert used(wire(0, 3, cache_read_input_tokens=1), "x", ["a", "c-20250101"]) == {
        "attempts": [tokens(0, 3, read=1, model="a")]
    }


def test_figures_are_cumulative_and_what_is_left_out_keeps_its_value():
    usage = merge_usage({}, {"input_tokens": 30, "output_tokens": 1, "cache_creation": split(3)})
    usage = merge_usage(usage, {"output_tokens": 5})
    usage = merge_usage(usage, {"output_tokens": 9, "input_tokens": None, "cache_read_input_tokens": 2})

    assert usage == {
        "input_tokens": 30,
        "output_tokens": 9,
        "cache_creation": split(3),
        "cache_read_input_tokens": 2,
    }


@pytest.mark.parametrize("nothing", [None, [], "usage", 7, {}])
def test_what_says_nothing_changes_nothing(nothing):
    before = {"input_tokens": 1}

    assert merge_usage(before, nothing) == {"input_tokens": 1}
    assert before == {"input_tokens": 1}


@pytest.mark.parametrize(
    ("usage", "requests"),
    [
        ({"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}}, {"web_search_requests": 2}),
        ({"server_tool_use": {"a": True, "b": "2", "c": -1, "d": None}}, {}),
        ({"server_tool_use": None}, {}),
        ({"server_tool_use": [1]}, {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_requests_that_tokens_do_not_pay_for(usage, requests):
    assert count_unpriced(usage) == requests


def test_the_tokens_of_a_usage_are_those_of_all_classes_and_attempts():
    assert count_tokens(tokens(1, 2, 4, 8, 16)) == 31
    assert count_tokens({"attempts": [tokens(1, 2, 4, 8, 16, model="a"), tokens(100, 0, model="b")]}) == 131
