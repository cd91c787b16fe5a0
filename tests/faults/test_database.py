"""kill -9 of PostgreSQL itself, in the middle of generations."""

import json
import os
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from factories import make_license, wait_until

from service import migrations
from service.db import Database
from service.embedded import EmbeddedPostgres
from service.repository import credits, licenses

BODY = json.dumps({"prompt": "[sandbox delay_ms=1500] Hello", "max_tokens": 50}).encode()


@pytest.fixture
def cluster():
    """A PostgreSQL of the test's own, to be killed."""
    folder = Path(tempfile.mkdtemp(prefix="obol-tests-"))
    # The server runs as another user when the tests run as root.
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder)
    yield server
    server.release()
    shutil.rmtree(folder)


def ask(url, question):
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0]
    finally:
        connection.close()


def test_answers_whose_settlement_meets_a_crash_are_each_charged_once(cluster, serve):
    urls = cluster.acquire()
    migrations.upgrade(urls.owner)
    owner = Database(urls.owner, pool_size=2, wait_s=5)
    served = serve(DATABASE_URL=urls.service, OBOL_LEASE_S="30")
    license = make_license(owner, credits=10_000)
    postmaster = int(ask(urls.owner, "SELECT pg_read_file('postmaster.pid')").splitlines()[0])

    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(served.post, "/api/v1/generate", BODY, license.headers) for _ in range(10)]
        wait_until(lambda: ask(urls.owner, "SELECT count(*) FROM obol.holds") == 10, what="ten holds")
        os.kill(postmaster, signal.SIGKILL)
        time.sleep(2)  # the answers come in while the database is down, and wait to be settled
        assert not any(call.done() for call in calls)
        assert cluster.acquire() == urls
        answers = [call.result() for call in calls]

    assert [status for status, _ in answers] == [200] * 10
    charged = sum(json.loads(body)["credits"]["charged"] for _, body in answers)
    assert licenses.show(owner, license.id).balance == 10_000 - charged
    assert credits.verify(owner) == []
    owner.close()
