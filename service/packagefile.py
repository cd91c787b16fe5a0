"""A file of packages: TOML text in, what is sold by card out. Pure; docs/packages.example.toml shows the format."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from . import money, tomlfile
from .tomlfile import TomlFileError

# The limits of the table of packages, as the other ways to it have them.
MAX_CREDITS = 2**63 - 1
MAX_NAME = 200

_TOP = ("currency", "not_sold", "package")
_PACKAGE = ("id", "name", "price", "currency", "credits", "lifetime_days")


class NewPackage(NamedTuple):
    """A package to sell: its name, price (in the smallest unit), currency, credits and lifetime_days by their names;
    None: it is sold no more."""

    package_id: str
    terms: dict[str, Any] | None


def read(text: str) -> list[NewPackage]:
    """The packages of a file.

    Raises:
        TomlFileError: naming the entry and the field.
    """
    document = tomlfile.load(text)
    tomlfile.only("the file", document, _TOP)
    rows = [
        _package(number, entry, document)
        for number, entry in enumerate(tomlfile.tables("the file", document, "package", heading="package"), 1)
    ]
    not_sold = document.get("not_sold", [])
    if not isinstance(not_sold, list):
        raise TomlFileError('the file: not_sold must be a list, such as ["starter"].')
    rows += [NewPackage(_id("the file: not_sold", package_id), None) for package_id in not_sold]
    tomlfile.once(row.package_id for row in rows)
    if not rows:
        raise TomlFileError("the file: it has no package; add a [[package]].")
    return rows


def _package(number: int, entry: Mapping[str, Any], document: Mapping[str, Any]) -> NewPackage:
    package_id = _id(f"package {number}: id", tomlfile.needed(f"package {number}", entry, "id"))
    where = f"the package {package_id}"
    tomlfile.only(where, entry, _PACKAGE)
    name = tomlfile.needed(where, entry, "name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise TomlFileError(f"{where}: name must be text of 1 to {MAX_NAME} printable characters.")
    currency = entry.get("currency", document.get("currency"))
    if currency is None:
        raise TomlFileError(f"{where}: currency is missing; it may also stand at the top, for all packages.")
    if not isinstance(currency, str) or not money.CURRENCY.fullmatch(currency):
        raise TomlFileError(f"{where}: currency must be a code such as eur, in lower case.")
    credits = tomlfile.needed(where, entry, "credits")
    credits = tomlfile.whole(f"{where}: credits", credits, least=1, most=MAX_CREDITS)
    days = entry.get("lifetime_days")
    if days is not None:
        hint = "; left out, credits do not expire"
        days = tomlfile.whole(f"{where}: lifetime_days", days, least=1, most=money.MAX_LIFETIME_DAYS, hint=hint)
    price = _price(f"{where}: price", tomlfile.needed(where, entry, "price"), currency)
    terms = {"name": name, "price": price, "currency": currency, "credits": credits, "lifetime_days": days}
    return NewPackage(package_id, terms)


def _id(where: str, package_id: Any) -> str:
    if not isinstance(package_id, str) or not money.PACKAGE_ID.fullmatch(package_id):
        raise TomlFileError(
            f"{where} must have 1 to 64 of a-z, 0-9, - and _, begin with a letter or digit, and stand in quotes."
        )
    return package_id


def _price(where: str, price: Any, currency: str) -> int:
    if type(price) not in (int, Decimal):
        raise TomlFileError(f"{where} must be an amount such as 10.00, without quotes.")
    try:
        return money.parse(str(price), currency)
    except ValueError as error:
        raise TomlFileError(f"{where}: {error}.") from error
