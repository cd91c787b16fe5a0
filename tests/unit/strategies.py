"""Prices and usages for hypothesis to draw, and a price with tiers."""

from typing import Any

from hypothesis import strategies as st

from service.pricing import CLASSES

# One credit a token, and five or seven for every token of a call with a longer prompt.
LONG = dict.fromkeys(CLASSES, 1_000_000) | {
    "tiers": [
        {"above_input_tokens": 100} | dict.fromkeys(CLASSES, 5_000_000),
        {"above_input_tokens": 200} | dict.fromkeys(CLASSES, 7_000_000),
    ]
}

tokens = st.integers(0, 3_000)
usages = st.fixed_dictionaries(dict.fromkeys(CLASSES, tokens))

_figures = st.fixed_dictionaries(dict.fromkeys(CLASSES, st.integers(0, 200_000_000)))


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    """A price as the price book takes it: no tier is cheaper than the one below."""
    price: dict[str, Any] = draw(_figures)
    below, tiers = price, []
    for above in sorted(draw(st.sets(st.integers(1, 10_000), max_size=3))):
        more = draw(_figures)
        below = {name: below[name] + more[name] for name in CLASSES}
        tiers.append({"above_input_tokens": above} | below)
    return price | {"tiers": tiers} if tiers else price
