"""/api/v1/prices: what a call will cost."""

from datetime import UTC, datetime
from typing import Any

from ..repository import licenses, prices
from .requests import SECURITY, Blueprint, license_auth, license_key, services
from .schemas import PricesAnswer

blueprint = Blueprint("prices", license_auth)


@blueprint.get("/api/v1/prices")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.response(200, PricesAnswer)
def show_prices() -> Any:
    """The prices in force and those announced, by model. A name goes before a beginning with `*`,
    and the longest beginning before the others."""
    database = services().database
    # A suspended or expired license may know what it would pay.
    licenses.find(database, license_key())
    rows = prices.current(prices.book(database), datetime.now(UTC))
    return {
        "unit": "credits per million tokens",
        "prices": [{"model": row.pattern, "effective_from": row.effective_from, **(row.price or {})} for row in rows],
    }
