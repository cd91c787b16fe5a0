"""How much a call sets aside, and when it has to be counted."""

import pytest

from service.admission import Survey
from service.budget import Budget
from service.pricing import CLASSES, HoldSize
from service.problems import Problem

MILLION = 1_000_000


def price(**credits):
    return {name: credits.get(name, 1) * MILLION for name in CLASSES}


ONE = (price(),)


def budget(input_tokens=1000, prices=ONE, max_credits=None, models=("a", "b"), max_tokens=500, least=256):
    models = models[: len(prices)]
    return Budget(Survey(models, input_tokens, ("input", "cache_read"), max_tokens, least), prices, max_credits)


def refusal(act, *arguments):
    with pytest.raises(Problem) as refused:
        act(*arguments)
    return refused.value


def test_a_hold_is_the_input_and_all_of_max_tokens():
    assert budget().hold_size() == HoldSize(1500, 1256)
    assert budget(prices=[price(output=5)]).hold_size() == HoldSize(1000 + 2500, 1000 + 1280)


def test_the_dearest_class_of_those_that_are_possible_counts():
    assert budget(prices=[price(cache_read=3, cache_write_1h=99)]).hold_size() == HoldSize(3500, 3256)


def test_a_cap_bounds_the_hold():
    assert budget(max_credits=1300).hold_size() == HoldSize(1300, 1256)
    assert budget(max_credits=9999).hold_size() == HoldSize(1500, 1256)
    assert budget(max_credits=0, prices=[price(**dict.fromkeys(CLASSES, 0))]).hold_size() == HoldSize(0, 0)


@pytest.mark.parametrize(
    ("input_tokens", "max_credits", "must_be_counted"),
    [(1000, None, False), (1000, 1256, False), (1000, 1255, True), (None, None, True), (None, 99999, True)],
)
def test_when_a_prompt_has_to_be_counted(input_tokens, max_credits, must_be_counted):
    assert budget(input_tokens, max_credits=max_credits).must_be_counted() == must_be_counted


@pytest.mark.parametrize(
    ("prices", "named"),
    [([None], "a"), ([price(), None], "b"), ([None, None], "a"), ([None, price()], "a")],
)
def test_without_a_price_nothing_is_counted_or_held(prices, named):
    for input_tokens in (None, 1000):
        unpriced = budget(input_tokens, prices, max_credits=1)
        assert (unpriced.priced_model(), unpriced.frozen_price()) == (named, None)
        assert not unpriced.must_be_counted()
        assert unpriced.hold_size() == HoldSize(0, 0)


def test_the_price_that_is_kept_has_those_of_the_fallbacks_in_it():
    assert budget(prices=[price(output=5)]).frozen_price() == price(output=5)
    two = budget(prices=[price(output=5), price(output=7)])
    assert (two.priced_model(), two.frozen_price()) == ("a", {**price(output=5), "models": {"b": price(output=7)}})


def test_every_attempt_is_held_for():
    two = budget(prices=[price(), price(input=2, output=3)])
    # The fallback reads the prompt, and what the first model has written.
    assert two.hold_size().amount == 1000 + 500 + 2 * (1000 + 500) + 3 * 500


def test_there_is_no_hope_when_the_answer_alone_is_too_dear():
    known = refusal(budget().check_hope, 255)
    assert (known.code, known.extra) == ("insufficient_credits", {"required": 1256, "available": 255})
    assert known.detail.startswith("1256 credits are needed and 255 are available.")
    unknown = refusal(budget(None).check_hope, 255)
    assert unknown.extra == {"required": 256, "available": 255}

    capped = refusal(budget(max_credits=255).check_hope, 10_000)
    assert (capped.code, capped.extra) == ("max_credits_exceeded", {"required": 256})
    budget(max_credits=256).check_hope(256)
    budget().check_hope(256)


def test_a_count_replaces_the_bytes_when_it_is_less():
    one = budget()
    one.counted(300)
    assert (one.input_tokens, one.hold_size()) == (300, HoldSize(800, 556))
    one.counted(900)
    assert one.input_tokens == 300

    image = budget(None)
    image.counted(5000)
    assert image.hold_size() == HoldSize(5500, 5256)
    assert not image.must_be_counted()


def test_a_count_above_the_cap_is_refused():
    capped = refusal(budget(max_credits=555).counted, 300)
    assert (capped.code, capped.extra) == ("max_credits_exceeded", {"required": 556})
    assert "obol-max-credits is 555, and this request needs 556 at least." in capped.detail
    budget(max_credits=556).counted(300)


def test_what_a_hold_affords():
    one = budget(prices=[price(output=5)])
    assert one.affordable_max_tokens(3500) == 500
    assert one.affordable_max_tokens(10_000) == 500
    assert one.affordable_max_tokens(2284) == 256
    assert one.affordable_max_tokens(2285) == 257
