"""How many credits a call sets aside, and how long its answer may be for them.

A hold is an upper bound: the input at its dearest, and all of max_tokens. Where that is more than
there is, or than the client allows, max_tokens is lowered, but not below what is worth asking for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import pricing
from .admission import Survey
from .problems import Problem


@dataclass
class Budget:
    """What one call may cost.

    Args:
        survey: what the request can use.
        prices: of each of its models; None for one that has no price.
        max_credits: what the client will pay at most; None: whatever it costs.
    """

    survey: Survey
    prices: Sequence[pricing.Price | None]
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

    def frozen_price(self) -> pricing.Price | None:
        """The price that the hold keeps; None when a model has none."""
        priced = [price for price in self.prices if price is not None]
        if len(priced) < len(self.prices):
            return None
        if len(priced) == 1:
            return priced[0]
        return {**priced[0], "models": dict(zip(self.survey.models[1:], priced[1:], strict=True))}

    def must_be_counted(self) -> bool:
        """Whether the bytes of the prompt tell nothing, or more than the client's cap."""
        if self.frozen_price() is None:
            return False
        if self.input_tokens is None:
            return True
        return self.max_credits is not None and self._size(self.input_tokens).min_amount > self.max_credits

    def check_hope(self, available: int) -> None:
        """Raise insufficient_credits or max_credits_exceeded when counting the prompt could not
        help: the answer alone is too dear."""
        _, least = self._size(0)
        if available < least:
            _, required = self._size(self.input_tokens or 0)
            raise Problem(
                "insufficient_credits",
                f"{required} credits are needed and {available} are available. Have credits granted, or ask for less.",
                {"required": required, "available": available},
            )
        self._check_cap(least)

    def counted(self, input_tokens: int) -> None:
        """The prompt cannot exceed this many tokens, as the upstream counts them.

        Raises:
            Problem: max_credits_exceeded.
        """
        self.is_counted = True
        self.input_tokens = input_tokens if self.input_tokens is None else min(input_tokens, self.input_tokens)
        self._check_cap(self._size(self.input_tokens).min_amount)

    def hold_size(self) -> pricing.HoldSize:
        """Credits to set aside, within the client's cap; nothing for a model without a price, which
        is refused."""
        if self.frozen_price() is None:
            return pricing.HoldSize(0, 0)
        assert self.input_tokens is not None, "what has to be counted has been"
        amount, least = self._size(self.input_tokens)
        return pricing.HoldSize(amount if self.max_credits is None else min(amount, self.max_credits), least)

    def affordable_max_tokens(self, held: int) -> int:
        """The output tokens that a hold of so many credits covers."""
        assert self.input_tokens is not None, "what has to be counted has been"
        return pricing.affordable_max_tokens(self._bound(self.input_tokens), self.survey.max_tokens, held)

    def _check_cap(self, least: int) -> None:
        if self.max_credits is not None and least > self.max_credits:
            raise Problem(
                "max_credits_exceeded",
                f"obol-max-credits is {self.max_credits}, and this request needs {least} at least. "
                "Raise it, or ask for less.",
                {"required": least},
            )

    def _size(self, input_tokens: int) -> pricing.HoldSize:
        return pricing.hold_size(self._bound(input_tokens), self.survey.max_tokens, self.survey.least_max_tokens)

    def _bound(self, input_tokens: int) -> pricing.Bound:
        priced = [price for price in self.prices if price is not None]
        return pricing.bound(priced, input_tokens, self.survey.classes, self.survey.max_tokens)
