"""/api/v1/admin/prices: the price book."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from marshmallow import Schema, fields, validate

from ... import pricefile, strict_json
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.body import body as read_body
from ...http.fields import Answer, AnyObject, Moment
from ...http.services import services
from ...problems import Problem
from ...repository import prices
from ...tomlfile import TomlFileError
from ..prices import FiguresAnswer, PricesAnswer, document


class PricesQuery(Schema):
    error_messages = {"unknown": "is not a parameter of this request"}

    all = fields.Integer(
        load_default=0,
        validate=validate.OneOf([0, 1], error="must be 0 or 1"),
        error_messages={"invalid": "must be 0 or 1"},
        metadata={"description": "1: also what is no longer in force"},
    )


class PriceChangeQuery(Schema):
    error_messages = {"unknown": "is not a parameter of this request"}

    dry_run = fields.Integer(
        load_default=0,
        validate=validate.OneOf([0, 1], error="must be 0 or 1"),
        error_messages={"invalid": "must be 0 or 1"},
        metadata={"description": "1: only say what would change"},
    )


class PriceChangeAnswer(Answer):
    model = fields.String()
    effective_from = Moment()
    before = fields.Nested(FiguresAnswer, allow_none=True, metadata={"description": "null: no price of its own"})
    after = fields.Nested(FiguresAnswer, allow_none=True, metadata={"description": "null: not sold from then on"})


class PriceChangesAnswer(Answer):
    dry_run = fields.Boolean()
    changes = fields.List(fields.Nested(PriceChangeAnswer))


blueprint = AdminBlueprint("prices", description="The price book.")

_FIGURES = {
    "input": 3000000,
    "output": 15000000,
    "cache_write_5m": 3750000,
    "cache_write_1h": 6000000,
    "cache_read": 300000,
}


@blueprint.get("/api/v1/admin/prices", scope="read")
@blueprint.arguments(PricesQuery, location="query")
@blueprint.response(
    200,
    PricesAnswer,
    example={
        "unit": "credits per million tokens",
        "prices": [{"model": "claude-sonnet-5-5", "effective_from": "2026-01-01T00:00:00Z", **_FIGURES, "tiers": []}],
    },
)
def show_price_book(query: dict[str, Any]) -> Any:
    """The prices in force and those announced, by model; or all that there ever were."""
    rows = prices.book(services().database)
    return document(
        sorted(rows, key=lambda row: (row.pattern, row.effective_from)) if query["all"] else prices.current(rows)
    )


@blueprint.put("/api/v1/admin/prices", scope="manage")
@blueprint.problems("amount_invalid")
@blueprint.arguments(AnyObject, example={"price": [{"model": "claude-sonnet-5-5", **_FIGURES}]})
@blueprint.arguments(PriceChangeQuery, location="query")
@blueprint.response(
    200,
    PriceChangesAnswer,
    example={
        "dry_run": False,
        "changes": [
            {
                "model": "claude-sonnet-5-5",
                "effective_from": "2026-11-22T16:08:41.270518Z",
                "before": None,
                "after": {**_FIGURES, "tiers": []},
            }
        ],
    },
)
def set_prices(_: dict[str, Any], query: dict[str, Any]) -> Any:
    """Set prices, all or none. The body is as the file of `obol prices import`, in JSON: `price` is a list of
    objects, `tier` a list in them. What it does not name stays as it is."""
    # Once more, because a figure in dollars is no binary fraction.
    said = strict_json.decode(read_body(), parse_float=Decimal)
    try:
        rows = pricefile.read_document(_with_time(said))
    except TomlFileError as error:
        raise Problem("validation_failed", str(error)) from error
    dry_run = query["dry_run"] == 1
    changes = prices.set_prices(services().database, rows, dry_run=dry_run, actor=actor())
    return {
        "dry_run": dry_run,
        "changes": [change._asdict() | {"model": change.model_pattern} for change in changes],
    }


def _with_time(said: dict[str, Any]) -> dict[str, Any]:
    """TOML has times, and JSON has not."""
    if "effective_from" not in said:
        return said
    try:
        moment = datetime.fromisoformat(said["effective_from"])
        return said | {"effective_from": moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)}
    except (TypeError, ValueError, OverflowError) as error:
        raise TomlFileError("effective_from must be a time such as 2027-01-31T00:00:00Z.") from error
