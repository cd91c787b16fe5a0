"""What the races share: pools that are wide enough for all of them, and the fixtures of tests/sql. Each race is
run twice, the second time through PgBouncer."""

import sys
from pathlib import Path

import pytest
from pooler import *  # noqa: F403 - both ways

from service.db import Database

sys.path.insert(0, str(Path(__file__).parent.parent / "sql"))

from hold_fixtures import *  # noqa: F403 - all of its fixtures

THREADS = 20


@pytest.fixture
def db(urls):
    """The database as the service sees it, for as many calls at once as a test makes."""
    database = Database(urls.service, pool_size=THREADS, wait_s=30)
    yield database
    database.close()


@pytest.fixture
def owner(urls):
    """The database as the operator's commands see it, for as many calls at once."""
    database = Database(urls.owner, pool_size=THREADS, wait_s=30)
    yield database
    database.close()
