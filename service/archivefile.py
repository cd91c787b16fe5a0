"""The files of the archive: where they are, and how they are written so that a crash leaves the old or the new.

    FOLDER/0a/0a1b2c3d-…/1-5000.jsonl        the license's entries 1 to 5000, and what belongs to them
    FOLDER/0a/0a1b2c3d-…/5001-7312.jsonl     the next ones

A file is lines of JSON (obol.archive_lines): an object that says what is in it; the entries, an array each; the holds
of the charges; and what was allotted. A file that is written never changes, so copies of a folder need only new ones.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

_NAME = re.compile(r"([1-9][0-9]{0,18})-([1-9][0-9]{0,18})\.jsonl")
_PART = ".part"


class ArchiveError(Exception):
    """A folder or a file is not what it must be; the message begins with its name and says what to do."""


class Stored(NamedTuple):
    """A file, by the entries that its name says."""

    first_entry_no: int
    last_entry_no: int
    path: Path


class Folder:
    """A folder of `obol archive`.

    Raises:
        ArchiveError: it is not there.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise ArchiveError(
                f"{path}: there is no such folder. Make it first, where it is backed up and no redeployment takes it"
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else writes here while the block runs.

        Raises:
            ArchiveError: somebody else does; or nothing can be written here.
        """
        try:
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise ArchiveError(f"{self.path}: nothing can be written here: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArchiveError(f"{self.path}: another `obol archive` writes here. Wait for its end") from None
            yield

    def path_of(self, license_id: UUID, first_entry_no: int, last_entry_no: int) -> Path:
        """Where these entries of a license are, or will be."""
        return self._of(license_id) / f"{first_entry_no}-{last_entry_no}.jsonl"

    def stored(self, license_id: UUID) -> list[Stored]:
        """The files of a license, in the order of their entries."""
        folder = self._of(license_id)
        names = [_NAME.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
        return sorted(Stored(int(name[1]), int(name[2]), folder / name[0]) for name in names if name is not None)

    def chain(self, license_id: UUID) -> Iterator[Stored]:
        """The files of a license from its first entry on, as far as each begins where the one before it ends."""
        after = 0
        for file in self.stored(license_id):
            if file.first_entry_no == after + 1:
                yield file
                after = file.last_entry_no

    def write(self, path: Path, data: bytes) -> None:
        """Write a file, whole or not at all: when this returns it is on the disk, under its name."""
        # First the folders above it, so that their names are on the disk too.
        for folder in (path.parent.parent, path.parent):
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
                _sync(folder.parent)
        part = path.with_name(path.name + _PART)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync(path.parent)

    def remove(self, path: Path) -> None:
        """Take a file away, of which everything is elsewhere."""
        path.unlink()
        _sync(path.parent)

    def clear(self, license_id: UUID) -> None:
        """Take away what a run that was stopped had not written to its end."""
        for part in self._of(license_id).glob(f"*{_PART}"):
            part.unlink()

    def _of(self, license_id: UUID) -> Path:
        return self.path / str(license_id)[:2] / str(license_id)


def entry_lines(data: bytes) -> list[bytes]:
    """The lines of a file that are entries: the others are objects."""
    return [line for line in data.split(b"\n") if line.startswith(b"[")]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
