"""Limits, as requests say them and answers show them."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from ...http.fields import MAX_MODEL, Request, Text, WholeNumber, bounds, length
from ...repository.limits import MOST, MOST_MODELS, NO_LIMITS


class LimitsRequest(Request):
    requests_per_minute = WholeNumber(
        allow_none=True,
        validate=bounds(1, MOST["requests_per_minute"]),
        metadata={"description": "so many at once, and then one whenever the time of one has passed"},
    )
    concurrent_holds = WholeNumber(
        allow_none=True,
        validate=bounds(1, MOST["concurrent_holds"]),
        metadata={"description": "calls in flight and open holds"},
    )
    credits_per_day = WholeNumber(
        allow_none=True, validate=bounds(1, MOST["credits_per_day"]), metadata={"description": "in UTC"}
    )
    credits_per_month = WholeNumber(
        allow_none=True, validate=bounds(1, MOST["credits_per_month"]), metadata={"description": "in UTC"}
    )
    models = fields.List(
        Text(
            validate=[
                length(1, MAX_MODEL),
                validate.Regexp(r"^[^*]*[*]?$", error="must be a name, or the beginning of names and a * at the end"),
            ]
        ),
        allow_none=True,
        validate=validate.Length(1, MOST_MODELS, error="must have {min} to {max} models"),
        metadata={"description": "names, or the beginning of names and a *"},
    )


class SetLimits(Schema):
    requests_per_minute = fields.Integer()
    concurrent_holds = fields.Integer()
    credits_per_day = fields.Integer()
    credits_per_month = fields.Integer()
    models = fields.List(fields.String())


class LimitsChange(fields.Nested):
    """Limits to set; null in it takes one away, null in its place all of them."""

    def __init__(self, **values: Any) -> None:
        description = "those that change; null in it takes one away, and null takes all"
        super().__init__(LimitsRequest, allow_none=True, metadata={"description": description}, **values)

    def _deserialize(self, value: Any, attr: str | None, data: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValidationError('must be an object such as {"requests_per_minute": 60}')
        return super()._deserialize(value, attr, data, *args, **kwargs)


class LimitsAnswer(fields.Nested):
    """The limits that are set; null: none is."""

    def __init__(self) -> None:
        super().__init__(SetLimits, allow_none=True, metadata={"description": "those that are set; null: none is"})


def changed_limits(body: dict[str, Any]) -> None:
    """The limits of a change as the database is told them: null is all of them taken away."""
    if "limits" in body and body["limits"] is None:
        body["limits"] = NO_LIMITS
