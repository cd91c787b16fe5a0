"""How a command ended, and what the tests of commands look for in what it printed."""

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

OBOL = Path(sys.executable).parent / "obol"

# A license key, wherever it stands.
KEY = re.compile(r"obol_[0-9a-f]{32}_[0-9A-Za-z]{38}")

LARGEST = 2**63 - 1
SOME_ID = UUID("11111111-2222-4333-8444-555555555555")

# A database at which nobody listens.
NOWHERE = "postgresql://obol:secret-password@127.0.0.1:1/obol"


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def key(self) -> str:
        (key,) = KEY.findall(self.out)
        return str(key)
