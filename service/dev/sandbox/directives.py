"""What a prompt asks the sandbox to do."""

import json
import re
from typing import Self

_DIRECTIVE = re.compile(r"\[sandbox ([a-z][a-z0-9_]*)(?:=([0-9]{1,9}))?\]")

_COUNTS = "count_"


class Directives(dict[str, str]):
    """By name, each with its digits, or with "" when it has none."""

    @classmethod
    def found_in(cls, messages: object) -> Self:
        """Those anywhere in a request's messages; of two of a name the last."""
        return cls(_DIRECTIVE.findall(json.dumps(messages)))

    def of_counts(self) -> "Directives":
        """Those that are for token counts, under the names that they have for messages."""
        return Directives({n.removeprefix(_COUNTS): v for n, v in self.items() if n.startswith(_COUNTS)})

    def number(self, name: str, default: int) -> int:
        return int(self.get(name) or default)

    def position(self, name: str) -> int | None:
        """None when it was not asked for; 0 when no number was given."""
        return self.number(name, 0) if name in self else None
