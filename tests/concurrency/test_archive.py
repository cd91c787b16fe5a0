"""Entries leave the tables while calls go on: nothing is lost, and a refund comes before its charge has left, or is
refused."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import uuid4

import pytest
from ageing import age
from hold_fixtures import outcome_of

from service import archive, archivecheck
from service.archivefile import ArchiveError, Folder
from service.repository import ledger, licenses, usage
from service.repository.usage import Reader

OLD = 40
CALLERS = 4


@pytest.fixture
def folder(tmp_path):
    return Folder(str(tmp_path))


def test_calls_go_on_while_entries_leave(db, owner, sql, new_license, folder):
    license = new_license(credits=10_000)
    causes = [uuid4() for _ in range(OLD)]
    for cause in causes:
        ledger.deduct(db, license.key, cause, amount=10)
    age(sql, 80)
    has_begun = Event()
    first = datetime.now(UTC).date() - timedelta(days=100)

    def call(place):
        """Refunds of old charges, from the newest on, and new ones between; what came back, and what was taken."""
        back = taken = 0
        assert has_begun.wait(60)
        for cause in reversed(causes[place::CALLERS]):
            refunded = outcome_of(ledger.refund, owner, license.id, cause, refund_id=uuid4(), amount=4, reason="sorry")
            back += 0 if refunded == "hold_not_found" else refunded.amount
            taken += ledger.deduct(db, license.key, uuid4(), amount=1).amount
            used = usage.usage(db, Reader.with_key(license.key), first=first, last=first + timedelta(days=200), by=())
            assert used[0].calls >= OLD
        return back, taken

    def leave(has_ended):
        entries = 0
        while not has_ended():
            entries += archive.run(owner, folder, before=datetime.now(UTC), most=3).entries
            has_begun.set()
        return entries

    with ThreadPoolExecutor(CALLERS + 1) as pool:
        calls = [pool.submit(call, place) for place in range(CALLERS)]
        left = pool.submit(leave, lambda: all(one.done() for one in calls))
        results = [one.result() for one in calls]

    back, taken = (sum(figures) for figures in zip(*results, strict=True))
    assert licenses.find(db, license.key).balance == 10_000 - 10 * OLD + back - taken
    assert left.result() > 0
    assert ledger.verify(owner) == []
    assert list(archivecheck.check(owner, folder)) == []


def test_two_runs_to_two_folders_lose_nothing(db, owner, sql, new_license, tmp_path):
    """One of them has a file that the other was quicker with, and is refused what comes after that."""
    license = new_license(credits=1000)
    for _ in range(20):
        ledger.deduct(db, license.key, uuid4(), amount=1)
    age(sql, 80)
    folders = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        folders.append(Folder(str(tmp_path / name)))

    def leave(folder):
        with suppress(ArchiveError):
            archive.run(owner, folder, before=datetime.now(UTC), most=2)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(leave, folders))

    assert ledger.verify(owner) == []
    ((last,),) = sql("SELECT max(last_entry_no) FROM obol.archived_files")
    for first, through in sql("SELECT first_entry_no, last_entry_no FROM obol.archived_files"):
        assert any(folder.path_of(license.id, first, through).exists() for folder in folders)
    assert sql("SELECT min(entry_no) FROM obol.ledger_entries") in ([(last + 1,)], [(None,)])
