"""What several pages of the console say of a license."""

from uuid import UUID

from flask import Response

from ...http.auth import actor
from ...http.request_log import note
from ...http.services import services
from ...repository import licenses
from ...repository.licenses import ListedLicense
from ..guarded import redirect


def path_of(license_id: UUID) -> str:
    """The page of a license."""
    return f"/console/licenses/{license_id}"


def asked_for(license_id: UUID) -> ListedLicense:
    """The license that a request is about. Raises: Problem license_invalid."""
    note(license_id=str(license_id))
    return licenses.show(services().database, license_id, actor=actor())


def name_of(license: ListedLicense) -> str:
    """What a person calls it."""
    return license.name or f"license {str(license.license_id)[:8]}"


def done(license_id: UUID, what: str) -> Response:
    """Back to the page of a license, which says what was done."""
    return redirect(path_of(license_id), done=what)
