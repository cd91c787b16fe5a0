"""/api/v1/prices: what a call will cost."""

from collections.abc import Iterable
from typing import Any

from marshmallow import fields

from ..http.auth import license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import Answer, Moment
from ..http.services import services
from ..repository import licenses, prices
from ..repository.prices import PriceRow


def _figure() -> fields.Integer:
    return fields.Integer(allow_none=True, dump_default=None, metadata={"description": "null: not sold from then on"})


class PriceTierAnswer(Answer):
    above_input_tokens = fields.Integer(
        metadata={"description": "of the prompt, cache reads and writes included; then these are for every token"}
    )
    input = fields.Integer()
    output = fields.Integer()
    cache_write_5m = fields.Integer()
    cache_write_1h = fields.Integer()
    cache_read = fields.Integer()


class FiguresAnswer(Answer):
    input = _figure()
    output = _figure()
    cache_write_5m = _figure()
    cache_write_1h = _figure()
    cache_read = _figure()
    tiers = fields.List(fields.Nested(PriceTierAnswer), dump_default=[])


class PriceAnswer(FiguresAnswer):
    model = fields.String(metadata={"description": "a model's name, or the beginning of names and `*`"})
    effective_from = Moment()


class PricesAnswer(Answer):
    unit = fields.String()
    prices = fields.List(fields.Nested(PriceAnswer))


blueprint = Blueprint("prices", license_auth, description="What a call will cost.")


@blueprint.get("/api/v1/prices")
@blueprint.response(
    200,
    PricesAnswer,
    example={
        "unit": "credits per million tokens",
        "prices": [
            {
                "model": "claude-sonnet-5-5",
                "effective_from": "2026-01-01T00:00:00Z",
                "input": 3000000,
                "output": 15000000,
                "cache_write_5m": 3750000,
                "cache_write_1h": 6000000,
                "cache_read": 300000,
                "tiers": [],
            }
        ],
    },
)
def show_prices() -> Any:
    """The prices in force and those announced, by model. A name goes before a beginning with `*`,
    and the longest beginning before the others."""
    database = services().database
    # A suspended or expired license may know what it would pay.
    licenses.find(database, license_key())
    return document(prices.current(prices.book(database)))


def document(rows: Iterable[PriceRow]) -> dict[str, Any]:
    """Rows of the price book as a PricesAnswer has them."""
    return {
        "unit": "credits per million tokens",
        "prices": [{"model": row.pattern, "effective_from": row.effective_from, **(row.price or {})} for row in rows],
    }
