"""How many credits a call sets aside, and how long its answer may be for them.

A hold is an upper bound: the input at its dearest, and all of max_tokens. Where that is more than
there is, or than the client allows, max_tokens is lowered, but not below what is worth asking for.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..pricing import MILLION, Price, round_up, tier_of
from ..problems import Problem
from ..repository.holds import HoldAmounts
from .survey import Survey


class Bound(NamedTuple):
    """What a call can cost at most, in millionths of a credit: `fixed` for everything that does not
    depend on max_tokens, and `per_output_token` for each token that max_tokens allows."""

    fixed: int
    per_output_token: int


@dataclass
class HoldSize:
    """What the hold of one call has to cover.

    Args:
        survey: what the request can use.
        prices: of each of its models; None for one that has no price.
        max_credits: what the client will pay at most; None: whatever it costs.
    """

    survey: Survey
    prices: Sequence[Price | None]
    max_credits: int | None
    # What the prompt cannot exceed, as far as it is known; None: it has to be counted.
    input_tokens: int | None = field(init=False)
    is_counted: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.input_tokens = self.survey.input_tokens

    def priced_model(self) -> str:
        """The model that the hold is for, or the first one that has no price: the refusal names it."""
        unpriced = [model for model, price in zip(self.survey.models, self.prices, strict=True) if price is None]
        return (unpriced or self.survey.models)[0]

    def frozen_price(self) -> Price | None:
        """The price that the hold keeps; None when a model has none."""
        priced = self._priced()
        if len(priced) < len(self.prices):
            return None
        if len(priced) == 1:
            return priced[0]
        return {**priced[0], "models": dict(zip(self.survey.models[1:], priced[1:], strict=True))}

    def needs_count(self) -> bool:
        """Whether the bytes of the prompt tell nothing, or more than the client's cap."""
        if self.frozen_price() is None:
            return False
        if self.input_tokens is None:
            return True
        return self.max_credits is not None and self._amounts(self.input_tokens).min_amount > self.max_credits

    def refuse_hopeless(self, available: int) -> None:
        """Refuse a call whose answer alone is too dear: to count its prompt could not help.

        Raises:
            Problem: insufficient_credits or max_credits_exceeded.
        """
        _, least = self._amounts(0)
        if available < least:
            raise self.insufficient(available)
        self._check_cap(least)

    def insufficient(self, available: int) -> Problem:
        """That the hold cannot be had: what it needs, and what the answer could have cost at most."""
        max_cost, required = self._amounts(self.input_tokens or 0)
        answer = min(self.survey.least_max_tokens, self.survey.max_tokens)
        prompt = (
            "no prompt (it was not counted)" if self.input_tokens is None else f"{self.input_tokens} tokens of prompt"
        )
        return Problem(
            "insufficient_credits",
            f"{required} credits are needed for the hold of this call and {available} are available. It is for "
            f"{prompt} and {answer} of answer; with all of max_tokens it could have cost {max_cost} at most. Only what "
            "is used is charged. Have credits granted, or ask for less.",
            {"required": required, "available": available, "max_cost": max_cost},
        )

    def take_count(self, input_tokens: int) -> None:
        """Go by the upstream's count of the prompt, which it cannot exceed.

        Raises:
            Problem: max_credits_exceeded.
        """
        self.is_counted = True
        self.input_tokens = input_tokens if self.input_tokens is None else min(input_tokens, self.input_tokens)
        self._check_cap(self._amounts(self.input_tokens).min_amount)

    def amounts(self) -> HoldAmounts:
        """Credits to set aside, within the client's cap; nothing for a model without a price, which
        is refused."""
        if self.frozen_price() is None:
            return HoldAmounts(0, 0)
        assert self.input_tokens is not None, "what has to be counted has been"
        amount, least = self._amounts(self.input_tokens)
        return HoldAmounts(amount if self.max_credits is None else min(amount, self.max_credits), least)

    def affordable_max_tokens(self, held: int) -> int:
        """The output tokens that a hold of so many credits covers."""
        assert self.input_tokens is not None, "what has to be counted has been"
        return affordable_max_tokens(self._bound(self.input_tokens), self.survey.max_tokens, held)

    def _check_cap(self, least: int) -> None:
        if self.max_credits is not None and least > self.max_credits:
            raise Problem(
                "max_credits_exceeded",
                f"obol-max-credits is {self.max_credits}, and this request needs {least} at least. "
                "Raise it, or ask for less.",
                {"required": least},
            )

    def _amounts(self, input_tokens: int) -> HoldAmounts:
        return hold_amounts(self._bound(input_tokens), self.survey.max_tokens, self.survey.least_max_tokens)

    def _bound(self, input_tokens: int) -> Bound:
        return bound(self._priced(), input_tokens, classes=self.survey.classes, max_tokens=self.survey.max_tokens)

    def _priced(self) -> list[Price]:
        return [price for price in self.prices if price is not None]


def bound(prices: Iterable[Price], input_tokens: int, *, classes: Collection[str], max_tokens: int) -> Bound:
    """The most that a call can cost.

    Args:
        prices: of the model and of each fallback, in the order in which they would be tried.
        input_tokens: what the prompt cannot exceed.
        classes: the input classes that the prompt can be charged as; the dearest counts.
        max_tokens: asked for; a longer prompt may fall in a dearer tier.
    """
    fixed = per_output_token = 0
    for tried_before, price in enumerate(prices):
        # A fallback reads what the models before it have written.
        carried = tried_before * max_tokens
        figures = tier_of(price, input_tokens + carried)
        dearest = max(figures[name] for name in classes)
        fixed += dearest * input_tokens
        per_output_token += figures["output"] + dearest * tried_before
    return Bound(fixed, per_output_token)


def hold_amounts(bound: Bound, max_tokens: int, least: int) -> HoldAmounts:
    """Credits for all of max_tokens, and for the least of them worth having."""
    return HoldAmounts(
        round_up(bound.fixed + bound.per_output_token * max_tokens),
        round_up(bound.fixed + bound.per_output_token * min(least, max_tokens)),
    )


def affordable_max_tokens(bound: Bound, max_tokens: int, amount: int) -> int:
    """The output tokens that a hold of `amount` credits covers, at most `max_tokens`."""
    if bound.per_output_token == 0:
        return max_tokens
    return min(max_tokens, (amount * MILLION - bound.fixed) // bound.per_output_token)
