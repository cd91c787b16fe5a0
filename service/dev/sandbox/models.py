"""The models that the sandbox pretends to have."""

from typing import Any


def _model(model_id: str, name: str) -> dict[str, Any]:
    return {"type": "model", "id": model_id, "display_name": f"Sandbox {name}", "created_at": "2026-01-01T00:00:00Z"}


MODELS = [
    _model("claude-opus-5-5", "Opus 5.5"),
    _model("claude-sonnet-5-5", "Sonnet 5.5"),
    _model("claude-haiku-5-5", "Haiku 5.5"),
]
BY_ID = {model["id"]: model for model in MODELS}

_MOST = 1000


def page(limit: int, after_id: str | None = None, before_id: str | None = None) -> dict[str, Any]:
    """The models next to a cursor, as the Models API lists them.

    Raises:
        ValueError: the limit is out of range, or a cursor is no model.
    """
    if not 1 <= limit <= _MOST:
        raise ValueError(f"limit: must be from 1 to {_MOST}")
    left = MODELS
    if after_id is not None:
        left = left[_position(after_id) + 1 :]
    if before_id is not None:
        left = left[: _position(before_id)]
        data = left[-limit:]
    else:
        data = left[:limit]
    return {
        "data": data,
        "has_more": len(left) > limit,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _position(model_id: str) -> int:
    if model_id not in BY_ID:
        raise ValueError(f"{model_id} is no model of the sandbox")
    return MODELS.index(BY_ID[model_id])
