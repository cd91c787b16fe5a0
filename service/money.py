"""Prices of packages: what people write (10.00) and what is kept, the smallest unit of a currency (1000). Pure."""

import re
from decimal import Decimal

# The most that Stripe takes of any currency.
MAX_PRICE = 99_999_999
# How long a package's credits last at most, where they do not last for good.
MAX_LIFETIME_DAYS = 36_500

CURRENCY = re.compile("[a-z]{3}")
# What a package is called by.
PACKAGE_ID = re.compile("[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)

# As Stripe has them, which is not always as ISO 4217 has them: docs.stripe.com/currencies.
_NONE = ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
_THREE = ["bhd", "jod", "kwd", "omr", "tnd"]


def decimals(currency: str) -> int:
    """How many digits stand after the point."""
    return 0 if currency in _NONE else 3 if currency in _THREE else 2


def parse(text: str, currency: str) -> int:
    """An amount such as 10 or 10.00, in the smallest unit.

    Raises:
        ValueError: it is none, or is too large; the message says what is right.
    """
    digits = decimals(currency)
    match = re.fullmatch(r"[0-9]{1,9}(?:\.([0-9]{1,3}))?", text, re.ASCII)
    amount = 0 if match is None or len(match[1] or "") > digits else int(Decimal(text) * 10**digits)
    if not 1 <= amount <= MAX_PRICE:
        example, most = show(10 * 10**digits, currency), show(MAX_PRICE, currency)
        raise ValueError(f"it must be an amount such as {example}, with {digits} decimals at most, up to {most}")
    return amount


def show(amount: int, currency: str) -> str:
    """An amount as people read it: 10.00 EUR."""
    digits = decimals(currency)
    return f"{Decimal(amount).scaleb(-digits):.{digits}f} {currency.upper()}"
