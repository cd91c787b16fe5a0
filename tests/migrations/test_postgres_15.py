"""The oldest PostgreSQL that is supported, and any other that Debian's packages have put here."""

import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from factories import make_license
from migrating import alembic, dump, psql, run

from service import migrations
from service.db import Database
from service.dev.embedded import EmbeddedPostgres
from service.repository import holds, ledger

INSTALLED = sorted(
    folder
    for folder in Path("/usr/lib/postgresql").glob("*/bin")
    if (folder / "initdb").exists() and int(folder.parent.name) >= 15
)
NONE = pytest.param(None, id="none", marks=pytest.mark.skip("no PostgreSQL 15 or later in /usr/lib/postgresql/*/bin"))

# One worker takes both tests: a server for each would start otherwise.
pytestmark = pytest.mark.xdist_group("postgres_15")


@pytest.fixture(scope="module", params=INSTALLED or [NONE], ids=lambda folder: folder.parent.name)
def installed(request):
    # Not tmp_path: as root the server runs as another user, who must be able to reach the folder.
    folder = Path(tempfile.mkdtemp(prefix="obol-installed-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder, request.param)
    urls = server.acquire()
    migrations.upgrade(urls.owner)
    yield urls
    server.release()
    shutil.rmtree(folder)


def test_money_moves(installed):
    owner, db = Database(installed.owner, pool_size=1, wait_s=5), Database(installed.service, pool_size=1, wait_s=5)
    license = make_license(owner, credits=100)
    hold_id = uuid4()

    assert ledger.deduct(db, license.key, uuid4(), amount=10).balance == 90
    assert holds.open_for_client(db, license.key, hold_id, amount=40, expires_in_s=60).available == 50
    assert holds.settle(db, license.key, hold_id, amount=30).balance == 60
    assert ledger.verify(owner) == []
    owner.close()
    db.close()


def test_the_offline_script_makes_the_same_database(installed):
    run(installed.owner, "CREATE DATABASE offline")
    offline = installed.owner.rpartition("/")[0] + "/offline"

    psql(offline, alembic("upgrade", "head", "--sql"))

    assert dump(offline) == dump(installed.owner)
