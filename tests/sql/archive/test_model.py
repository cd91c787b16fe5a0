"""Any history, archived at any time and again after more of it: nothing but where it is has changed. The model of
tests/sql/test_model.py plays on beside it, and what files and tables have together is the whole ledger."""

import json
import os
import sys
from datetime import timedelta
from types import SimpleNamespace

import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from machine import AMOUNTS, Machine, code_of
from moved_clock import MovedClock

from service import archive, archivecheck, audit, operator
from service.archivefile import Folder, entry_lines
from service.db import Database
from service.repository import usage

RUNS = int(os.environ.get("TEST_ARCHIVE_RUNS", "10"))

ENTRIES = """
    SELECT e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id::text, e.part_id::text, e.key_id::text,
           e.reference, e.model, e.price, e.usage, e.shortfall, (extract(epoch FROM e.created_at) * 1000000)::bigint
      FROM obol.ledger_entries e ORDER BY e.entry_no
"""


class Archiving(Machine):
    """The same license, whose old entries leave now and then."""

    def booked(self):
        """The whole ledger, from what was seen of it: entries do not change."""
        known = self.__dict__.setdefault("known", {})
        known.update({row[0]: list(row) for row in self.world.sql(ENTRIES)})
        return [known[number] for number in sorted(known)]

    def is_archived(self, cause):
        """Whether the charge or deduction of this id is in a file."""
        booked = [row[0] for row in self.booked() if row[4] == str(cause) and row[1] in ("charge", "deduction")]
        ((last,),) = self.world.sql("SELECT COALESCE(max(last_entry_no), 0) FROM obol.archived")
        return booked != [] and booked[0] <= last

    @rule(
        days=st.sampled_from([0, 20, 32, 45, 70]),
        most=st.sampled_from([1, 2, 3, 5, 1000]),
        ago=st.sampled_from([31, 31, 40, 60]),
        with_undelivered=st.booleans(),
    )
    def archive(self, days, most, ago, with_undelivered):
        self.move(self.now + timedelta(days=days))
        self.renew_lease()
        # As the service has long done by then: a hold that is long overdue is a disagreement.
        self.reap(False)
        booked = self.booked()
        used = self.usage()
        head = list(audit.take(self.world.owner))

        outcome = archive.run(
            self.world.owner,
            self.world.folder,
            before=self.now - timedelta(days=ago),
            most=most,
            with_undelivered=with_undelivered,
        )

        self.world.archived[0] += outcome.files
        assert outcome.disagreeing == 0
        assert self.world.sql("SELECT * FROM obol.verify()") == []
        assert self.world.sql("SELECT * FROM obol.verify_since('2020-01-01Z')") == []
        assert list(archivecheck.check(self.world.owner, self.world.folder)) == []
        files = [
            json.loads(line)
            for file in self.world.folder.chain(self.license.id)
            for line in entry_lines(file.path.read_bytes())
        ]
        kept = [list(row) for row in self.world.sql(ENTRIES)]
        # Grants that have lapsed since are booked meanwhile.
        now_booked = self.booked()
        assert (files + kept, now_booked[: len(booked)]) == (now_booked, booked)
        assert self.usage() == used
        known = audit.read(f"{line}\n".encode() for line in head)
        assert list(audit.compare(self.world.owner, known, folder=self.world.folder)) == []
        there = {row[0] for row in self.world.sql("SELECT h.hold_id::text FROM obol.holds h")}
        self.holds = [hold for hold in self.holds if str(hold.id) in there]

    def teardown(self):
        # Of nearly every history there is something to archive at its end, if it was not before.
        if hasattr(self, "model") and sys.exc_info()[0] is None:
            act = Archiving.archive.hypothesis_stateful_rule.function
            act(self, days=70, most=1000, ago=31, with_undelivered=True)
        super().teardown()

    def usage(self):
        reader = usage.Reader.operator(self.license.id)
        first = self.now.date().replace(year=2027, month=1, day=1)
        return usage.usage(self.world.owner, reader, first=first, last=self.now.date())

    @rule(cause=Machine.used, amount=st.one_of(st.none(), AMOUNTS))
    def refund(self, cause, amount):
        if not self.is_archived(cause):
            Machine.refund.hypothesis_stateful_rule.function(self, cause=cause, amount=amount)
            return
        assert (
            code_of(lambda: operator.refund(self.world.owner, self.license.id, cause, amount=amount, reason="too late"))
            == "hold_not_found"
        )

    @rule(cause=Machine.used)
    def look_at_what_it_drew_on(self, cause):
        if not self.is_archived(cause):
            Machine.look_at_what_it_drew_on.hypothesis_stateful_rule.function(self, cause=cause)


@pytest.fixture
def machine(urls, owner, new_license, process_id, tmp_path):
    connections = [Database(urls.service, pool_size=1, wait_s=5) for _ in range(2)]
    by_hand = psycopg2.connect(urls.owner)
    by_hand.autocommit = True

    def sql(statement):
        with by_hand.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    class Placed(Archiving):
        world = SimpleNamespace(
            connections=connections,
            owner=owner,
            new_license=new_license,
            process_id=process_id,
            sql=sql,
            clock=MovedClock(sql),
            folder=Folder(str(tmp_path)),
            archived=[0],
        )

    yield Placed
    by_hand.close()
    for connection in connections:
        connection.close()


@pytest.mark.tampers
@pytest.mark.timeout(60 + 30 * RUNS)
def test_what_is_archived_is_only_elsewhere(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # A model that archives nothing would tell nothing.
    assert machine.world.archived[0] > RUNS // 2
