"""The models that are sold: those of the upstream that have a price now."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..problems import Problem
from .message import parse_object, unreadable

Fetch = Callable[[dict[str, str]], bytes]

# The most that the Models API has on a page, and far more pages than it has models for.
MOST_LISTED = 1000
_MOST_PAGES = 10


class Page(NamedTuple):
    """What is asked for: models next to a cursor, the id of one."""

    limit: int = 20
    after_id: str | None = None
    before_id: str | None = None


def list_models(fetch: Fetch, is_sold: Callable[[str], bool], page: Page) -> dict[str, Any]:
    """A page of them, as the Models API lists its own.

    Args:
        fetch: the upstream's answer to a query for its models.
        is_sold: whether a model has a price now.

    All of the upstream's are asked for, because a page of its has no place for those that are not sold: an
    SDK takes one without models for the last.

    Raises:
        Problem: validation_failed, naming a cursor that is no model; whatever the upstream failed with.
    """
    left = _all(fetch)
    if page.after_id is not None:
        left = left[_position(left, "after_id", page.after_id) + 1 :]
    if page.before_id is not None:
        left = left[: _position(left, "before_id", page.before_id)]
    sold = [model for model in left if is_sold(model["id"])]
    data = sold[: page.limit] if page.before_id is None else sold[-page.limit :]
    return {
        "data": data,
        "has_more": len(sold) > len(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _all(fetch: Fetch) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        cursor = {"after_id": models[-1]["id"]} if models else {}
        answer = parse_object(fetch({"limit": str(MOST_LISTED), **cursor}))
        data = answer.get("data")
        if not isinstance(data, list) or not all(isinstance(_id(model), str) for model in data):
            raise unreadable()
        models += data
        if not data or not answer.get("has_more"):
            break
    return models


def _id(model: object) -> object:
    return model.get("id") if isinstance(model, dict) else None


def _position(models: list[dict[str, Any]], name: str, cursor: str) -> int:
    for position, model in enumerate(models):
        if model["id"] == cursor:
            return position
    message = "must be the id of a model"
    raise Problem("validation_failed", f"{name}: {message}", {"errors": [{"field": name, "message": message}]})
