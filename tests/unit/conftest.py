"""What the unit tests share."""

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest


@pytest.fixture
def owner_connection(urls: Any) -> Iterator[Any]:
    """One connection as the owner, for tests that ask often."""
    connection = psycopg2.connect(urls.owner)
    connection.autocommit = True
    yield connection
    connection.close()
