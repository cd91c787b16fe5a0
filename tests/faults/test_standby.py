"""The primary dies in the middle of calls, the standby takes over, and the service finds it by itself."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from factories import make_license, run, wait_until
from standby import Pair

from service import migrations
from service.db import Database

CALLERS = 6
DEDUCTION = json.dumps({"amount": 3}).encode()
GENERATION = json.dumps({"prompt": "[sandbox delay_ms=10] Hello", "max_tokens": 50}).encode()
BOOKED = "SELECT cause_id::text, -amount FROM obol.ledger_entries WHERE kind IN ('charge', 'deduction')"


@pytest.fixture
def pair(cluster, request):
    pair = Pair(cluster, synchronous=request.param)
    # By the owner's way to whichever takes writes: several hosts are good for Alembic and the commands, too.
    migrations.upgrade(pair.urls.owner)
    yield pair
    pair.stop()


@pytest.fixture
def licenses(pair):
    owner = Database(pair.urls.owner, pool_size=1, wait_s=5)
    made = [make_license(owner, credits=1_000_000) for _ in range(CALLERS)]
    owner.close()
    return made


def ask(served, license, n):
    """One call: what it was answered with (its id, and what it took), and nothing when it was refused."""
    path, body = ("/api/v1/generate", GENERATION) if n % 3 == 0 else ("/api/v1/deductions", DEDUCTION)
    answered = served.try_post(path, body, license.headers | {"Idempotency-Key": f"call-{n}"})
    if answered is None or answered[0] != 200:
        return None
    document = json.loads(answered[1])
    return document["id"], document["credits"]["charged"] if "credits" in document else document["amount"]


@pytest.mark.parametrize("pair", [True], ids=["synchronous"], indirect=True)
def test_no_acknowledged_charge_is_lost_with_the_primary(pair, licenses, serve, capsys):
    served = serve(DATABASE_URL=pair.urls.service, OBOL_LEASE_S="30")
    acknowledged, times, stop = [], [], threading.Event()

    def call_on(license):
        n = 0
        while not stop.is_set():
            # As a client does: until there is an answer, the same key again.
            acknowledged.append(wait_until(lambda n=n: ask(served, license, n), 60, "an answer"))
            times.append(time.monotonic())
            n += 1

    def go_on(count):
        enough = len(acknowledged) + count
        give_up_at = time.monotonic() + 60
        while len(acknowledged) < enough:
            assert time.monotonic() < give_up_at
            time.sleep(0.01)

    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(call_on, license) for license in licenses]
        try:
            go_on(60)
            pair.kill_primary()
            pair.promote()
            go_on(60)
        finally:
            stop.set()
        for caller in callers:
            caller.result()

    times.sort()
    outage_s = max(after - before for before, after in pairwise(times))
    with capsys.disabled():
        sys.stdout.write(f" [outage {1000 * outage_s:.0f} ms, {len(acknowledged)} calls] ")
    booked = dict(run(pair.urls.owner, BOOKED))
    # No answer without its charge, and no charge but of an answer: who was cut off has asked again.
    assert booked == dict(acknowledged)
    assert len(acknowledged) == len(booked)
    assert run(pair.urls.owner, "SELECT * FROM obol.verify()") == []
    balances = "SELECT sum(balance), sum(held) FROM obol.licenses"
    assert run(pair.urls.owner, balances) == [(CALLERS * 1_000_000 - sum(booked.values()), 0)]


def obol(url, *arguments, said=""):
    """The command, as the owner: its exit code, and what it printed."""
    ended = subprocess.run(
        [Path(sys.executable).with_name("obol"), *arguments],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url, "OBOL_MIGRATE_URL": url},
        input=said,
        capture_output=True,
        text=True,
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


@pytest.mark.parametrize("pair", [False], ids=["asynchronous"], indirect=True)
def test_what_an_asynchronous_standby_has_not_got_is_lost_and_a_head_shows_it(pair, licenses, serve):
    served = serve(DATABASE_URL=pair.urls.service, OBOL_LEASE_S="30")
    kept = dict(ask(served, license, n) for license in licenses[:2] for n in range(1, 3))
    ((sent,),) = run(pair.primary.owner, "SELECT pg_current_wal_flush_lsn()::text")
    caught_up = "SELECT flush_lsn >= %s::pg_lsn FROM pg_stat_replication"
    while run(pair.primary.owner, caught_up, (sent,)) != [(True,)]:
        time.sleep(0.01)
    pair.stop_sending()
    lost = dict(ask(served, licenses[0], n) for n in range(4, 6))
    assert len(lost) == 2
    owner = Database(pair.primary.owner, pool_size=1, wait_s=5)
    unknown = make_license(owner, credits=5)
    owner.close()
    code, head = obol(pair.primary.owner, "audit", "head")
    assert code == 0

    pair.kill_primary()
    pair.promote()

    assert dict(run(pair.urls.owner, BOOKED)) == kept
    # What is there agrees with itself: verify cannot know of what is not.
    assert obol(pair.urls.owner, "verify")[0] == 0
    # Who has kept a head elsewhere knows.
    code, checked = obol(pair.urls.owner, "audit", "check", "-", "--json", said=head)
    assert code == 1
    assert [(found["license_id"], found["rule"], found["detail"]) for found in json.loads(checked)["findings"]] == [
        (None, "every act is there", "12 of 14 are"),
        (str(licenses[0].id), "every entry is there", "3 of 5 are; the license counts 3"),
        (str(unknown.id), "every license is there", "it had 1 entries"),
    ]
