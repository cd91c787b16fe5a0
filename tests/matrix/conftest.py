"""Lets the test of this folder import what it is made of."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
