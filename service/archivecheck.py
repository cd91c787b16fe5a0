"""What `obol archive` wrote, checked against itself and against what the database says of it."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from . import pricing, strict_json
from .archivefile import Folder
from .db import Database
from .repository import archive
from .repository.archive import Archived, ArchivedFile
from .repository.ledger import Finding

Advance = Callable[[int], None]

# The rules, as in obol.verify.
THERE = "every archived file is there"
AS_WRITTEN = "an archived file is as it was written"
AGREES = "an archived file agrees with itself"
GOES_ON = "archived files go on from each other to where the tables begin"
SUMS = "what is kept of archived entries is what their files say"


class Entry(NamedTuple):
    """An entry as a file has it (obol.archive_lines)."""

    entry_no: int
    kind: str
    amount: int
    balance_after: int
    cause_id: str
    part_id: str | None
    key_id: str | None
    reference: str | None
    model: str | None
    price: dict[str, Any] | None
    usage: dict[str, Any] | None
    shortfall: int
    created_at: int

    @property
    def day(self) -> str:
        return datetime.fromtimestamp(self.created_at // 1_000_000, UTC).date().isoformat()


class Content(NamedTuple):
    """A file that was read."""

    entries: list[Entry]
    holds: dict[str, dict[str, Any]]
    allotments: list[dict[str, Any]]


class Sums:
    """What is kept of a license's archived entries, made again out of its files: see obol.show_sums."""

    def __init__(self) -> None:
        self.days: dict[str, list[int]] = defaultdict(lambda: [0] * 8)
        self.usage: dict[tuple[str, str | None, str | None], list[int]] = defaultdict(lambda: [0] * 8)
        self.grants: dict[str | None, list[int]] = defaultdict(lambda: [0] * 3)
        # What was voided of a grant, by what for.
        self.voids: dict[str, dict[str | None, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, content: Content) -> None:
        """The entries of one more file. What a refund gives back is in the same one."""
        causes = {entry.cause_id: entry for entry in content.entries if entry.kind in ("charge", "deduction")}
        for entry in content.entries:
            self._add_day(entry)
            self._add_usage(entry, causes.get(entry.cause_id, entry))
            if entry.kind in ("expiry", "void"):
                self.grants[entry.cause_id][1] -= entry.amount
                if entry.kind == "void":
                    self.voids[entry.cause_id][entry.reference] -= entry.amount
            elif entry.kind == "grant" or (entry.kind == "adjustment" and entry.amount > 0):
                self.grants[entry.cause_id][0] += 1
            elif entry.kind == "refund":
                self.grants[entry.part_id][0] += 1
        for allotment in content.allotments:
            self.grants[allotment["grant_id"]][2] += allotment["balance_from"] - allotment["balance_to"]

    def _add_day(self, entry: Entry) -> None:
        places = {"grant": 1, "charge": 2, "deduction": 2, "refund": 3, "expiry": 4, "void": 5, "adjustment": 6}
        figures = self.days[entry.day]
        figures[0] += entry.amount
        figures[places[entry.kind]] += (
            entry.amount if entry.kind in ("grant", "refund", "adjustment") else -entry.amount
        )
        figures[7] += entry.shortfall

    def _add_usage(self, entry: Entry, cause: Entry) -> None:
        if entry.kind not in ("charge", "deduction", "refund"):
            return
        figures = self.usage[entry.day, cause.model, cause.key_id]
        if entry.kind == "refund":
            figures[7] += entry.amount
            return
        figures[0] += 1
        figures[1] -= entry.amount
        for place, tokens in enumerate(pricing.tokens_of(entry.usage or {}).values(), start=2):
            figures[place] += tokens

    def differences(self, kept: archive.Sums) -> Iterator[str]:
        """What the database has kept otherwise, in words."""
        if (found := {day: figures for day, *figures in kept.days}) != self.days:
            yield f"the sums of the days {_differing(found, self.days)}"
        usage = {(day, model, key_id): figures for day, model, key_id, *figures in kept.usage}
        if usage != self.usage:
            yield f"the usage of {_differing(usage, self.usage)}"
        grants = {grant_id: figures for grant_id, *figures in kept.grants}
        # Most refunds go to the grants that they came from, and start none.
        wanted = {
            grant_id: figures
            for grant_id, figures in self.grants.items()
            if any(figures) and (figures != [1, 0, 0] or grant_id in grants)
        }
        if grants != wanted:
            yield f"the sums of the grants {_differing(grants, wanted)}"
        payments = {grant_id: figures for grant_id, _payment_id, *figures in kept.payments}
        wanted = {
            grant_id: [sum(self.voids[grant_id].values()), self.voids[grant_id][f"payment {payment_id}"]]
            for grant_id, payment_id, *_figures in kept.payments
        }
        if payments != wanted:
            yield f"what was voided of the grants of payments {_differing(payments, wanted)}"


def _differing(found: dict[Any, list[int]], wanted: dict[Any, list[int]]) -> str:
    keys = sorted(str(key) for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    return ", ".join(keys[:5])


def check(db: Database, folder: Folder, advance: Advance = lambda _rows: None) -> Iterator[Finding]:
    """What is wrong with the archive of each license: nothing where each file is there and as it was written, entries
    are numbered without a gap, balances chain from 0 to where the tables begin, charges are their prices times their
    usage, and what the database keeps of them is their sum.

    Args:
        advance: is told how many entries were read since it was told last.
    """
    for archived in archive.archived(db):
        license = _License(folder, archived)
        for file in archive.files(db, archived.license_id):
            yield from license.add(file)
            advance(file.last_entry_no - file.first_entry_no + 1)
        yield from license.end()
        if license.is_whole:
            for difference in license.sums.differences(archive.sums(db, archived.license_id)):
                yield Finding(archived.license_id, SUMS, difference)


class _License:
    """The files of a license, one after the other. After the first one that is wrong, only digests are compared."""

    def __init__(self, folder: Folder, archived: Archived) -> None:
        self._folder = folder
        self._archived = archived
        self._digest = b""
        self._after = 0
        self._balance = 0
        self.sums = Sums()
        self.is_whole = True

    def add(self, file: ArchivedFile) -> Iterator[Finding]:
        """What is wrong with one more."""
        path = self._folder.path_of(self._archived.license_id, file.first_entry_no, file.last_entry_no)
        if file.first_entry_no != self._after + 1:
            yield self._wrong(GOES_ON, f"{path}: the file before it ends with entry {self._after}")
        self._after = file.last_entry_no
        self._digest = hashlib.sha256(self._digest + file.file_digest).digest()
        try:
            data = path.read_bytes()
        except OSError as error:
            yield self._wrong(THERE, f"{path}: {error.strerror}")
            return
        if hashlib.sha256(data).digest() != file.file_digest:
            yield self._wrong(AS_WRITTEN, f"{path}: its SHA-256 is not {file.file_digest.hex()}")
        elif self.is_whole and (wrong := self._disagreement(data, file)) is not None:
            yield self._wrong(AGREES, f"{path}: {wrong}")

    def end(self) -> Iterator[Finding]:
        """What is wrong with where they end."""
        archived = self._archived
        if (self._after, self._digest) != (archived.last_entry_no, archived.digest):
            yield self._wrong(
                GOES_ON,
                f"they end with {self._after}, and the tables begin after {archived.last_entry_no}; or digests differ",
            )
        elif self.is_whole and self._balance != archived.balance:
            yield self._wrong(
                GOES_ON, f"the balance at their end is {self._balance}, and the tables begin with {archived.balance}"
            )

    def _wrong(self, rule: str, detail: str) -> Finding:
        self.is_whole = False
        return Finding(self._archived.license_id, rule, detail)

    def _disagreement(self, data: bytes, file: ArchivedFile) -> str | None:
        try:
            content = _read(data, self._archived.license_id, file)
            wrong = _disagreement(content, self._balance)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            return "it is not what `obol archive` writes"
        if wrong is None:
            self._balance = content.entries[-1].balance_after
            self.sums.add(content)
        return wrong


def _read(data: bytes, license_id: UUID, file: ArchivedFile) -> Content:
    """What is in a file.

    Raises:
        ValueError and others: it is none.
    """
    header, *documents = [strict_json.decode(line) for line in data.splitlines()]
    if (header["obol_archive"], header["license_id"]) != (1, str(license_id)):
        raise ValueError("it is of another license, or version")
    count = file.last_entry_no - file.first_entry_no + 1
    holds_end = count + header["holds"]
    if len(documents) != holds_end + header["allotments"]:
        raise ValueError("it has more or fewer lines than it says")
    entries = [Entry(*document) for document in documents[:count]]
    if [entry.entry_no for entry in entries] != list(range(file.first_entry_no, file.last_entry_no + 1)):
        raise ValueError("its entries have other numbers than it says")
    return Content(entries, {hold["hold_id"]: hold for hold in documents[count:holds_end]}, documents[holds_end:])


def _disagreement(content: Content, balance: int) -> str | None:
    """The first thing in a file that disagrees with a rule of the ledger; None: nothing does."""
    left: dict[str, int] = {}
    for entry in content.entries:
        balance += entry.amount
        if balance != entry.balance_after:
            return f"entry {entry.entry_no}: the balance is {balance}, not {entry.balance_after}"
        if entry.kind in ("charge", "deduction"):
            left[entry.cause_id] = -entry.amount
        elif entry.kind == "refund":
            left[entry.cause_id] -= entry.amount
            if left[entry.cause_id] < 0:
                return f"entry {entry.entry_no}: more was given back than was taken"
        if entry.kind == "charge":
            hold = content.holds[entry.cause_id]
            if (hold["state"], hold["price"], hold["model"], hold["key_id"]) != (
                "settled", entry.price, entry.model, entry.key_id,
            ):  # fmt: skip
                return f"entry {entry.entry_no}: its hold says something else"
            if entry.price is not None and entry.shortfall - entry.amount != pricing.charge(
                entry.price, entry.usage or {}
            ):
                return f"entry {entry.entry_no}: the charge is not its price times its usage"
    return None
