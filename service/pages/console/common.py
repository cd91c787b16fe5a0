"""What several pages of the console say of a license, and files that are pasted into a form."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from flask import Response

from ...http.auth import actor
from ...http.request_log import note
from ...http.services import services
from ...problems import Problem
from ...repository import licenses
from ...repository.licenses import ListedLicense
from ...tomlfile import TomlFileError
from ..forms import Form
from ..guarded import redirect

Row = TypeVar("Row")

# A file, in characters.
_LONGEST = 500_000


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


def file_of(given: Form, read: Callable[[str], list[Row]]) -> list[Row]:
    """The rows of the file that a form has. Raises: Problem validation_failed, which says what is wrong with it."""
    try:
        return read(given.text("file", 1, _LONGEST))
    except TomlFileError as error:
        raise Problem("validation_failed", str(error)) from error
