"""Old entries leave the tables for files, license by license, and can be checked there.

The order is what makes a crash harmless: a file is on the disk before the statement that deletes what is in it, and
that statement deletes only what has, at that moment and under the license's lock, the SHA-256 of the file. Stopped
anywhere, the entries are in the tables, or in a file that obol.archived_files names, and the next run goes on.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from .archivefile import ArchiveError, Folder, entry_lines
from .db import Database
from .repository import admin, archive, ledger, usage
from .repository.archive import MOST, Numbers, Wanted

# For as long entries stay in any case: keys live for thirty days, and limits count for a month.
LEAST_DAYS = 31

# How often the entries of a license may change between being written and being deleted, before it is left.
_ATTEMPTS = 3

Advance = Callable[[int], None]


class Outcome(NamedTuple):
    """What a run did. `kept` licenses have older entries that could not go yet; `disagreeing` ones were left as they
    are, because `verify` finds something wrong with them."""

    licenses: int
    entries: int
    files: int
    bytes: int
    kept: int
    disagreeing: int


def month_of(text: str, *, now: datetime) -> datetime:
    """When a month such as 2027-01 begins (UTC).

    Raises:
        ValueError: it is none, or not over for long enough; the message says what it must be.
    """
    try:
        begin = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        begin = None
    if begin is None or len(text) != len("2027-01"):
        raise ValueError("must be a month such as 2027-01")
    latest = now.astimezone(UTC) - timedelta(days=LEAST_DAYS)
    if begin > latest:
        raise ValueError(
            f"must be {latest:%Y-%m} at the latest: entries stay for {LEAST_DAYS} days, as idempotency keys do"
        )
    return begin


def run(
    db: Database,
    folder: Folder,
    *,
    before: datetime,
    with_undelivered: bool = False,
    most: int = MOST,
    advance: Advance = lambda _rows: None,
) -> Outcome:
    """Archive what is of before a time, of every license.

    Args:
        with_undelivered: also charges whose answers are not known to have arrived.
        most: how many entries of a license are written and taken out at once, about.
        advance: is told how many entries were archived since it was told last.

    Raises:
        ArchiveError: the folder is not the one that has the entries before these, or another run writes there.
    """
    # What disagrees must stay where verify sees it.
    wrong = {finding.license_id for finding in ledger.verify(db)}
    # Only what is in the business by time may go.
    while admin.roll_up_business(db):
        pass
    licenses = entries = files = size = disagreeing = 0
    with folder.alone():
        for license_id in archive.due(db, before):
            if license_id in wrong:
                disagreeing += 1
                continue
            written = list(_License(db, folder, license_id).archive(Wanted(before, most, with_undelivered), advance))
            licenses += bool(written)
            entries += sum(one.entries for one in written)
            files += len(written)
            size += sum(one.bytes for one in written)
    kept = sum(license_id not in wrong for license_id in archive.due(db, before))
    return Outcome(licenses, entries, files, size, kept, disagreeing)


class _Written(NamedTuple):
    entries: int
    bytes: int


class _License:
    """What is archived of one license."""

    def __init__(self, db: Database, folder: Folder, license_id: UUID) -> None:
        self._db = db
        self._folder = folder
        self._id = license_id

    def archive(self, wanted: Wanted, advance: Advance) -> Iterator[_Written]:
        """Write one file after the other, and take what is in it out of the tables."""
        while usage.roll_up(self._db, self._id):
            pass
        self._folder.clear(self._id)
        attempts = _ATTEMPTS
        while attempts:
            numbers = archive.prepare(self._db, self._id, wanted)
            if numbers is None:
                return
            self._make_way(numbers)
            data = self._data(numbers)
            self._folder.write(self._folder.path_of(self._id, *numbers), data)
            digest = hashlib.sha256(data).digest()
            if archive.archive(self._db, self._id, last_entry_no=numbers.last_entry_no, file_digest=digest):
                attempts = _ATTEMPTS
                written = _Written(numbers.last_entry_no - numbers.first_entry_no + 1, len(data))
                advance(written.entries)
                yield written
            else:
                attempts -= 1

    def _make_way(self, numbers: Numbers) -> None:
        """Look that the folder has what comes before these entries, and take away files of them that a run left when it
        was stopped: everything in them is in the tables, which is compared.

        Raises:
            ArchiveError: it has not; or a file has other entries than the tables.
        """
        stored = self._folder.stored(self._id)
        first = numbers.first_entry_no
        if first > 1 and not any(file.last_entry_no == first - 1 for file in stored):
            raise ArchiveError(
                f"{self._folder.path}: the file of license {self._id} that ends with entry {first - 1} is not here. "
                "Archive to the folder that has the entries before"
            )
        for file in stored:
            if file.first_entry_no < first:
                continue
            there = self._data(Numbers(file.first_entry_no, file.last_entry_no))
            if entry_lines(file.path.read_bytes()) != entry_lines(there):
                raise ArchiveError(
                    f"{file.path}: its entries are in the tables too, and are others there. It is of another database, "
                    "or of after the backup that this one was restored from. Move it elsewhere, and keep it"
                )
            if (file.first_entry_no, file.last_entry_no) != numbers:
                self._folder.remove(file.path)

    def _data(self, numbers: Numbers) -> bytes:
        return "".join(f"{line}\n" for line in archive.lines(self._db, self._id, numbers)).encode()
