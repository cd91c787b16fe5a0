"""What the tests of the archive share: a past, a folder, and runs of the archive."""

from datetime import UTC, datetime, timedelta

import pytest
from ageing import age
from archiving import Past

from service import archive, archivecheck
from service.archivefile import Folder
from service.repository import ledger


@pytest.fixture
def ages(sql):
    """`ages(days)`: what there is was made so many days earlier."""
    return lambda days=80: age(sql, days)


@pytest.fixture
def folder(tmp_path):
    """The folder of the archive."""
    path = tmp_path / "archive"
    path.mkdir()
    return Folder(str(path))


@pytest.fixture
def archived(owner, folder):
    """`archived(days=40)`: a run over what is older; its outcome."""

    def run(days=40, **options):
        return archive.run(owner, folder, before=datetime.now(UTC) - timedelta(days=days), **options)

    return run


@pytest.fixture
def past(db, owner, new_license):
    """A license with one of each thing behind it."""
    return Past(db, owner, new_license(credits=1000))


@pytest.fixture
def clean(owner, folder):
    """`clean()`: assert that tables and files agree."""

    def check():
        assert ledger.verify(owner) == []
        assert ledger.verify(owner, datetime(2020, 1, 1, tzinfo=UTC)) == []
        assert list(archivecheck.check(owner, folder)) == []

    return check
