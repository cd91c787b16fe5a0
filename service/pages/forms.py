"""What a form says, read as strictly as a body of JSON is."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

from flask import request

from ..http.body import body
from ..http.fields import MAX_CREDITS, Cursor
from ..problems import Problem
from ..repository.admin import Place

MOST_FIELDS = 200

_KEY = re.compile("console-[0-9a-f]{32}")
_DIGITS = re.compile("[0-9]{1,20}")


class Form:
    """Fields by name. What is missing is empty, as a browser sends what nobody filled in.

    Each reader raises Problem validation_failed, naming the field, its limit and what is right.
    """

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    def text(self, name: str, least: int = 0, most: int = 200) -> str:
        """Text of `least` to `most` characters, without spaces around it."""
        value = self.raw(name).strip()
        if not least <= len(value) <= most:
            raise wrong(name, f"must have {least} to {most} characters")
        return value

    def raw(self, name: str) -> str:
        return self._values.get(name, [""])[0]

    def several(self, name: str) -> list[str]:
        """The values of boxes that were ticked."""
        return list(self._values.get(name, ()))

    def choice(self, name: str, of: tuple[str, ...]) -> str:
        value = self.raw(name)
        if value not in of:
            raise wrong(name, f"must be one of {', '.join(of)}")
        return value

    def number(self, name: str, least: int = 1, most: int = MAX_CREDITS) -> int:
        """A whole number, in digits; commas, spaces and underscores may part them."""
        number = self.number_or_none(name, least, most)
        if number is None:
            raise wrong(name, f"must be a whole number from {least} to {most}")
        return number

    def number_or_none(self, name: str, least: int = 1, most: int = MAX_CREDITS) -> int | None:
        text = re.sub("[,_\\s]", "", self.raw(name))
        if not text:
            return None
        sign, digits = (-1, text[1:]) if text[0] in "-\u2212" else (1, text)
        if not _DIGITS.fullmatch(digits) or not least <= sign * int(digits) <= most:
            raise wrong(name, f"must be a whole number from {least} to {most}")
        return sign * int(digits)

    def day(self, name: str) -> date | None:
        """A day, as a browser's field for dates sends it; None: none is named."""
        text = self.raw(name).strip()
        if not text:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise wrong(name, "must be a day such as 2027-01-31") from error

    def begin_of(self, name: str) -> datetime | None:
        """When a day begins, in UTC."""
        day = self.day(name)
        return None if day is None else datetime.combine(day, datetime.min.time(), UTC)

    def end_of(self, name: str) -> datetime | None:
        """When a day is over, in UTC: it is the last one of something."""
        begins = self.begin_of(name)
        try:
            return None if begins is None else begins + timedelta(days=1)
        except OverflowError as error:
            raise wrong(name, "must be a day that has a next one") from error

    @property
    def is_confirmed(self) -> bool:
        """Whether what will happen was shown, and agreed to."""
        return self.raw("confirmed") == "1"

    @property
    def idempotency_key(self) -> str:
        """What makes a form that is sent twice happen once: each that is shown has its own."""
        key = self.raw("idempotency_key")
        if not _KEY.fullmatch(key):
            raise wrong("idempotency_key", "must be the one that the page had; open the page again")
        return key

    def carried(self) -> list[tuple[str, str]]:
        """What the page that asks once more sends again."""
        own = ("csrf", "confirmed", "idempotency_key")
        return [(name, value) for name, values in self._values.items() if name not in own for value in values]


def new_idempotency_key() -> str:
    return f"console-{uuid4().hex}"


def read() -> Form:
    """The form in the body of the current request.

    Raises:
        Problem: payload_too_large, malformed_request, unsupported_media_type.
    """
    if request.mimetype != "application/x-www-form-urlencoded":
        raise Problem("unsupported_media_type", "Send the form as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(body().decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        # UnicodeDecodeError is one, too.
        raise Problem("malformed_request", "The form cannot be read: it must be UTF-8, with fewer fields.") from error
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\0" in value:
            raise wrong(name[:100], "must be text without NUL")
        # A browser ends lines as a network does.
        values.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return Form(values)


def query() -> Form:
    """The query of the current request, in the same way."""
    values = request.args.to_dict(flat=False)
    for name, several in values.items():
        if any("\0" in value for value in several):
            raise wrong(name[:100], "must be text without NUL")
    return Form(values)


def place(text: str) -> Place | None:
    """Where a page of a list begins, as `place_of` wrote it."""
    if not text:
        return None
    try:
        found: Place = Cursor().deserialize(text)
    except Exception as error:
        raise wrong("cursor", "must be that of a page before") from error
    return found


def place_of(row: Any) -> str:
    """The place of a row, for the address of the next page."""
    return str(Cursor().serialize("place", row))


def numbered(text: str) -> int | None:
    """The same for what is numbered."""
    return Form({"cursor": [text]}).number_or_none("cursor")


def uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise wrong(name, "must be an id") from error


def wrong(name: str, message: str) -> Problem:
    return Problem("validation_failed", f"{name}: {message}.", {"errors": [{"field": name, "message": message}]})
