"""scripts/install.sh shows on a terminal that it goes on, and leaves nothing behind when it is interrupted."""

import os
import pty
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from factories import ROOT, wait_until

# In place of Python: it has what is asked for, and an installation takes until the file "go" is there.
PYTHON = """\
#!/bin/sh
[ "$1 $2 $4" = "-m pip --quiet" ] || exit 0
echo installing >>installed
until [ -e go ]; do sleep 0.1; done
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with a Python that installs nothing."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "install.sh", tmp_path / "scripts")
    for name in ("requirements.lock", "setup.cfg", "setup.py", "pyproject.toml"):
        (tmp_path / name).write_text("")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


class Installing:
    """The script, with a terminal of its own."""

    def __init__(self, tree: Path) -> None:
        self.shown = ""
        self._ours, theirs = pty.openpty()
        command = ["sh", "scripts/install.sh", "requirements.lock"]
        self.process = subprocess.Popen(
            command,
            cwd=tree,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            # Where the tests run in the background Ctrl-C is ignored, and a shell cannot undo that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(theirs)

    def read_to(self, end: str) -> None:
        while end not in self.shown:
            self.shown += os.read(self._ours, 1000).decode()

    def is_over(self) -> bool:
        """Whether nothing of it runs any more: then nobody has the terminal."""
        try:
            return not os.read(self._ours, 1000)
        except OSError:
            return True


def test_dots_on_a_terminal(tree: Path) -> None:
    installing = Installing(tree)
    installing.read_to("..")
    (tree / "go").touch()

    assert installing.process.wait(30) == 0
    assert installing.shown.startswith("Installing requirements.lock into .venv")
    wait_until(installing.is_over, 30, "the end of the dots")
    assert (tree / ".venv" / "installed-requirements").exists()


def test_ctrl_c_ends_the_dots_too(tree: Path) -> None:
    installing = Installing(tree)
    installing.read_to("..")
    os.killpg(installing.process.pid, signal.SIGINT)

    assert installing.process.wait(30) == 130
    wait_until(installing.is_over, 30, "the end of the dots")
    assert not (tree / ".venv" / "installed-requirements").exists()


def test_no_dots_in_a_file(tree: Path) -> None:
    (tree / "go").touch()
    said = subprocess.run(["sh", "scripts/install.sh", "requirements.lock"], cwd=tree, capture_output=True, text=True)

    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.splitlines() == ["Installing requirements.lock into .venv (the first time this takes a minute)"]
