"""JSON as every program reads it: no NaN or Infinity comes in, and no space for nothing goes out."""

import json
from typing import Any, NoReturn

_encoder = json.JSONEncoder(separators=(",", ":"))


def encode(value: object) -> bytes:
    """The bytes of a value; ASCII, so valid in UTF-8.

    Raises:
        RecursionError: it is nested too deeply.
    """
    return _encoder.encode(value).encode()


def decode(body: bytes, **hooks: Any) -> Any:
    """The value that a body holds.

    Args:
        hooks: of `json.loads`, for what else is to be refused.

    Raises:
        ValueError: it is not UTF-8 or not JSON, or it holds NaN or Infinity, which Python would read
            and other clients could not.
        RecursionError: it is nested too deeply.
    """
    return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, **hooks)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
