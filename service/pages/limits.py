"""Limits in forms, as the console and the account have them."""

from collections.abc import Mapping

from ..repository.limits import MOST, MOST_MODELS
from . import forms
from .forms import Form


def read(given: Form) -> dict[str, object]:
    """Limits out of a form: all of them, None where there is to be none."""
    found: dict[str, object] = {name: given.number_or_none(name, 1, most) for name, most in MOST.items()}
    models = given.text("models", 0, 10_000).split()
    if len(models) > MOST_MODELS:
        raise forms.wrong("models", f"must be {MOST_MODELS} at most")
    return found | {"models": models or None}


def compared(before: Mapping[str, object] | None, after: dict[str, object]) -> list[tuple[str, object, object]]:
    """Limits as they are and will be."""
    return [
        (name.replace("_", " ").capitalize(), _shown((before or {}).get(name)), _shown(after[name])) for name in after
    ]


def set_ones(wanted: dict[str, object]) -> dict[str, object] | None:
    """Those of a new key that are set; None: none is."""
    return {what: value for what, value in wanted.items() if value is not None} or None


def _shown(value: object) -> object:
    return "none" if value is None else ", ".join(value) if isinstance(value, list) else value
