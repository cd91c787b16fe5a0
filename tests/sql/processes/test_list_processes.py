"""Processes and the last checks of the ledger, as the console shows them."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service import keys, operator
from service.pricing import CLASSES
from service.problems import Problem
from service.repository import holds, ledger, processes
from service.repository.admin import Actor
from service.repository.holds import HoldAmounts


def test_processes_have_their_leases_and_holds(db, owner, new_license, sql):
    license, one, other, gone = new_license(), uuid4(), uuid4(), uuid4()
    for process_id, lease_s in ((gone, 1), (one, 30), (other, 0)):
        processes.heartbeat(db, process_id, lease_s)
    sql("UPDATE obol.processes SET lease_expires_at = now() - interval '2 days' WHERE process_id = %s", (str(gone),))
    price = dict.fromkeys(CLASSES, 1_000_000)
    holds.open_for_process(db, license.key, uuid4(), process_id=one, amounts=HoldAmounts(5, 5), model="m", price=price)
    found = {process.process_id: process for process in processes.list_processes(owner)}
    assert found.keys() == {one, other}
    assert (found[one].open_holds, found[other].open_holds) == (1, 0)
    assert 0 < found[one].lease_left_s <= 30
    assert found[other].lease_left_s <= 0


def test_the_last_checks_are_kept(db, owner, new_token):
    assert ledger.list_verifications(owner) == []
    reader = Actor(keys.parse_token(new_token("read", name="watch")), "r")
    operator.verify(db, most=10, actor=reader)
    operator.verify(db, most=10, actor=reader)
    operator.verify(db, since=datetime.now(UTC), most=10, actor=reader)
    whole, recent = ledger.list_verifications(owner)
    assert (whole.is_whole, whole.actor, whole.finding_count) == (True, "token:watch", 0)
    assert not recent.is_whole
    assert whole.began_at <= whole.ended_at <= recent.ended_at


def test_only_who_may_look_sees_or_notes_them(db):
    nobody = Actor(b"x" * 32, "r")
    for call in (
        lambda: processes.list_processes(db, actor=nobody),
        lambda: ledger.list_verifications(db, actor=nobody),
        lambda: ledger.note_verification(db, datetime.now(UTC), is_whole=True, finding_count=0, actor=nobody),
    ):
        with pytest.raises(Problem) as caught:
            call()
        assert caught.value.code == "admin_forbidden"
