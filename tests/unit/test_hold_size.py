"""How much a call sets aside, when it has to be counted, and that a hold is never too small."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LONG, prices, tokens

from service.gateway.hold_size import Bound, HoldSize, affordable_max_tokens, bound, hold_amounts
from service.gateway.survey import LEAST_MAX_TOKENS, Survey
from service.pricing import CLASSES, INPUT_CLASSES, charge
from service.problems import Problem
from service.repository.holds import HoldAmounts

MILLION = 1_000_000


def price(**credits):
    return {name: credits.get(name, 1) * MILLION for name in CLASSES}


ONE = (price(),)


def sized(input_tokens=1000, prices=ONE, max_credits=None, models=("a", "b"), max_tokens=500, least=256):
    models = models[: len(prices)]
    return HoldSize(Survey(models, input_tokens, ("input", "cache_read"), max_tokens, least), prices, max_credits)


def refusal(act, *arguments):
    with pytest.raises(Problem) as refused:
        act(*arguments)
    return refused.value


def test_a_hold_is_the_input_and_all_of_max_tokens():
    assert sized().amounts() == HoldAmounts(1500, 1256)
    assert sized(prices=[price(output=5)]).amounts() == HoldAmounts(1000 + 2500, 1000 + 1280)


def test_the_dearest_class_of_those_that_are_possible_counts():
    assert sized(prices=[price(cache_read=3, cache_write_1h=99)]).amounts() == HoldAmounts(3500, 3256)


def test_a_cap_bounds_the_hold():
    assert sized(max_credits=1300).amounts() == HoldAmounts(1300, 1256)
    assert sized(max_credits=9999).amounts() == HoldAmounts(1500, 1256)
    assert sized(max_credits=0, prices=[price(**dict.fromkeys(CLASSES, 0))]).amounts() == HoldAmounts(0, 0)


@pytest.mark.parametrize(
    ("input_tokens", "max_credits", "needs_count"),
    [(1000, None, False), (1000, 1256, False), (1000, 1255, True), (None, None, True), (None, 99999, True)],
)
def test_when_a_prompt_has_to_be_counted(input_tokens, max_credits, needs_count):
    assert sized(input_tokens, max_credits=max_credits).needs_count() == needs_count


@pytest.mark.parametrize(
    ("prices", "named"),
    [([None], "a"), ([price(), None], "b"), ([None, None], "a"), ([None, price()], "a")],
)
def test_without_a_price_nothing_is_counted_or_held(prices, named):
    for input_tokens in (None, 1000):
        unpriced = sized(input_tokens, prices, max_credits=1)
        assert (unpriced.priced_model(), unpriced.frozen_price()) == (named, None)
        assert not unpriced.needs_count()
        assert unpriced.amounts() == HoldAmounts(0, 0)


def test_the_price_that_is_kept_has_those_of_the_fallbacks_in_it():
    assert sized(prices=[price(output=5)]).frozen_price() == price(output=5)
    two = sized(prices=[price(output=5), price(output=7)])
    assert (two.priced_model(), two.frozen_price()) == ("a", {**price(output=5), "models": {"b": price(output=7)}})


def test_every_attempt_is_held_for():
    two = sized(prices=[price(), price(input=2, output=3)])
    # The fallback reads the prompt, and what the first model has written.
    assert two.amounts().amount == 1000 + 500 + 2 * (1000 + 500) + 3 * 500


def test_there_is_no_hope_when_the_answer_alone_is_too_dear():
    known = refusal(sized().refuse_hopeless, 255)
    assert (known.code, known.extra) == ("insufficient_credits", {"required": 1256, "available": 255, "max_cost": 1500})
    assert known.detail.startswith("1256 credits are needed for the hold of this call and 255 are available. ")
    unknown = refusal(sized(None).refuse_hopeless, 255)
    assert unknown.extra == {"required": 256, "available": 255, "max_cost": 500}
    assert "for no prompt (it was not counted) and 256 of answer" in unknown.detail

    capped = refusal(sized(max_credits=255).refuse_hopeless, 10_000)
    assert (capped.code, capped.extra) == ("max_credits_exceeded", {"required": 256})
    sized(max_credits=256).refuse_hopeless(256)
    sized().refuse_hopeless(256)


def test_a_count_replaces_the_bytes_when_it_is_less():
    one = sized()
    one.take_count(300)
    assert (one.input_tokens, one.amounts()) == (300, HoldAmounts(800, 556))
    one.take_count(900)
    assert one.input_tokens == 300

    image = sized(None)
    image.take_count(5000)
    assert image.amounts() == HoldAmounts(5500, 5256)
    assert not image.needs_count()


def test_a_count_above_the_cap_is_refused():
    capped = refusal(sized(max_credits=555).take_count, 300)
    assert (capped.code, capped.extra) == ("max_credits_exceeded", {"required": 556})
    assert "obol-max-credits is 555, and this request needs 556 at least." in capped.detail
    sized(max_credits=556).take_count(300)


def test_what_a_hold_affords():
    one = sized(prices=[price(output=5)])
    assert one.affordable_max_tokens(3500) == 500
    assert one.affordable_max_tokens(10_000) == 500
    assert one.affordable_max_tokens(2284) == 256
    assert one.affordable_max_tokens(2285) == 257


# that it covers whatever the call can cost


@st.composite
def calls(draw):
    """Prices of a model and its fallbacks, the classes its prompt can be charged as, the most tokens
    of the prompt, and max_tokens."""
    classes = draw(st.sets(st.sampled_from(INPUT_CLASSES), min_size=1))
    return draw(st.lists(prices(), min_size=1, max_size=3)), sorted(classes), draw(tokens), draw(st.integers(1, 5000))


def draw_usage(data, prices, classes, input_tokens, max_tokens):
    """A price and a usage that the call can end with: each model has read the prompt and what those
    before it have written, in whatever classes, and has written max_tokens at most."""
    names = [f"model-{number}" for number in range(len(prices))]
    attempts, written = [], 0
    for name in names[: data.draw(st.integers(1, len(names)))]:
        left = data.draw(st.integers(0, input_tokens + written))
        attempt = {"model": name}
        for class_name in classes[:-1]:
            attempt[class_name] = data.draw(st.integers(0, left))
            left -= attempt[class_name]
        attempt |= {classes[-1]: left, "output": data.draw(st.integers(0, max_tokens))}
        written += attempt["output"]
        attempts.append(attempt)
    frozen = {**prices[0], "models": dict(zip(names[1:], prices[1:], strict=True))}
    return frozen, attempts[0] if len(attempts) == 1 else {"attempts": attempts}


@settings(database=None)
@given(call=calls(), data=st.data())
def test_a_hold_covers_all_that_its_tokens_can_cost(call, data):
    prices, classes, input_tokens, max_tokens = call
    most = bound(prices, input_tokens, classes=classes, max_tokens=max_tokens)
    amount = hold_amounts(most, max_tokens, LEAST_MAX_TOKENS).amount

    assert charge(*draw_usage(data, prices, classes, input_tokens, max_tokens)) <= amount


@settings(database=None)
@given(call=calls(), data=st.data())
def test_a_smaller_hold_covers_the_tokens_that_it_affords(call, data):
    prices, classes, input_tokens, max_tokens = call
    most = bound(prices, input_tokens, classes=classes, max_tokens=max_tokens)
    amounts = hold_amounts(most, max_tokens, LEAST_MAX_TOKENS)
    amount = data.draw(st.integers(amounts.min_amount, amounts.amount))

    affordable = affordable_max_tokens(most, max_tokens, amount)

    assert min(LEAST_MAX_TOKENS, max_tokens) <= affordable <= max_tokens
    assert charge(*draw_usage(data, prices, classes, input_tokens, affordable)) <= amount


@settings(database=None)
@given(call=calls())
def test_the_whole_hold_affords_all_that_was_asked_for(call):
    prices, classes, input_tokens, max_tokens = call
    most = bound(prices, input_tokens, classes=classes, max_tokens=max_tokens)
    amount = hold_amounts(most, max_tokens, LEAST_MAX_TOKENS).amount

    assert affordable_max_tokens(most, max_tokens, amount) == max_tokens


@settings(database=None)
@given(call=calls())
def test_the_dearest_way_of_a_call_without_fallbacks_costs_the_whole_hold(call):
    """The bound is not only enough: without fallbacks it is no credit too much."""
    prices, classes, input_tokens, max_tokens = call
    most = bound(prices[:1], input_tokens, classes=classes, max_tokens=max_tokens)
    ways = [{name: input_tokens, "output": max_tokens} for name in classes]

    assert max(charge(prices[0], usage) for usage in ways) == hold_amounts(most, max_tokens, 1).amount


def figures(**millionths):
    return dict.fromkeys(CLASSES, 0) | millionths


def test_the_bound_by_hand():
    cheap, dear = figures(input=1, cache_read=9, output=10), figures(input=2, output=30)

    assert bound([cheap], 100, classes=["input"], max_tokens=50) == Bound(100, 10)
    assert bound([cheap], 100, classes=INPUT_CLASSES, max_tokens=50) == Bound(900, 10)
    # The second model reads up to 50 tokens of the first beside the prompt.
    assert bound([cheap, dear], 100, classes=["input"], max_tokens=50) == Bound(300, 10 + 30 + 2)
    # And that, too, can lift its prompt into a tier.
    assert bound([LONG, LONG], 100, classes=["input"], max_tokens=1) == Bound(600_000_000, 11_000_000)


def test_output_that_costs_nothing_is_not_limited():
    free = bound([figures(input=5)], 100, classes=["input"], max_tokens=4096)
    assert affordable_max_tokens(free, 4096, 0) == 4096


def test_a_hold_below_the_least_worth_having_is_asked_for_whole():
    a_credit_a_token = Bound(0, 1_000_000)

    assert hold_amounts(a_credit_a_token, 255, 256) == HoldAmounts(255, 255)
    assert hold_amounts(a_credit_a_token, 300, 256) == HoldAmounts(300, 256)
