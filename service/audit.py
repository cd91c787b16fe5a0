"""Heads: digests of what never changes, to be kept elsewhere, and compared with what is there later.

A head is lines of JSON: a header, the audit trail, a line for each license, and a last line with the number of those
before it and their digest, so that a file that was cut off is known. Whoever can write the tables can make every row
agree with every other one; they cannot reach a file on another machine.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from . import strict_json
from .archivefile import Folder, Stored, entry_lines
from .db import Database
from .repository import archive, audit, processes
from .repository.archive import Numbers
from .repository.audit import Digest

# Which columns are in a digest, and how: obol.digest_entries and obol.digest_acts. Another list is another version,
# and its functions come beside these, so that heads that were kept can be checked.
VERSION = 1

# Entries that are digested at once, in obol.digest_entries.
BLOCK = 1000

# The keys of each line.
_HEADER = {"obol_audit_head", "taken_at", "revision"}
_ACTS = {"act_no", "acts", "sha256"}
_LICENSE = {"license_id", "entries", "sha256"}
# Of a license that has entries in the archive.
_ARCHIVED = _LICENSE | {"archived"}
_END = {"lines", "sha256"}

# Of PostgreSQL's bigint.
_MOST = 2**63 - 1

Advance = Callable[[int], None]


class HeadError(Exception):
    """There is no head to be had, or a file is none; the message says why and what to do."""


class Recorded(NamedTuple):
    """What a head says of a license or of the audit trail: how many rows, up to which number, and their digest; and how
    many of these rows were archived then."""

    through: int
    total: int
    sha256: str
    archived: int = 0


class Head(NamedTuple):
    """A head that was kept."""

    taken_at: str
    acts: Recorded
    licenses: dict[UUID, Recorded]


class Difference(NamedTuple):
    """What is no longer as a head has it; of the audit trail there is no license."""

    license_id: UUID | None
    rule: str
    detail: str


def take(db: Database, advance: Advance = lambda _rows: None) -> Iterator[str]:
    """The lines of a head, without their ends. Entries and acts that come meanwhile do no harm.

    Args:
        advance: is told how many rows were read since it was told last.

    Raises:
        HeadError: entries are missing already.
    """
    checksum = hashlib.sha256()
    lines = 0
    for document in _documents(db, advance):
        line = json.dumps(document)
        checksum.update(f"{line}\n".encode())
        lines += 1
        yield line
    yield json.dumps({"lines": lines, "sha256": checksum.hexdigest()})


def _documents(db: Database, advance: Advance) -> Iterator[dict[str, Any]]:
    yield {
        "obol_audit_head": VERSION,
        "taken_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "revision": processes.revision(db),
    }
    act_no = audit.settle_acts(db)
    acts = _acts(db, act_no, advance)
    yield {"act_no": act_no, "acts": acts.total, "sha256": acts.state.hex()}
    for head in audit.heads(db):
        digest = _entries(db, head, through=head.entries, advance=advance)
        if digest.total != head.entries:
            # Some may have been archived since the license was listed.
            head = audit.head_of(db, head.license_id)
            digest = _entries(db, head, through=head.entries, advance=advance)
        if digest.total != head.entries:
            raise HeadError(
                f"license {head.license_id} has {digest.total} of {head.entries} entries: a head of this would hide "
                "that. `obol verify` says what is wrong; compare with the head before it: `obol audit check FILE`."
            )
        archived = {"archived": head.archived} if head.archived else {}
        yield {"license_id": str(head.license_id), "entries": head.entries, **archived, "sha256": digest.state.hex()}


def _acts(db: Database, through: int, advance: Advance) -> Digest:
    return _last(audit.digest_acts(db, through, state=_seed("acts")), _seed("acts"), advance)


def _entries(db: Database, head: audit.Head, *, through: int, advance: Advance) -> Digest:
    state = _begin(head, head.archived_digest)
    digests = audit.digest_entries(db, head.license_id, through, state=state, after=head.archived)
    found = _last(digests, state, advance)
    return found._replace(total=head.archived + found.total)


def _begin(head: audit.Head, archived_digest: bytes | None) -> bytes:
    """The digest that goes on with the entries after the archived ones."""
    # Where the audit trail begins is of the migration that made it, and as unchangeable as an entry.
    seed = _seed(f"{head.license_id} {head.unaudited}")
    return seed if archived_digest is None else hashlib.sha256(seed + archived_digest).digest()


def _seed(what: str) -> bytes:
    return hashlib.sha256(f"obol audit head {VERSION} {what}".encode()).digest()


def _last(digests: Iterable[Digest], seed: bytes, advance: Advance) -> Digest:
    last = Digest(seed, 0, 0)
    for digest in digests:
        advance(digest.total - last.total)
        last = digest
    return last


def compare(
    db: Database, head: Head, advance: Advance = lambda _rows: None, *, folder: Folder | None = None
) -> Iterator[Difference]:
    """What is no longer as a head has it. What has come since is not looked at.

    Args:
        advance: as for `take`.
        folder: where entries are that have been archived since.
    """
    acts = _acts(db, head.acts.through, advance)
    if acts.total < head.acts.total:
        yield Difference(None, "every act is there", f"{acts.total} of {head.acts.total} are")
    elif acts.state.hex() != head.acts.sha256:
        yield Difference(None, "acts are as they were", f"those up to {head.acts.through} are not")
    missing = dict(head.licenses)
    for found in audit.heads(db):
        recorded = missing.pop(found.license_id, None)
        if recorded is None:
            continue
        if recorded.archived == found.archived:
            entries = _entries(db, found, through=recorded.through, advance=advance)
        elif folder is None:
            detail = f"{found.archived} of them are in the archive by now: --archive FOLDER reads them there"
            yield Difference(found.license_id, "entries are as they were", detail)
            continue
        else:
            entries = _entries_with_files(db, found, recorded, folder=folder)
            advance(entries.total)
        if entries.total < recorded.total:
            detail = f"{entries.total} of {recorded.total} are; the license counts {found.entries}"
            yield Difference(found.license_id, "every entry is there", detail)
        elif entries.state.hex() != recorded.sha256:
            yield Difference(found.license_id, "entries are as they were", f"those up to {recorded.through} are not")
    for license_id, recorded in missing.items():
        yield Difference(license_id, "every license is there", f"it had {recorded.total} entries")


def _entries_with_files(db: Database, found: audit.Head, recorded: Recorded, *, folder: Folder) -> Digest:
    """The digest of the entries that a head has, of which more are in files by now than were then, or fewer."""
    digest, total, files = b"", 0, []
    for file in folder.chain(found.license_id):
        if file.last_entry_no <= recorded.archived:
            digest = hashlib.sha256(digest + hashlib.sha256(file.path.read_bytes()).digest()).digest()
            total = file.last_entry_no
        else:
            files.append(file)
    if total < recorded.archived:
        return Digest(b"", total, total)
    state = _begin(found, digest or None)
    lines = _lines(db, found.license_id, files, first=total + 1, through=recorded.through)
    # Blocks end as in obol.digest_entries.
    while block := list(islice(lines, min(BLOCK - total % BLOCK, recorded.through - total))):
        state = hashlib.sha256(state + b"\n".join(block)).digest()
        total += len(block)
    return Digest(state, recorded.through, total)


def _lines(db: Database, license_id: UUID, files: Iterable[Stored], *, first: int, through: int) -> Iterator[bytes]:
    """Entries as they are digested, from files and then from the tables."""
    for file in files:
        yield from entry_lines(file.path.read_bytes())
        first = file.last_entry_no + 1
    while first <= through:
        last = min(first + BLOCK - 1, through)
        yield from (
            line.encode() for line in archive.lines(db, license_id, Numbers(first, last)) if line.startswith("[")
        )
        first = last + 1


def read(lines: Iterable[bytes]) -> Head:
    """A head that was kept, all of which has been looked at.

    Raises:
        HeadError: a line is not what it must be; the message begins with its number.
    """
    checksum = hashlib.sha256()
    header: dict[str, Any] | None = None
    acts: Recorded | None = None
    licenses: dict[UUID, Recorded] = {}
    is_complete = False
    number = 0
    for number, line in enumerate(lines, start=1):
        if is_complete:
            raise _wrong(number, "the line before it is the last one of a head. Check one head at a time")
        document = _document(number, line)
        if number == 1:
            header = _header(number, document)
        elif number == 2:
            acts = _recorded(number, document, _ACTS, through="act_no", total="acts")
        elif document.keys() == _END:
            # Where lines ended otherwise on the way here, they still say the same.
            if document != {"lines": number - 1, "sha256": checksum.hexdigest()}:
                raise _wrong(number, "the lines before it are not those that were written. Take another copy")
            is_complete = True
        else:
            keys = _ARCHIVED if "archived" in document else _LICENSE
            recorded = _recorded(number, document, keys, through="entries", total="entries")
            if licenses.setdefault(_license_id(number, document), recorded) is not recorded:
                raise _wrong(number, "the license was there before. Take another copy")
        checksum.update(line.rstrip(b"\r\n") + b"\n")
    if header is None or acts is None or not is_complete:
        raise _wrong(
            number + 1, "the file ends here, without the last line of a head: it was cut off. Take another copy"
        )
    return Head(header["taken_at"], acts, licenses)


def _document(number: int, line: bytes) -> dict[str, Any]:
    try:
        document = strict_json.decode(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _wrong(number, "it is no JSON object. A head is what `obol audit head` prints; take another copy")
    return document


def _header(number: int, document: dict[str, Any]) -> dict[str, Any]:
    version = document.get("obol_audit_head")
    if type(version) is int and version > VERSION:
        raise _wrong(number, f"the head is of version {version}, and this Obol knows {VERSION}. Use a later one")
    if version != VERSION or document.keys() != _HEADER or not isinstance(document["taken_at"], str):
        raise _wrong(
            number, "a head begins with obol_audit_head, taken_at and revision. It is what `obol audit head` prints"
        )
    return document


def _recorded(number: int, document: dict[str, Any], keys: set[str], *, through: str, total: str) -> Recorded:
    if document.keys() != keys:
        raise _wrong(number, f"it must have {', '.join(sorted(keys))}. Take another copy")
    for name in (through, total, *(keys & {"archived"})):
        if type(document[name]) is not int or not 0 <= document[name] <= _MOST:
            raise _wrong(number, f"{name} must be a whole number from 0 to {_MOST}. Take another copy")
    sha256 = document["sha256"]
    if not isinstance(sha256, str) or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise _wrong(number, "sha256 must have 64 hexadecimal digits. Take another copy")
    return Recorded(document[through], document[total], sha256, document.get("archived", 0))


def _license_id(number: int, document: dict[str, Any]) -> UUID:
    try:
        return UUID(document["license_id"])
    except (ValueError, AttributeError, TypeError):
        raise _wrong(number, "license_id must be the id of a license. Take another copy") from None


def _wrong(number: int, what: str) -> HeadError:
    return HeadError(f"line {number}: {what}.")
