"""/api/v1/license: balance and statement."""

from typing import Any

from ..repository import licenses
from .requests import SECURITY, Blueprint, license_auth, license_key, services
from .schemas import EntriesAnswer, LicenseAnswer, PageQuery

blueprint = Blueprint("license", license_auth)


@blueprint.get("/api/v1/license")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.response(200, LicenseAnswer)
def show_license() -> Any:
    """The license's balance, what of it is held, and its state."""
    return licenses.find(services().database, license_key())


@blueprint.get("/api/v1/license/entries")
@blueprint.doc(security=SECURITY[license_auth])
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, EntriesAnswer)
def list_entries(query: dict[str, Any]) -> Any:
    """The statement, newest first. `cursor` is the `next_cursor` of the page before."""
    limit = query["limit"]
    # One more than asked for tells whether there is another page.
    entries = licenses.list_entries(services().database, license_key(), query["cursor"], limit + 1)
    page = entries[:limit]
    return {"entries": page, "next_cursor": page[-1].entry_no if len(entries) > limit else None}
