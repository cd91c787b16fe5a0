"""When and whom a license tells of its balance."""

import re
from uuid import UUID

from flask import Response

from ... import smtp
from ...http.auth import actor
from ...http.fields import MAX_CREDITS
from ...http.services import services
from ...repository import webhooks
from .. import forms
from ..forms import Form
from ..guarded import confirm, form
from . import blueprint
from .common import asked_for, done, name_of, path_of

_MOST = 10
_LONGEST_ADDRESS = 320

# A comma within a number is none of these: "100,200" may be one number or two.
_BETWEEN = re.compile(r"[,;]?\s+|;")


@blueprint.post("/console/licenses/<uuid:license_id>/alerts", scope="manage")
def set_alerts(license_id: UUID) -> Response:
    """Set thresholds of the balance, and the address that is told."""
    given, license, database = form(), asked_for(license_id), services().database
    wanted = {"credits": _several(given, "credits", MAX_CREDITS), "percent": _several(given, "percent", 99)}
    email = given.text("email", 0, _LONGEST_ADDRESS)
    if email and not smtp.is_address(email):
        raise forms.wrong("email", "must be an e-mail address such as ada@example.com")
    if not given.is_confirmed:
        now = webhooks.show_alerts(database, license_id, actor=actor())
        alerts = now.alerts or {}
        return confirm(
            f"Change what {name_of(license)} tells of its balance?",
            facts=[
                ("At these credits", _words(alerts.get("credits")), _words(wanted["credits"])),
                ("At these percents of the last top-up", _words(alerts.get("percent")), _words(wanted["percent"])),
                ("At the end of the credits", "always", None),
                ("By e-mail to", now.email or "nobody", email or "nobody"),
                ("Balance", license.balance, None),
            ],
            button="Set it",
            back=path_of(license_id),
        )
    alerts = {name: numbers for name, numbers in wanted.items() if numbers}
    webhooks.set_alerts(database, license_id, alerts=alerts, email=email, actor=actor())
    return done(license_id, "alerts")


def _several(given: Form, name: str, most: int) -> list[int]:
    words = [word for word in _BETWEEN.split(given.text(name, 0, 400)) if word]
    if any("," in word for word in words):
        raise forms.wrong(name, "must be numbers with spaces between, and without commas in them")
    if len(words) > _MOST:
        raise forms.wrong(name, f"must be {_MOST} numbers at most")
    return sorted({Form({name: [word]}).number(name, 1, most) for word in words})


def _words(numbers: list[int] | None) -> str:
    return "; ".join(f"{number:,}" for number in numbers or ()) or "none"
