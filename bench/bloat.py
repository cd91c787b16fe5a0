"""Growth: what an entry and a charge weigh, and whether autovacuum keeps up with a day of calls squeezed into minutes.

    python -m bench.bloat [--seconds N] [--licenses N] [--callers N] [--write]

A PostgreSQL of its own, as it comes: with full durability, and autovacuum that looks once a minute. Licenses, a tenth
of them with limits, are charged as fast as the callers go, three generations with an idempotency key and a stored
answer for each deduction, by the functions that the service calls, and with its heartbeat, which notes deliveries,
rolls the usage up and forgets what is old. So the rows of a day come in minutes, and autovacuum has those minutes for
them. Every few seconds dead rows are counted; at the end each table is written anew, and its size before is compared
with that.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import uuid4

from factories import License, make_license, run

from service import migrations
from service.db import Database
from service.dev.embedded import EmbeddedPostgres, Urls
from service.lease import CONNECTIONS, Lease
from service.pricing import CLASSES
from service.repository import holds, ledger

from . import ROOT
from .rows import Row, command, machine, table, write
from .world import CREDITS

FILE = ROOT / "docs" / "performance.md"

LEASE_S = 30
PRICE = dict.fromkeys(CLASSES, 1_000_000)
SAMPLE_S = 5
# An answer of a few hundred tokens, compressed and sealed.
ANSWER = bytes(range(256)) * 4

# No table takes more than this many times what its rows take when they are written anew, indexes and the room for new
# versions included; and rows that change have no more dead versions than this for each live one.
MOST_TIMES_ITS_SIZE = 2.0
MOST_DEAD = 1.0
# Versions that need no new entry in any index.
LEAST_HOT = 0.9
CHANGING = ("licenses", "limit_states")
# Below this size a table is a few pages, whatever is in them.
SMALL_BYTES = 1_000_000

_TABLES = """
    SELECT relname::text, n_live_tup, n_dead_tup, pg_total_relation_size(relid), n_tup_upd, n_tup_hot_upd,
           autovacuum_count
      FROM pg_stat_user_tables WHERE schemaname = 'obol' ORDER BY relname
"""
_WAL = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
_LIMITED = """
    UPDATE obol.licenses l SET limits = '{"credits_per_day": 1000000000000}' WHERE l.license_id = ANY (%s::uuid[])
"""


class Table(NamedTuple):
    """What PostgreSQL knows of one."""

    live: int
    dead: int
    size: int
    updates: int
    hot_updates: int
    vacuums: int


def tables(urls: Urls) -> dict[str, Table]:
    return {name: Table._make(figures) for name, *figures in run(urls.owner, _TABLES)}


class Load:
    """Charges, by a few threads, and the heartbeat of the process that they are of."""

    def __init__(self, urls: Urls, licenses: list[License], callers: int) -> None:
        self._database = Database(urls.service, pool_size=callers, wait_s=30)
        self._lease = Lease(Database(urls.service, pool_size=CONNECTIONS, wait_s=30), LEASE_S)
        self._licenses = licenses
        self._done = [0] * callers
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._charge, args=(number,)) for number in range(callers)]

    @property
    def charges(self) -> int:
        return sum(self._done)

    def __enter__(self) -> "Load":
        self._lease.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._lease.stop()

    def _charge(self, number: int) -> None:
        random = Random(number)
        while not self._stop.is_set():
            license = random.choice(self._licenses)
            if self._done[number] % 4:
                self._generate(license)
            else:
                ledger.deduct(self._database, license.key, uuid4(), amount=3, idempotency_key=str(uuid4()))
            self._done[number] += 1

    def _generate(self, license: License) -> None:
        hold_id = self._lease.new_hold()
        holds.open_for_process(
            self._database,
            license.key,
            hold_id,
            process_id=self._lease.process_id,
            amounts=holds.HoldAmounts(300, 300),
            model="claude-sonnet-5-5",
            price=PRICE,
            idempotency_key=str(uuid4()),
        )
        holds.settle(
            self._database,
            license.key,
            hold_id,
            amount=100,
            process_id=self._lease.process_id,
            usage={"input": 60, "output": 40},
            answer=ANSWER,
            answer_ttl_s=86400,
        )
        self._lease.let_go(hold_id)
        self._lease.note_delivered(license.id, hold_id)


def measure(urls: Urls, seconds: int, callers: int, count: int) -> Iterator[Row]:
    """Run it; the rows of the table."""
    licenses = _make_licenses(urls, count)
    dead: dict[str, list[float]] = defaultdict(list)
    ((wal_before,),) = run(urls.owner, _WAL)
    ends_at = time.monotonic() + seconds
    with Load(urls, licenses, callers) as load:
        while time.monotonic() < ends_at:
            time.sleep(SAMPLE_S)
            for name, one in tables(urls).items():
                dead[name].append(one.dead / max(one.live, 1))
    ((wal,),) = run(urls.owner, _WAL)
    before = tables(urls)
    ((entries, entry_bytes),) = run(
        urls.owner, "SELECT count(*), pg_total_relation_size('obol.ledger_entries') FROM obol.ledger_entries"
    )
    each = f"{load.charges} charges, {load.charges / seconds:.0f} a second, {count} licenses"
    yield Row("an entry of the ledger, with its indexes", [entry_bytes / entries], "bytes", beside=each)
    yield Row("WAL of a charge, with whole pages after checkpoints", [(wal - wal_before) / load.charges / 1000], "kB")
    for name in CHANGING:
        one = before[name]
        most = max(dead[name])
        made_of = f"median {statistics.median(dead[name]):.2f}; {one.live} rows, {one.vacuums} autovacuums"
        yield Row(f"{name}: most dead rows for a live one", [most], "rows", at_most=MOST_DEAD, beside=made_of)
        yield Row(
            f"{name}: updates without an entry in an index",
            [one.hot_updates / one.updates],
            "of all",
            at_least=LEAST_HOT,
            beside=f"{one.updates} updates",
        )
    for name, one in before.items():
        run(urls.owner, f"VACUUM FULL obol.{name}")
        anew = tables(urls)[name].size
        if one.size > SMALL_BYTES:
            made_of = (
                f"{one.size / 1e6:.1f} MB; anew {anew / 1e6:.1f} MB; most dead for a live one {max(dead[name]):.2f}"
            )
            yield Row(
                f"{name}: size to its size written anew",
                [one.size / anew],
                at_most=MOST_TIMES_ITS_SIZE,
                beside=made_of,
            )


def _make_licenses(urls: Urls, count: int) -> list[License]:
    # Of what is measured each commit is on the disk; to make it ready need not be.
    quick = Database(f"{urls.owner}?options=-csynchronous_commit%3Doff", pool_size=1, wait_s=5)
    made = [make_license(quick, credits=CREDITS) for _ in range(count)]
    quick.close()
    run(urls.owner, _LIMITED, ([str(license.id) for license in made[::10]],))
    # What their making has left behind is none of the day's.
    run(urls.owner, "VACUUM FULL ANALYZE")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bloat")
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--licenses", type=int, default=10_000)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--write", action="store_true", help=f"the table into {FILE.relative_to(ROOT)}")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="obol-bench-"))
    folder.chmod(0o755)  # the server runs as another user when this runs as root
    server = EmbeddedPostgres(folder)
    rows = []
    try:
        urls = server.acquire()
        migrations.upgrade(urls.owner)
        for row in measure(urls, asked.seconds, asked.callers, asked.licenses):
            rows.append(row)
            sys.stdout.write(" | ".join(row.cells()) + "\n")
            sys.stdout.flush()
        findings = run(urls.owner, "SELECT * FROM obol.verify()")
        ((postgres,),) = run(urls.owner, "SHOW server_version")
    finally:
        server.release()
        shutil.rmtree(folder)
    told = f"`{command('bench.bloat')}`; {machine(postgres)}. `obol verify`: {len(findings)} findings.\n"
    text = f"{told}\n{table(rows)}"
    sys.stdout.write("\n" + text)
    if asked.write:
        write(FILE, "bloat", text)
    if findings:
        sys.exit(f"bench: the ledger disagrees: {findings[:3]}")


if __name__ == "__main__":
    main()
