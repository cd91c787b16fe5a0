"""/api/v1/admin/packages, and the payments of a license."""

from typing import Any

from marshmallow import fields, validate

from ...http.auth import actor
from ...http.blueprint import AdminBlueprint
from ...http.fields import (
    MAX_CREDITS,
    REQUIRED,
    Answer,
    PageQuery,
    Request,
    Text,
    WholeNumber,
    bounds,
    length,
    next_page,
    page,
)
from ...http.request_log import note
from ...http.services import services
from ...money import CURRENCY, MAX_LIFETIME_DAYS, MAX_PRICE, PACKAGE_ID
from ...problems import Problem
from ...repository import payments as repository
from ..payments import PACKAGE, PAYMENT, PackageAnswer, PaymentAnswer


class PackageRequest(Request):
    name = Text(required=True, error_messages=REQUIRED, validate=length(1, 200))
    price = WholeNumber(required=True, error_messages=REQUIRED, validate=bounds(1, MAX_PRICE))
    currency = Text(
        required=True,
        error_messages=REQUIRED,
        validate=validate.Regexp(f"^{CURRENCY.pattern}$", error="must be a code such as eur, in lower case"),
    )
    credits = WholeNumber(required=True, error_messages=REQUIRED, validate=bounds(1, MAX_CREDITS))
    lifetime_days = WholeNumber(allow_none=True, load_default=None, validate=bounds(1, MAX_LIFETIME_DAYS))


class AdminPackageAnswer(PackageAnswer):
    active = fields.Boolean(attribute="is_active", metadata={"description": "whether it is sold"})


class AdminPackagesAnswer(Answer):
    packages = fields.List(fields.Nested(AdminPackageAnswer))


class PaymentsQuery(PageQuery):
    license_id = fields.UUID(load_default=None, error_messages={"invalid_uuid": "must be the id of a license"})
    owed = fields.Integer(
        load_default=0,
        validate=validate.OneOf([0, 1], error="must be 0 or 1"),
        error_messages={"invalid": "must be 0 or 1"},
        metadata={"description": "1: only those of which something is owed; of all licenses"},
    )


class AdminPaymentAnswer(PaymentAnswer):
    license_id = fields.UUID()
    disagreement = fields.String(
        allow_none=True,
        metadata={"description": "how the last event of Stripe that was not booked differed from the payment"},
    )


class AdminPaymentsAnswer(Answer):
    payments = fields.List(fields.Nested(AdminPaymentAnswer))
    next_cursor = next_page()


blueprint = AdminBlueprint("payments", description="What is sold by card, and what was paid.")


def _checked(package_id: str) -> str:
    if not PACKAGE_ID.fullmatch(package_id):
        message = "must have 1 to 64 of a-z, 0-9, - and _, and begin with a letter or digit"
        raise Problem(
            "validation_failed",
            f"package_id: {message}",
            {"errors": [{"field": "package_id", "message": message}]},
        )
    return package_id


@blueprint.get("/api/v1/admin/packages", scope="read")
@blueprint.response(200, AdminPackagesAnswer, example={"packages": [{**PACKAGE, "active": True}]})
def list_all_packages() -> Any:
    """Every package that is or was sold, by currency and price."""
    return {"packages": repository.packages(services().database)}


@blueprint.put("/api/v1/admin/packages/<package_id>", scope="manage")
@blueprint.problems("amount_invalid")
@blueprint.arguments(PackageRequest, example={name: value for name, value in PACKAGE.items() if name != "id"})
@blueprint.response(200, AdminPackageAnswer, example={**PACKAGE, "active": True})
def set_package(body: dict[str, Any], package_id: str) -> Any:
    """Sell a package from now on, or change it. `price` is in the smallest unit of the currency. Who has begun to pay
    pays, and gets, what it was then."""
    return repository.set_package(services().database, _checked(package_id), **body, actor=actor())


@blueprint.delete("/api/v1/admin/packages/<package_id>", scope="manage")
@blueprint.problems("package_not_found", "validation_failed")
@blueprint.response(200, AdminPackageAnswer, example={**PACKAGE, "active": False})
def end_package(package_id: str) -> Any:
    """Sell a package no more."""
    return repository.end_package(services().database, _checked(package_id), actor=actor())


@blueprint.get("/api/v1/admin/payments", scope="read")
@blueprint.problems("license_not_found")
@blueprint.arguments(PaymentsQuery, location="query")
@blueprint.response(
    200,
    AdminPaymentsAnswer,
    example={
        "payments": [{**PAYMENT, "license_id": "549168a8-a341-43c8-83d9-e4789f508cf7", "disagreement": None}],
        "next_cursor": None,
    },
)
def list_admin_payments(query: dict[str, Any]) -> Any:
    """Payments by card, newest first: of all licenses, or of one."""
    database, license_id, before = services().database, query["license_id"], query["cursor"]
    limit, only_owed = query["limit"], bool(query["owed"])
    if license_id is None:
        found = repository.list_all_payments(
            database, only_owed=only_owed, before=before, limit=limit + 1, actor=actor()
        )
    elif only_owed:
        raise Problem(
            "validation_failed",
            "owed: cannot be used with license_id",
            {"errors": [{"field": "owed", "message": "cannot be used with license_id"}]},
        )
    else:
        note(license_id=str(license_id))
        found = repository.list_payments(database, license_id, before=before, limit=limit + 1, actor=actor())
    rows, next_cursor = page(found, limit)
    return {"payments": rows, "next_cursor": next_cursor}
