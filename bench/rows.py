"""What was measured, as a table."""

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

LIBRARIES = ("flask", "gunicorn", "psycopg2-binary", "sqlalchemy", "anthropic", "marshmallow")


class Row(NamedTuple):
    """A figure of each round, and what it should be: `at_most` or `at_least` that. `beside`: what it was made of."""

    what: str
    figures: Sequence[float]
    unit: str = "times"
    at_most: float | None = None
    at_least: float | None = None
    aim: float | None = None
    beside: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.figures)

    def verdict(self) -> str:
        if self.at_most is not None:
            return "met" if self.median <= self.at_most else "**missed**"
        if self.at_least is not None:
            return "met" if self.median >= self.at_least else "**missed**"
        return ""

    def cells(self) -> list[str]:
        target = "" if self.at_most is None else f"<= {self.at_most:g}"
        target = target if self.at_least is None else f">= {self.at_least:g}"
        spread = f"{min(self.figures):.3g} to {max(self.figures):.3g}" if len(self.figures) > 1 else ""
        aim = "" if self.aim is None else f"{self.aim:g}"
        return [self.what, target, aim, f"{self.median:.3g} {self.unit}", spread, self.verdict(), self.beside]


def in_turn(rounds: int, acts: Iterable[Callable[[], object]]) -> list[list[object]]:
    """The results of acts that take turns, by act: what else the machine does falls on all of them."""
    acts = list(acts)
    results: list[list[object]] = [[] for _ in acts]
    for _ in range(rounds):
        for result, act in zip(results, acts, strict=True):
            result.append(act())
    return results


def table(rows: Iterable[Row]) -> str:
    head = ["what", "target", "aim", "median", "rounds", "", "made of"]
    lines = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def command(module: str) -> str:
    """What the running program was called with; to write its table down changes none of it."""
    return " ".join(["python -m", module, *(argument for argument in sys.argv[1:] if argument != "--write")])


def wrk() -> str:
    """Its name and version."""
    # It ends as after a mistake, whatever it says.
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True).stdout
    return said.partition(" [")[0]


def machine(postgres: str, *programs: str) -> str:
    """Where and with what this was measured."""
    name = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    libraries = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({name}), {memory_gb:.0f} GB, {platform.system()} {platform.release()}; "
        f"{', '.join([f'Python {platform.python_version()}', f'PostgreSQL {postgres}', *programs])}; {libraries}; "
        f"commit {commit}; "
        f"load averages at the end {load}"
    )


def write(file: Path, name: str, text: str) -> None:
    """Put a table in the place of the last one, between two comments with this name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = file.read_text().partition(begin)
    file.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


def _lines(file: str) -> list[str]:
    path = Path(file)
    return path.read_text().splitlines() if path.exists() else []
