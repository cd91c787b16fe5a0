"""When and whom a license tells of its balance, as it is asked for and answered with a license."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from ...http.fields import MAX_CREDITS, Request, Text, WholeNumber, bounds
from ...smtp import is_address

MOST_THRESHOLDS = 10


def _thresholds(most: int, description: str) -> fields.List[Any]:
    return fields.List(
        WholeNumber(validate=bounds(1, most)),
        validate=validate.Length(1, MOST_THRESHOLDS, error="must have {min} to {max} thresholds"),
        metadata={"description": description},
    )


class AlertsChange(Request):
    credits = _thresholds(MAX_CREDITS, "told when the balance has fallen to one of these")
    percent = _thresholds(99, "the same in percent of the balance after the last top-up")

    @post_load
    def each_once(self, said: dict[str, list[int]], **_options: Any) -> dict[str, list[int]]:
        """A threshold that is named twice is told once."""
        return {name: sorted(set(numbers)) for name, numbers in said.items()}


class AlertsAnswer(Schema):
    credits = fields.List(fields.Integer())
    percent = fields.List(fields.Integer())


def _check_address(text: str) -> None:
    if not is_address(text):
        raise ValidationError("must be an e-mail address such as ada@example.com")


def alerts_field() -> fields.Nested:
    """Thresholds of a license, in place of those that it has."""
    return fields.Nested(AlertsChange, allow_none=True, metadata={"description": "null: tell of the end alone"})


def email_field() -> Text:
    """The address of a license."""
    return Text(
        allow_none=True,
        validate=_check_address,
        metadata={"description": "where it is told of a low balance and of the end, if the service sends mail"},
    )


def taken_out(body: dict[str, Any]) -> dict[str, Any]:
    """What a change of a license says of alerts, taken out of it; null becomes what takes something away."""
    found: dict[str, Any] = {}
    if "alerts" in body:
        found["alerts"] = body.pop("alerts") or {}
    if "email" in body:
        found["email"] = body.pop("email") or ""
    return found
