"""What Obol costs and carries, measured: `make bench`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Licenses and free ports come from where the tests have them.
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# Where `beside` has the route that everything is compared with.
BARE_PATH = "/bare"
