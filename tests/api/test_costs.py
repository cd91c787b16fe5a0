"""What a call costs: who makes one dearer, or cheaper, writes its new figure here and says why. The statements of each
are in test_round_trips.py."""

import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from databases import copy_cluster
from factories import make_license, run
from metering import SETTINGS, Cost, Meter, Request

from service import create_app, migrations, operator
from service.config import load
from service.db import Database
from service.dev import sandbox
from service.http.services import services_of
from service.repository import ledger
from service.repository.ledger import DeductionItem

pytestmark = pytest.mark.xdist_group("costs")

CREDITS = 10**9
MESSAGE = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
BATCH = 10
EVENTS = 40


@pytest.fixture(scope="module")
def measured():
    """A meter, licenses and a token."""
    folder = Path(tempfile.mkdtemp(prefix="obol-tests-"))
    folder.chmod(0o755)
    binaries = os.environ.get("TEST_POSTGRES_BIN")
    cluster = copy_cluster(Path(os.environ["TEST_FOLDER"]), folder, Path(binaries) if binaries else None)
    upstream = sandbox.start()
    try:
        urls = cluster.acquire()
        for setting in SETTINGS:
            run(urls.owner, f"ALTER SYSTEM SET {setting}")
        run(urls.owner, "SELECT pg_reload_conf()")
        migrations.upgrade(urls.owner)
        owner = Database(urls.owner, pool_size=1, wait_s=5)
        licenses = [make_license(owner, credits=CREDITS) for _ in range(BATCH)]
        token = operator.create_token(owner, name="test", scopes=["grant"]).token
        owner.close()
        settings = {
            "DATABASE_URL": urls.service,
            "ANTHROPIC_API_KEY": "test-upstream-key",
            "ANTHROPIC_BASE_URL": upstream.url,
            "OBOL_LEASE_S": "3600",
            "OBOL_REPLAY_KEYS": "A" * 43,
        }
        app = create_app(load(settings))
        services_of(app).lease.beat()
        yield Meter(app, urls), licenses, token
        services_of(app).lease.stop()
        services_of(app).database.close()
    finally:
        upstream.shutdown()
        upstream.server_close()
        cluster.release()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cost_of(measured):
    """`cost_of(deduction)`: what one costs, measured once."""
    meter, licenses, token = measured
    return cache(lambda make: meter.cost(make(licenses, token)))


@pytest.fixture
def version(server_urls):
    ((version,),) = run(server_urls.owner, "SHOW server_version_num")
    return int(version)


def deduction(licenses, token):
    return lambda n: Request("/api/v1/deductions", {"amount": 1}, licenses[0].headers | {"Idempotency-Key": f"d-{n}"})


def refusal(licenses, token):
    return lambda n: Request(
        "/api/v1/deductions", {"amount": CREDITS + 1}, licenses[0].headers | {"Idempotency-Key": f"r-{n}"}, 402
    )


def message(licenses, token):
    return lambda n: Request("/v1/messages", MESSAGE, licenses[0].headers | {"Idempotency-Key": f"m-{n}"})


def stream(licenses, token):
    body = MESSAGE | {"stream": True}
    return lambda n: Request("/v1/messages", body, licenses[0].headers | {"Idempotency-Key": f"s-{n}"})


def replay(licenses, token):
    return lambda n: Request("/v1/messages", MESSAGE, licenses[0].headers | {"Idempotency-Key": "replayed"})


def batch(licenses, token):
    headers = {"Authorization": f"Bearer {token}"}

    def make(n):
        items = [{"license_id": str(license.id), "amount": 1, "idempotency_key": f"b-{n}"} for license in licenses]
        return Request("/api/v1/deductions/batch", {"items": items}, headers)

    return make


def together(licenses, token):
    """As many that wait for the same license: one statement."""
    key = licenses[0].key

    def make(n):
        items = [DeductionItem(uuid4(), 1, f"t-{n}-{item}", b"same", None) for item in range(BATCH)]
        return lambda database: ledger.deduct_several(database, key, items)

    return make


# WAL: rows have random ids, so where in an index an entry goes and what is left out of it there is chance; and records
# are of whole words. Each way, because a bound that is never drawn in again guards nothing.
WAL_BOUND = 0.05
# A lock that is free or not, a piece of an answer that comes by itself or with the next: tens of bytecodes.
BYTECODES_BOUND = 0.02

# Looks and rows by table, bytes of WAL with PostgreSQL 18, bytecodes with Python 3.11 and the locked libraries.
COSTS = {
    deduction: Cost(
        {"idempotency_keys": 2, "ledger_entries": 3, "license_keys": 2, "licenses": 3},
        {"idempotency_keys": 1, "ledger_entries": 1, "licenses": 1},
        1024,
        13_600,
    ),
    refusal: Cost({"idempotency_keys": 2, "ledger_entries": 2, "license_keys": 3, "licenses": 6}, {}, 0, 13_140),
    message: Cost(
        {"holds": 5, "idempotency_keys": 3, "ledger_entries": 2, "license_keys": 4, "licenses": 5},
        {"holds": 2, "idempotency_keys": 2, "ledger_entries": 1, "licenses": 2},
        3056,
        24_070,
    ),
    stream: Cost(
        {"holds": 5, "idempotency_keys": 3, "ledger_entries": 2, "license_keys": 4, "licenses": 5},
        {"holds": 2, "idempotency_keys": 2, "ledger_entries": 1, "licenses": 2},
        3144,
        32_620,
    ),
    replay: Cost({"holds": 3, "idempotency_keys": 2, "ledger_entries": 3, "license_keys": 2}, {}, 0, 19_200),
    batch: Cost(
        {"admin_tokens": 2, "idempotency_keys": 1, "ledger_entries": 1, "license_keys": 10, "licenses": 32},
        {"admin_acts": 10, "idempotency_keys": 10, "ledger_entries": 10, "licenses": 10},
        11_224,
        39_775,
    ),
    together: Cost(
        {"idempotency_keys": 20, "ledger_entries": 30, "license_keys": 20, "licenses": 30},
        {"idempotency_keys": 10, "ledger_entries": 10, "licenses": 10},
        9792,
        2984,
    ),
}
# Of the thread of all streams, for an event that comes by itself.
RELAYED_EVENT_BYTECODES = 826
each = pytest.mark.parametrize(("call", "cost"), COSTS.items(), ids=[call.__name__ for call in COSTS])


@each
def test_looks_into_tables(cost_of, call, cost):
    assert cost_of(call).looks == cost.looks


@each
def test_rows_written(cost_of, call, cost):
    assert cost_of(call).rows == cost.rows


@each
def test_bytes_of_wal(cost_of, call, cost, version):
    if version // 10_000 != 18:
        pytest.skip("The figures are of PostgreSQL 18.")
    assert cost_of(call).wal_bytes == pytest.approx(cost.wal_bytes, rel=WAL_BOUND)


@each
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="The figures are of Python 3.11.")
def test_bytecodes(cost_of, call, cost):
    assert cost_of(call).bytecodes == pytest.approx(cost.bytecodes, rel=BYTECODES_BOUND)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="The figures are of Python 3.11.")
def test_bytecodes_of_a_relayed_event(measured):
    meter, licenses, _ = measured
    said = f"[sandbox event_delay_ms=10] [sandbox output_tokens={2 * EVENTS}]"
    body = MESSAGE | {"stream": True, "max_tokens": 2 * EVENTS, "messages": [{"role": "user", "content": said}]}

    bytecodes = meter.relayed(Request("/v1/messages", body, licenses[0].headers), EVENTS)
    assert bytecodes == pytest.approx(RELAYED_EVENT_BYTECODES, rel=BYTECODES_BOUND)
