"""A large ledger beside a small one: what a deduction costs with it, and how long its readers wait.

    python -m bench.large [--entries 10000000] [--licenses 10000] [--rounds 5] [--seconds 4] [--write]

Two databases of one PostgreSQL with full durability, filled by `fill.py`: one with all entries, and one with four for
each license. Deductions are made in turn in both, by `pgbench`. 10,000,000 entries take about 5 GB, and a quarter of
an hour.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from factories import run
from sqlalchemy import text

from service import migrations
from service.db import Database
from service.dev.embedded import EmbeddedPostgres
from service.repository import ledger, usage
from service.repository.usage import Reader

from . import ROOT
from .fill import fill
from .rows import Row, in_turn, machine, table, write
from .world import pgbench

FILE = ROOT / "docs" / "performance.md"

CLIENTS = 16
# Licenses and keys as fill.py has named them.
_DEDUCT = """SELECT * FROM obol.deduct(md5('license' || :number)::uuid, sha256(convert_to('key ' || :number, 'UTF8')),
gen_random_uuid(), 1, NULL, NULL, NULL);
"""
_READS = 50
# Of a minute: 864,000 a day.
CALM = 600


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.large")
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--licenses", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of a round")
    parser.add_argument("--write", action="store_true", help=f"the table into {FILE.relative_to(ROOT)}")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="obol-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server runs as another user when this runs as root
        postgres = EmbeddedPostgres(folder / "data")
        owner = postgres.acquire().owner
        try:
            # The rate is of a month, so that a month's usage is of all of them.
            rate = max(1, asked.entries // (30 * 24 * 60))
            large = _filled(owner, "large", entries=asked.entries, licenses=asked.licenses, rate=rate)
            small = _filled(owner, "small", entries=4 * asked.licenses, licenses=asked.licenses, rate=rate)
            rows = [
                _deductions(folder, large, small, asked=asked),
                _check("right after these deductions", large),
                *_reads(large, asked.licenses),
                _check(f"{CALM} deductions in it", large, before=lambda: _calm_minute(large, asked.licenses)),
            ]
            findings = [
                len(run(url, "SELECT * FROM obol.verify_since(now() - interval '1 hour')")) for url in (large, small)
            ]
            ((version,),) = run(large, "SHOW server_version")
        finally:
            postgres.release()
    told = (
        f"`python -m bench.large --entries {asked.entries} --licenses {asked.licenses}`; {machine(version)}. "
        f"`obol verify --since 1h`: {sum(findings)} findings.\n\n{table(rows)}"
    )
    sys.stdout.write(told)
    if asked.write:
        write(FILE, "large", told)


def _filled(owner: str, name: str, *, entries: int, licenses: int, rate: int) -> str:
    """The URL of a database of this name with so many entries."""
    run(owner, f"CREATE DATABASE {name}")
    place = urlsplit(owner)
    url = urlunsplit(place._replace(path=f"/{name}"))
    migrations.upgrade(url)
    fill(url, entries=entries, licenses=licenses, rate=rate, watermarks=True)
    return url


def _deductions(folder: Path, large: str, small: str, *, asked: argparse.Namespace) -> Row:
    file = folder / "script.sql"
    file.write_text(f"\\set number random(0, {asked.licenses - 1})\n{_DEDUCT}")
    acts = [
        lambda: pgbench(large, file, clients=CLIENTS, seconds=asked.seconds),
        lambda: pgbench(small, file, clients=CLIENTS, seconds=asked.seconds),
    ]
    for act in acts:
        act()
    of_large, of_small = in_turn(asked.rounds, acts)
    figures = [one / other for one, other in zip(of_large, of_small, strict=True)]  # type: ignore[operator]
    made_of = f"{statistics.median(of_large):.0f} a second; {statistics.median(of_small):.0f}"  # type: ignore[type-var]
    return Row(f"deductions, {asked.entries} entries to {4 * asked.licenses}", figures, at_least=0.9, beside=made_of)


def _reads(url: str, licenses: int) -> Iterator[Row]:
    """What whoever reads waits for, with connections that are there and licenses by chance."""
    database, random = Database(url, pool_size=1, wait_s=5), Random(0)
    today = datetime.now(UTC).date()
    acts: tuple[tuple[str, int, Callable[[Reader], object]], ...] = (
        ("a page of the statement, 50 entries", 20, lambda reader: usage.page(database, reader, limit=50)),
        (
            "a month's usage of one license",
            50,
            lambda reader: usage.usage(database, reader, first=today - timedelta(days=30), last=today),
        ),
    )
    for name, most_ms, act in acts:
        figures = []
        for _ in range(_READS):
            ((id,),) = run(url, "SELECT md5('license' || %s)::uuid::text", (random.randrange(licenses),))
            reader = Reader.operator(UUID(id))
            began_s = time.monotonic()
            act(reader)
            figures.append(1000 * (time.monotonic() - began_s))
        yield Row(name, figures, "ms", at_most=most_ms)
    database.close()


def _check(of: str, url: str, *, before: Callable[[], object] = lambda: None) -> Row:
    """`obol verify --since 1m`."""
    before()
    database, figures = Database(url, pool_size=1, wait_s=5), []
    since = datetime.now(UTC) - timedelta(minutes=1)
    ((entries,),) = run(url, "SELECT count(*) FROM obol.ledger_entries WHERE created_at > %s", (since,))
    for _ in range(5):
        began_s = time.monotonic()
        ledger.verify(database, since)
        figures.append(1000 * (time.monotonic() - began_s))
    database.close()
    return Row(f"verify of the last minute, {of}", figures, "ms", at_most=1000, beside=f"{entries} entries")


def _calm_minute(url: str, licenses: int) -> None:
    database, random, began_s = Database(url, pool_size=1, wait_s=5), Random(0), time.monotonic()
    deduct = text(_DEDUCT.rstrip(";\n"))
    for n in range(CALM):
        time.sleep(max(0, began_s + 60 / CALM * n - time.monotonic()))
        database.rows(deduct, number=str(random.randrange(licenses)))
    database.close()


if __name__ == "__main__":
    main()
