"""Fields of requests and answers, and what several resources say in the same way."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, validate

from .. import since
from ..problems import Problem
from ..repository.admin import Place, Placed

# Longest reference, name of a model and idempotency key that is taken.
MAX_REFERENCE = 500
MAX_MODEL = 200
MAX_IDEMPOTENCY_KEY = 255

# Longest name of a license, a key or a token, what a shop calls a license, and why a grant was made.
MAX_NAME = 200
MAX_EXTERNAL_ID = 200
MAX_REASON = 200

MAX_CREDITS = 2**63 - 1
MAX_PAGE = 100

R = TypeVar("R", bound=Placed)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

REQUIRED: dict[str, Any] = {"required": "is required", "null": "must not be null"}


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


class Digest(fields.String):
    """Text that a digest is made of; what is wrong with it is said without it."""

    def __init__(self, digest: Callable[[object], bytes], **options: Any) -> None:
        super().__init__(**options)
        self._digest = digest

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            return self._digest(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class Moment(fields.DateTime):
    """A time in UTC, as 2026-01-31T23:59:59.123456Z."""

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Instant(Moment):
    """A time as ISO 8601 has it; without a zone it is UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValidationError("must be a time such as 2027-01-31T00:00:00Z") from error


class Since(fields.Field[Any]):
    """A time, or how long ago it was: see `service.since`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            return since.parse(str(value))
        except ValueError as error:
            raise ValidationError(str(error)) from error


class Cursor(fields.Field[Any]):
    """Where a page of a list begins: after the row at this place."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        match = re.fullmatch("([0-9]{1,17})-([0-9a-f]{32})", str(value))
        if match is None:
            raise ValidationError("must be a next_cursor of an earlier page")
        return Place(_EPOCH + timedelta(microseconds=int(match[1])), UUID(match[2]))

    def _serialize(self, value: Place | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        return f"{(value.at - _EPOCH) // timedelta(microseconds=1)}-{value.id.hex}"


class Names(fields.Field[Any]):
    """Some of several names, each once, with commas between."""

    def __init__(self, names: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self._names = names

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        given = str(value).split(",")
        if not set(given) <= set(self._names) or len(set(given)) < len(given):
            raise ValidationError(f"must be one or more of {', '.join(self._names)}, with commas between")
        return tuple(given)


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


def length(least: int, most: int) -> validate.Length:
    """Characters that a text may have."""
    return validate.Length(least, most, error="must have {min} to {max} characters")


def bounds(least: int, most: int) -> validate.Range:
    """What a number may be."""
    return validate.Range(least, most, error="must be from {min} to {max}")


class Request(Schema):
    """Unknown fields are refused by name: a misspelt one would silently do nothing."""

    error_messages = {"unknown": "is not a field of this request"}


class Answer(Schema):
    """What a call answers with: every field of it is sent, always."""

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.required = True


class AnyObject(Schema):
    """A JSON object, none of whose fields is our business."""

    class Meta:
        unknown = INCLUDE


class LimitQuery(Schema):
    """How long a page may be."""

    error_messages = {"unknown": "is not a parameter of this request"}

    limit = fields.Integer(
        load_default=50, validate=bounds(1, MAX_PAGE), error_messages={"invalid": "must be a whole number"}
    )


class PageQuery(LimitQuery):
    """A page of a list; the next one is asked for with its `next_cursor`."""

    cursor = Cursor(load_default=None, metadata={"type": "string", "description": "the next_cursor of the page before"})


def next_page() -> Cursor:
    """Where the next page of a list begins, the last field of its answer."""
    return Cursor(
        allow_none=True,
        metadata={"type": "string", "description": "the next page's cursor; null on the last page"},
    )


def page(rows: Sequence[R], limit: int) -> tuple[Sequence[R], Place | None]:
    """The rows of a page, and where the next one begins; of one row more than the page has, if there are so many."""
    return rows[:limit], rows[limit - 1].place if len(rows) > limit else None


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
        validate=bounds(0, MAX_CREDITS),
        metadata={"description": "The most that this request may cost; max_tokens is lowered to fit."},
    )


def check_amount(amount: int) -> int:
    """Credits to move.

    Raises:
        Problem: amount_invalid.
    """
    if not 1 <= amount <= MAX_CREDITS:
        message = f"must be a whole number of credits from 1 to {MAX_CREDITS}"
        raise Problem("amount_invalid", f"amount {message}.", {"errors": [{"field": "amount", "message": message}]})
    return amount
