"""A file of licenses of another system: CSV or NDJSON in, licenses to import out, a line at a time. Pure.

A line is a license: its key as clients send it (`key`) or the SHA-256 of that (`key_sha256`, 64 hexadecimal digits),
`credits`, and if it has them `status`, `expires_at`, `external_id` and `name`. CSV names its columns in the first line;
NDJSON is an object a line. What is wrong with a line is said without its values: where columns are mixed up, any of
them may be a key.
"""

import csv
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from . import keys, strict_json

COLUMNS = ("key", "key_sha256", "credits", "status", "expires_at", "external_id", "name")
STATUSES = ("active", "suspended")
MAX_CREDITS = 2**63 - 1
MAX_EXTERNAL_ID = 200
MAX_NAME = 200
MAX_LINE = 16 * 1024

_BOM = b"\xef\xbb\xbf"


class ImportFileError(Exception):
    """What is wrong with the file as a whole, and what is right."""


class Line(NamedTuple):
    """A license to import; `number` is that of its line, from 1."""

    number: int
    digest: bytes
    credits: int
    status: str = "active"
    expires_at: datetime | None = None
    external_id: str | None = None
    name: str = ""


class Refusal(NamedTuple):
    """Why a line is not imported. `field` is None where it is the line as a whole."""

    number: int
    field: str | None
    message: str
    code: str = "validation_failed"


class _WrongError(Exception):
    """Args: a field, or None, and what is wrong with it."""


def read(file: BinaryIO, format: str | None = None) -> Iterator[Line | Refusal]:
    """The licenses of a file, and the lines that are none. Empty lines are passed over.

    Args:
        format: csv or ndjson; None: ndjson when the first line begins with a {.

    Raises:
        ImportFileError: the file is empty, or CSV whose first line does not name the columns.
    """
    lines = _raw_lines(file)
    first = next(lines, None)
    if first is None:
        raise ImportFileError("It is empty.")
    is_ndjson = format == "ndjson" or (format is None and first[1].lstrip().startswith(b"{"))
    values = _read_object if is_ndjson else _columns(first[1])
    for number, raw in chain([first], lines) if is_ndjson else lines:
        try:
            line: Line | Refusal = _license(number, values(_decode(raw)))
        except _WrongError as wrong:
            line = Refusal(number, *wrong.args)
        yield line


def _raw_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with something in them, by number, without their ends; of one that is too long, its beginning."""
    number = 0
    while raw := file.readline(MAX_LINE + 2):
        number += 1
        rest = raw
        while not rest.endswith(b"\n") and (rest := file.readline(MAX_LINE)):
            pass
        raw = (raw.removeprefix(_BOM) if number == 1 else raw).rstrip(b"\r\n")
        if raw.strip():
            yield number, raw


def _decode(raw: bytes) -> str:
    if len(raw) > MAX_LINE:
        raise _WrongError(None, f"it may have {MAX_LINE} bytes at most")
    if b"\0" in raw:
        raise _WrongError(None, "it has a NUL byte; write the file again, as text in UTF-8")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _WrongError(None, f"it is not UTF-8 (byte {error.start + 1}); write the file again in UTF-8") from error


def _columns(raw: bytes) -> Callable[[str], Mapping[str, Any]]:
    """Reads lines of CSV, by the columns that the first one names."""
    try:
        columns = [cell.strip() for cell in _cells(_decode(raw))]
    except _WrongError as wrong:
        raise ImportFileError(f"Its first line cannot be read: {wrong.args[1]}.") from wrong
    if not set(columns) & set(COLUMNS):
        # Which may be a license, with its key: not to be repeated.
        raise ImportFileError(
            f"Its first line names no column. It has to be of {', '.join(COLUMNS)}, with commas between."
        )
    for column in columns:
        if column not in COLUMNS:
            raise ImportFileError(f"It has a column {column[:100]!r}, {_nearest(column)}")
        if columns.count(column) > 1:
            raise ImportFileError(f"It has two columns {column}.")
    if "credits" not in columns or not {"key", "key_sha256"} & set(columns):
        raise ImportFileError("It needs the columns credits, and key or key_sha256.")
    return lambda text: _read_row(columns, text)


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, COLUMNS, 1, 0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"which is not known: {hint}There are {', '.join(COLUMNS)}."


def _cells(text: str) -> list[str]:
    try:
        (cells,) = csv.reader([text], strict=True, skipinitialspace=True)
    except csv.Error as error:
        message = "it cannot be read as CSV: a quote does not end on its line, or stands within a field"
        raise _WrongError(None, message) from error
    return cells


def _read_row(columns: Sequence[str], text: str) -> Mapping[str, Any]:
    cells = [cell.strip() for cell in _cells(text)]
    if len(cells) != len(columns):
        raise _WrongError(None, f"it has {len(cells)} fields, and the first line names {len(columns)}")
    values: dict[str, Any] = {name: cell for name, cell in zip(columns, cells, strict=True) if cell}
    if re.fullmatch("[0-9]{1,19}", values.get("credits", "")):
        values["credits"] = int(values["credits"])
    return values


def _read_object(text: str) -> Mapping[str, Any]:
    try:
        document = strict_json.decode(text.encode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _WrongError(None, "it is not JSON that can be read here; each line is one object") from error
    if not isinstance(document, dict):
        raise _WrongError(None, "it is no JSON object")
    for name in document:
        if name not in COLUMNS:
            raise _WrongError(name[:100], f"is a field {_nearest(name)}"[:-1])
    return {name: value for name, value in document.items() if value is not None}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a field stands in it twice")
    return document


def _license(number: int, values: Mapping[str, Any]) -> Line:
    """What a line says, with its values as text, credits as an int, and without those that are not set."""
    credits = values.get("credits")
    if type(credits) is not int or not 0 <= credits <= MAX_CREDITS:
        raise _WrongError("credits", f"must be a whole number from 0 to {MAX_CREDITS}, written in digits")
    digest = _digest(values)
    status = values.get("status", "active")
    if status not in STATUSES:
        raise _WrongError("status", f"must be {' or '.join(STATUSES)}; what is not active is suspended")
    return Line(
        number,
        digest,
        credits,
        status,
        _moment(values.get("expires_at")),
        _words(values, "external_id", MAX_EXTERNAL_ID) or None,
        _words(values, "name", MAX_NAME),
    )


def _digest(values: Mapping[str, Any]) -> bytes:
    if "key" in values and "key_sha256" in values:
        raise _WrongError("key_sha256", "must be empty where there is a key")
    for field, digest in (("key", key_digest), ("key_sha256", sha256_digest)):
        if field in values:
            try:
                return digest(values[field])
            except ValueError as error:
                raise _WrongError(field, str(error)) from error
    raise _WrongError("key", "is missing; give the key, or its SHA-256 as key_sha256")


def key_digest(key: object) -> bytes:
    """The digest of a key that can be imported.

    Raises:
        ValueError: what is wrong with it, without it.
    """
    if not isinstance(key, str):
        raise ValueError("must be text")
    if keys.is_own(key):
        raise ValueError("must be of another system: this is a key of Obol itself, which works already")
    digest = keys.parse_imported(key)
    if digest is None:
        least, most = keys.LEAST_IMPORTED_LENGTH, keys.MOST_IMPORTED_LENGTH
        raise ValueError(
            f"must have {least} to {most} visible ASCII characters, without spaces: clients send it in a header"
        )
    return digest


def sha256_digest(text: object) -> bytes:
    """The digest that hexadecimal digits are.

    Raises:
        ValueError: what is wrong with them.
    """
    if not isinstance(text, str) or re.fullmatch("[0-9a-fA-F]{64}", text) is None:
        raise ValueError("must be 64 hexadecimal digits, the SHA-256 of the key")
    return bytes.fromhex(text)


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        message = "must be a time such as 2027-01-31T00:00:00Z; where there is no end leave it out"
        raise _WrongError("expires_at", message) from error


def _words(values: Mapping[str, Any], field: str, most: int) -> str:
    text = values.get(field, "")
    if not isinstance(text, str) or not text.isprintable() or len(text) > most:
        raise _WrongError(field, f"must have {most} printable characters at most")
    return text
