"""Lets the tests of this folder import `migrating` and the project's scripts."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "scripts")]
