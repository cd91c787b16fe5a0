"""/api/v1/prices: what a call will cost."""

from collections.abc import Iterable
from typing import Any

from marshmallow import Schema, fields

from ..http.auth import SECURITY, license_auth, license_key
from ..http.blueprint import Blueprint
from ..http.fields import Moment
from ..http.services import services
from ..repository import licenses, prices
from ..repository.prices import PriceRow


def _figure() -> fields.Integer:
    return fields.Integer(allow_none=True, dump_default=None, metadata={"description": "null: not sold from then on"})


class PriceTierAnswer(Schema):
    above_input_tokens = fields.Integer(
        metadata={"description": "of the prompt, cache reads and writes included; then these are for every token"}
    )
    input = fields.Integer()
    output = fields.Integer()
    cache_write_5m = fields.Integer()
    cache_write_1h = fields.Integer()
    cache_read = fields.Integer()


class FiguresAnswer(Schema):
    input = _figure()
    output = _figure()
    cache_write_5m = _figure()
    cache_write_1h = _figure()
    cache_read = _figure()
    tiers = fields.List(fields.Nested(PriceTierAnswer), dump_default=[])


class PriceAnswer(FiguresAnswer):
    model = fields.String(metadata={"description": "a model's name, or the beginning of names and `*`"})
    effective_from = Moment()


class PricesAnswer(Schema):
    unit = fields.String()
    prices = fields.List(fields.Nested(PriceAnswer))


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
    return document(prices.current(prices.book(database)))


def document(rows: Iterable[PriceRow]) -> dict[str, Any]:
    """Rows of the price book as a PricesAnswer has them."""
    return {
        "unit": "credits per million tokens",
        "prices": [{"model": row.pattern, "effective_from": row.effective_from, **(row.price or {})} for row in rows],
    }
