"""How far a long work is, on a terminal."""

import sys
import threading
import time
from types import TracebackType
from typing import Self

EVERY_S = 1.0


class Progress:
    """A line on stderr, renewed each second while the block runs: what is done, how many rows (when it is told), for
    how long. Nothing where stderr is no terminal, and nothing for what ends within a second.

    Args:
        what: the line's first word.
        is_shown: False: not even on a terminal.
        every_s: how often, in seconds.
    """

    def __init__(self, what: str, *, is_shown: bool = True, every_s: float = EVERY_S) -> None:
        self._what = what
        self._rows = 0
        self._every_s = every_s
        self._began_at = time.monotonic()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True) if is_shown and sys.stderr.isatty() else None

    def advance(self, rows: int) -> None:
        """So many rows more are done."""
        self._rows += rows

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self) -> None:
        width = 0
        while not self._has_ended.wait(self._every_s):
            rows = f" {self._rows:,} rows" if self._rows else ""
            line = f"{self._what}{rows}, {time.monotonic() - self._began_at:.0f} s"
            width = max(width, len(line))
            sys.stderr.write(f"\r{line.ljust(width)}")
            sys.stderr.flush()
        if width:
            # Nothing of it stays on the screen.
            sys.stderr.write(f"\r{' ' * width}\r")
            sys.stderr.flush()
