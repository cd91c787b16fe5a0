"""What the database does late, it does as if it had been done at once: thousands of random steps over grants, expiry,
voids, holds, settlements, refunds and adjustments, compared with a ledger that puts nothing off."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import psycopg2
import pytest
from eager import Ledger
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service import operator
from service.db import Database
from service.problems import Problem
from service.repository import grants, holds, ledger, licenses
from service.repository.grants import Terms
from service.repository.holds import HoldAmounts

AMOUNTS = st.integers(1, 60)
PRICE = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 1_000_000)

# The clock is moved by moving everything else: an hour later is all that has a time an hour earlier.
AN_HOUR_LATER = """
    UPDATE obol.grants SET starts_at = starts_at - {hours}, expires_at = expires_at - {hours},
                           voided_at = voided_at - {hours}, created_at = created_at - {hours}
     WHERE license_id = '{license_id}';
    UPDATE obol.ledger_entries SET created_at = created_at - {hours} WHERE license_id = '{license_id}';
    UPDATE obol.licenses SET next_change_at = next_change_at - {hours}
     WHERE license_id = '{license_id}' AND next_change_at < 'infinity'
"""


def code_of(call):
    with pytest.raises(Problem) as caught:
        call()
    return caught.value.code


class Machine(RuleBasedStateMachine):
    """One license a run. Its calls come from two connections in turn."""

    world: SimpleNamespace

    granted = Bundle("granted")
    opened = Bundle("opened")
    used = Bundle("used")

    @initialize()
    def begin(self):
        self.model = Ledger()
        self.license = self.world.new_license(credits=0)
        self.ids = {}

    @property
    def db(self):
        self.world.connections.reverse()
        return self.world.connections[0]

    @rule(
        target=granted,
        amount=AMOUNTS,
        priority=st.sampled_from([10, 50, 90]),
        starts_in=st.sampled_from([0, 0, 0, 1, 3]),
        lasts=st.sampled_from([None, 1, 2, 4]),
    )
    def grant(self, amount, priority, starts_in, lasts):
        # What a new grant takes from the cover of an older one lapses after it.
        balance = self.model.balance + (0 if starts_in else amount)
        grant = self.model.grant(amount, priority, starts_in, lasts)
        now = datetime.now(UTC)
        starts_at = None if starts_in == 0 else now + timedelta(hours=starts_in)
        expires_at = None if lasts is None else now + timedelta(hours=starts_in + lasts)
        made = operator.grant_credits(
            self.world.owner, self.license.id, amount, terms=Terms(priority, starts_at, expires_at)
        )
        self.ids[grant.place] = made.grant_id
        assert (made.balance, made.state) == (balance, "scheduled" if starts_in else "active")
        return grant

    @rule(grant=granted)
    def void(self, grant):
        def call():
            return operator.void_grant(self.world.owner, self.license.id, self.ids[grant.place])

        if grant.state(self.model.hour) in ("used_up", "expired"):
            assert code_of(call) == "grant_ended"
            return
        self.model.void(grant)
        voided = call()
        assert (voided.lapsed, voided.credits_left, voided.balance) == (
            grant.lapsed, grant.left, self.model.balance,
        )  # fmt: skip

    @rule(target=used, amount=AMOUNTS)
    def deduct(self, amount):
        cause = uuid4()

        def call():
            return ledger.deduct(self.db, self.license.key, cause, amount=amount)

        if amount > self.model.available:
            assert code_of(call) == "insufficient_credits"
            amount = 0
        self.model.use(cause, amount)
        if amount:
            assert call().balance == self.model.balance
        return cause

    @rule(target=opened, amount=AMOUNTS, least=st.integers(1, 60))
    def open_hold(self, amount, least):
        hold_id, least = uuid4(), min(least, amount)

        def call():
            return holds.open_for_process(
                self.db,
                self.license.key,
                hold_id,
                process_id=self.world.process_id,
                amounts=HoldAmounts(amount, least),
                model="m",
                price=PRICE,
            )

        if least > self.model.available:
            assert code_of(call) == "insufficient_credits"
            return hold_id, 0
        held = min(amount, self.model.available)
        self.model.hold(held)
        hold = call()
        assert (hold.amount, hold.available) == (held, self.model.available)
        return hold_id, held

    @rule(target=used, hold=consumes(opened), amount=st.integers(0, 90))
    def settle(self, hold, amount):
        hold_id, held = hold
        if held == 0:
            self.model.draws[hold_id] = []
            return hold_id
        charge = min(amount, held + self.model.available)
        balance = self.model.settle(hold_id, held, charge)
        settled = holds.settle(
            self.db,
            self.license.key,
            hold_id,
            amount=amount,
            process_id=self.world.process_id,
            usage={"output": amount},
        )
        assert (settled.charge, settled.balance, settled.shortfall) == (charge, balance, amount - charge)
        return hold_id

    @rule(hold=consumes(opened))
    def release(self, hold):
        hold_id, held = hold
        if held:
            self.model.release(held)
            holds.release(self.db, self.license.key, hold_id, process_id=self.world.process_id)

    @rule(cause=used, amount=st.one_of(st.none(), AMOUNTS))
    def refund(self, cause, amount):
        left = self.model.refundable(cause)

        def call():
            return operator.refund(self.world.owner, self.license.id, cause, amount=amount, reason="sorry")

        if not self.model.draws[cause]:
            return
        if amount is not None and amount > left:
            assert code_of(call) == "refund_exceeds_charge"
        elif amount is not None or left:
            back = left if amount is None else amount
            balance = self.model.balance + back
            lapsed = self.model.refund(cause, back)
            refunded = call()
            assert (refunded.amount, refunded.balance, refunded.lapsed) == (back, balance, lapsed)

    @rule(amount=st.integers(-60, 60).filter(bool))
    def adjust(self, amount):
        def call():
            return operator.adjust_credits(self.world.owner, self.license.id, amount, reason="a typing error")

        if amount > 0:
            balance = self.model.balance + amount
            grant = self.model.grant(amount, 50, 0, None)
            adjusted = call()
            self.ids[grant.place] = adjusted.adjustment_id
            assert adjusted.balance == balance
        elif -amount > self.model.available:
            assert code_of(call) == "insufficient_credits"
        else:
            self.model.use(uuid4(), -amount)
            assert call().balance == self.model.balance

    @rule(hours=st.integers(1, 3))
    def pass_time(self, hours):
        self.model.pass_time(hours)
        self.world.sql(AN_HOUR_LATER.format(hours=f"interval '{hours} hours'", license_id=self.license.id))

    @precondition(lambda self: self.model.grants)
    @rule()
    def look(self):
        found = licenses.find(self.db, self.license.key)
        assert (found.balance, found.held) == (self.model.balance, self.model.held)
        rows = {row.grant_id: row for row in grants.list_of(self.world.owner, self.license.id, limit=1000)}
        seen = {place: rows[grant_id] for place, grant_id in self.ids.items()}
        assert {place: (row.credits_left, row.lapsed, row.state) for place, row in seen.items()} == {
            grant.place: (grant.left if grant.has_started or grant.is_voided else grant.amount, grant.lapsed,
                          grant.state(self.model.hour))
            for grant in self.model.grants
        }  # fmt: skip

    @rule(cause=used)
    def look_at_what_it_drew_on(self, cause):
        self.world.sql(f"SELECT obol.bring_up_to_date('{self.license.id}', true)")
        rows = self.world.sql(f"SELECT grant_id::text, amount FROM obol.list_draws('{self.license.id}', '{cause}')")
        drawn = [(str(self.ids[grant.place]), taken) for grant, taken in self.model.draws[cause]]
        assert rows == drawn[::-1]

    def teardown(self):
        if hasattr(self, "model"):
            if self.model.grants:
                self.look()
            assert self.world.sql("SELECT * FROM obol.verify()") == []


@pytest.fixture
def machine(urls, owner, new_license, process_id):
    connections = [Database(urls.service, pool_size=1, wait_s=5) for _ in range(2)]
    by_hand = psycopg2.connect(urls.owner)
    by_hand.autocommit = True

    def sql(statement):
        with by_hand.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    class Placed(Machine):
        world = SimpleNamespace(
            connections=connections, owner=owner, new_license=new_license, process_id=process_id, sql=sql
        )

    yield Placed
    by_hand.close()
    for connection in connections:
        connection.close()


@pytest.mark.timeout(600)
def test_late_is_as_good_as_at_once(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
