"""Shapes of requests and answers."""

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, validate

from ..admission import MAX_OUTPUT_TOKENS

# Longest reference, name of a model and idempotency key that is taken.
MAX_REFERENCE = 500
MAX_MODEL = 200
MAX_IDEMPOTENCY_KEY = 255

MAX_CREDITS = 2**63 - 1
MAX_HOLD_S = 24 * 3600
DEFAULT_HOLD_S = 300
MAX_PAGE = 100


class WholeNumber(fields.Integer):
    """A JSON integer and nothing that could be taken for one: not 1.0, "1" or true."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is not int:
            raise ValidationError("must be a whole number, written without quotes, fraction or exponent")
        return value


class Text(fields.String):
    """A JSON string that is Unicode text. PostgreSQL takes no NUL, and a lone surrogate has no
    UTF-8."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str):
            raise ValidationError("must be a string")
        if "\0" in value or re.search("[\ud800-\udfff]", value):
            raise ValidationError("must be Unicode text without NUL and lone surrogates")
        return value


class Moment(fields.DateTime):
    """A time in UTC, as 2026-01-31T23:59:59.123456Z."""

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class HeaderNumber(fields.Integer):
    """A whole number as a header has it: digits and nothing else."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not re.fullmatch("[0-9]{1,20}", value):
            raise ValidationError("must be a whole number, written in digits")
        return int(value)


class Flag(fields.Boolean):
    """true or false, and no other word for them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


def _length(least: int, most: int) -> validate.Length:
    return validate.Length(least, most, error="must have {min} to {max} characters")


def _range(least: int, most: int) -> validate.Range:
    return validate.Range(least, most, error="must be from {min} to {max}")


class Request(Schema):
    """Unknown fields are refused by name: a misspelt one would silently do nothing."""

    error_messages = {"unknown": "is not a field of this request"}


_REQUIRED: dict[str, Any] = {"required": "is required", "null": "must not be null"}


class DeductionRequest(Request):
    amount = WholeNumber(required=True, error_messages=_REQUIRED, metadata={"minimum": 1})
    reference = Text(allow_none=True, load_default=None, validate=_length(0, MAX_REFERENCE))


class HoldRequest(DeductionRequest):
    expires_in_s = WholeNumber(
        load_default=DEFAULT_HOLD_S,
        validate=_range(1, MAX_HOLD_S),
        error_messages=_REQUIRED,
        metadata={"description": "when it can no longer be settled; its credits are back a heartbeat (10 s) later"},
    )


class SettleRequest(Request):
    amount = WholeNumber(
        required=True,
        error_messages=_REQUIRED,
        metadata={"minimum": 1, "description": "to charge nothing, release the hold"},
    )


class GenerateRequest(Request):
    prompt = Text(required=True, error_messages=_REQUIRED, validate=validate.Length(1, error="must not be empty"))
    model = Text(validate=_length(1, MAX_MODEL), error_messages=_REQUIRED)
    max_tokens = WholeNumber(validate=_range(1, MAX_OUTPUT_TOKENS), error_messages=_REQUIRED)
    system = Text(allow_none=True, load_default=None, validate=validate.Length(1, error="must not be empty"))
    stream = Flag(load_default=False, error_messages=_REQUIRED, metadata={"description": "answer with events"})


class AnyObject(Schema):
    """A JSON object, none of whose fields is our business."""

    class Meta:
        unknown = INCLUDE


class MessagesRequest(AnyObject):
    """A request to the Messages API: only what its cost depends on is looked at."""

    model = Text(required=True, validate=_length(1, MAX_MODEL), error_messages=_REQUIRED)
    max_tokens = WholeNumber(required=True, validate=_range(0, MAX_OUTPUT_TOKENS), error_messages=_REQUIRED)
    messages = fields.List(fields.Raw(), required=True, error_messages={**_REQUIRED, "invalid": "must be a list"})
    stream = Flag(allow_none=True)


class IdempotencyHeaders(Schema):
    class Meta:
        unknown = EXCLUDE

    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        load_default=None,
        validate=validate.Regexp(
            f"^[!-~]{{1,{MAX_IDEMPOTENCY_KEY}}}$",
            error=f"must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters without spaces",
        ),
        metadata={"description": "Makes the call safe to repeat: the same key and body give the first answer again."},
    )


class GenerationHeaders(IdempotencyHeaders):
    max_credits = HeaderNumber(
        data_key="obol-max-credits",
        load_default=None,
        validate=_range(0, MAX_CREDITS),
        metadata={"description": "The most that this request may cost; max_tokens is lowered to fit."},
    )


class PageQuery(Schema):
    error_messages = {"unknown": "is not a parameter of this request"}

    cursor = fields.Integer(
        load_default=None,
        validate=_range(1, 2**63 - 1),
        error_messages={"invalid": "must be a next_cursor of an earlier page"},
    )
    limit = fields.Integer(
        load_default=50, validate=_range(1, MAX_PAGE), error_messages={"invalid": "must be a whole number"}
    )


class DeductionAnswer(Schema):
    id = fields.UUID(attribute="deduction_id")
    amount = fields.Integer()
    balance = fields.Integer()


class HoldAnswer(Schema):
    id = fields.UUID()
    amount = fields.Integer()
    state = fields.String(validate=validate.OneOf(["held", "settled", "released"]))
    expires_at = Moment()


class OpenHoldAnswer(HoldAnswer):
    available = fields.Integer(metadata={"description": "credits not set aside, after this hold"})


class SettledHoldAnswer(HoldAnswer):
    charged = fields.Integer()
    balance = fields.Integer()


class CreditsAnswer(Schema):
    charged = fields.Integer()
    balance = fields.Integer()


class GenerateAnswer(Schema):
    id = fields.UUID()
    model = fields.String()
    text = fields.String()
    stop_reason = fields.String()
    usage = fields.Dict(metadata={"description": "as the upstream reports it: input_tokens, output_tokens, …"})
    credits = fields.Nested(CreditsAnswer)


class LicenseAnswer(Schema):
    license_id = fields.UUID()
    name = fields.String()
    status = fields.String(validate=validate.OneOf(["active", "suspended", "expired"]))
    expires_at = Moment()
    balance = fields.Integer()
    held = fields.Integer()
    available = fields.Integer()


class EntryAnswer(Schema):
    entry_no = fields.Integer()
    kind = fields.String(validate=validate.OneOf(["grant", "deduction", "charge", "refund"]))
    amount = fields.Integer(metadata={"description": "what the entry added to the balance; negative for charges"})
    balance_after = fields.Integer()
    id = fields.UUID(attribute="cause_id", metadata={"description": "of the grant, deduction or hold"})
    reference = fields.String()
    model = fields.String()
    usage = fields.Dict()
    created_at = Moment()


class EntriesAnswer(Schema):
    entries = fields.List(fields.Nested(EntryAnswer))
    next_cursor = fields.Integer(metadata={"description": "null on the last page"})


class FieldError(Schema):
    field = fields.String()
    message = fields.String()


class ProblemSchema(Schema):
    """RFC 9457."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    instance = fields.String()
    code = fields.String(metadata={"description": "stable; branch on this"})
    errors = fields.List(fields.Nested(FieldError))
    available = fields.Integer()
    required = fields.Integer()


def _figure() -> fields.Integer:
    return fields.Integer(dump_default=None, metadata={"description": "null: not sold from then on"})


class PriceTierAnswer(Schema):
    above_input_tokens = fields.Integer(
        metadata={"description": "of the prompt, cache reads and writes included; then these are for every token"}
    )
    input = fields.Integer()
    output = fields.Integer()
    cache_write_5m = fields.Integer()
    cache_write_1h = fields.Integer()
    cache_read = fields.Integer()


class PriceAnswer(Schema):
    model = fields.String(metadata={"description": "a model's name, or the beginning of names and `*`"})
    effective_from = Moment()
    input = _figure()
    output = _figure()
    cache_write_5m = _figure()
    cache_write_1h = _figure()
    cache_read = _figure()
    tiers = fields.List(fields.Nested(PriceTierAnswer), dump_default=[])


class PricesAnswer(Schema):
    unit = fields.String()
    prices = fields.List(fields.Nested(PriceAnswer))


class WireErrorDetails(AnyObject):
    error_code = fields.String(metadata={"description": "stable; branch on this"})


class WireErrorBody(Schema):
    type = fields.String()
    message = fields.String()
    details = fields.Nested(WireErrorDetails)


class WireError(Schema):
    """An error as the Messages API has it."""

    type = fields.String(validate=validate.Equal("error"))
    error = fields.Nested(WireErrorBody)
    request_id = fields.String()
