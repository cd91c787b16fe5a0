"""/api/v1/admin/licenses/{id}/entries, usage and receipts: what the client sees, for operators."""

from typing import Any
from uuid import UUID

from ... import statements
from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.request_log import note
from ...http.services import services
from ...repository.usage import Reader
from ..entries import EXAMPLE, FILES, EntriesAnswer, EntriesQuery, entries_of
from ..usage import RECEIPT, USAGE, ReceiptAnswer, UsageAnswer, UsageQuery

blueprint = AdminBlueprint("usage", description="What a client sees of its credits, for operators.")


@blueprint.get("/api/v1/admin/licenses/<uuid:license_id>/entries", scope="read")
@blueprint.problems("license_not_found")
@blueprint.doc(responses={200: FILES})
@blueprint.arguments(EntriesQuery, location="query")
@blueprint.response(200, EntriesAnswer, example=EXAMPLE)
def list_license_entries(query: dict[str, Any], license_id: UUID) -> Any:
    """The statement of a license, as its client has it."""
    return entries_of(_reader(license_id), query)


@blueprint.get("/api/v1/admin/licenses/<uuid:license_id>/usage", scope="read")
@blueprint.problems("license_not_found")
@blueprint.arguments(UsageQuery, location="query")
@blueprint.response(200, UsageAnswer, example=USAGE)
def show_license_usage(query: dict[str, Any], license_id: UUID) -> Any:
    """What a license used by day, model and key, as its client sees it."""
    return statements.usage_of(services().database, _reader(license_id), **query)


@blueprint.get("/api/v1/admin/licenses/<uuid:license_id>/receipts/<uuid:cause_id>", scope="read")
@blueprint.problems("license_not_found", "hold_not_found")
@blueprint.response(200, ReceiptAnswer, example=RECEIPT)
def show_license_receipt(license_id: UUID, cause_id: UUID) -> Any:
    """The receipt of a charge or a deduction, as its client has it."""
    return statements.receipt(services().database, _reader(license_id), cause_id)


def _reader(license_id: UUID) -> Reader:
    note(license_id=str(license_id))
    return Reader.operator(license_id, actor())
