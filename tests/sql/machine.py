"""A license, its keys, grants, holds and limits in random steps, against ledgers that put nothing off. Each rule asks
the plain Python what has to come, and then the database."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from eager import Ledger
from eager_limits import MICROSECOND, Call, Limited, Refused, admit
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from service import keys, operator
from service.keys import KeyDigest
from service.problems import Problem
from service.repository import grants, holds, ledger, licenses, limits, processes
from service.repository.grants import Terms
from service.repository.holds import HoldAmounts

AMOUNTS = st.integers(1, 40)
HOURS = timedelta(hours=1)
PRICE = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 1_000_000)
LASTS_S = st.sampled_from([None, None, 4000, 5])
# Whether a hold is ended with the key that opened it, and not with any.
IS_OWN = st.sampled_from([True, True, True, False])
MODELS = st.sampled_from(["m", "m", "m-1", "n"])

# Before midnight, before the end of a month in a leap year, of a year, and nowhere special.
STARTS = st.sampled_from(["2028-02-28T23:59:30", "2028-02-29T22:00:00", "2027-12-31T12:00:00", "2028-03-15T00:00:00"])

UNTIL = st.sampled_from([None, None, "call", "day", "month"])
# What a call does, with which key or hold, for how many credits, and of which model.
CALLS = st.lists(
    st.tuples(
        st.sampled_from(["deduct", "deduct by id", "open", "open", "settle", "release", "lapse", "limit"]),
        st.integers(0, 30),
        st.integers(1, 40),
        MODELS,
    ),
    min_size=4,
    max_size=8,
)

# A change of limits: None takes one away. Two at most: a call that five limits bound tells nothing of the widest.
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("requests_per_minute"), st.sampled_from([3, 1, 2, 7, None])),
        st.tuples(st.just("concurrent_holds"), st.sampled_from([2, 1, 3, None])),
        st.tuples(st.just("credits_per_day"), st.sampled_from([100, 40, 150, None])),
        st.tuples(st.just("credits_per_month"), st.sampled_from([200, 80, 300, None])),
        st.tuples(st.just("models"), st.sampled_from([["m"], ["m*"], ["n", "m-*"], ["*"], None])),
    ),
    min_size=1,
    max_size=2,
).map(dict)
LIMITS = CHANGES.map(lambda change: {name: value for name, value in change.items() if value is not None})

DESCRIBED = """
    SELECT k.key_id, d.limit_of, d.limit_name, d.limit_value, d.used::bigint, d.retry_after_s
      FROM obol.license_keys k
     CROSS JOIN LATERAL obol.describe_limits(k.license_id, k.key_digest, moved.clock_timestamp()) WITH ORDINALITY d
     WHERE k.license_id = '{}'
     ORDER BY k.created_at, d.ordinality
"""


@dataclass
class Key:
    id: UUID
    digest: KeyDigest
    made_at: datetime
    ends: datetime | None
    limited: Limited
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    def was_good(self, at: datetime) -> bool:
        return self.made_at <= at and all(end is None or at < end for end in (self.ends, self.revoked_at))


@dataclass
class Hold:
    """`state` as in the database; `ends` is None for a process's. `settled`: its first result, with what was asked."""

    id: UUID
    key: Key
    amount: int
    ends: datetime | None
    call: Call
    state: str = "held"
    settled: tuple[int, tuple[int, int, int]] | None = None

    @property
    def is_process_s(self) -> bool:
        return self.ends is None


def outcome(call):
    """The result of a call, or what refused it."""
    try:
        return call()
    except Problem as problem:
        return Refused(problem.code, problem.extra)


def code_of(call):
    with pytest.raises(Problem) as caught:
        call()
    return caught.value.code


class Machine(RuleBasedStateMachine):
    """One license a run. Its calls come from two connections in turn."""

    world: SimpleNamespace

    granted = Bundle("granted")
    keys = Bundle("keys")
    used = Bundle("used")

    @initialize(target=keys, start=STARTS, limits=LIMITS, of_license=st.booleans())
    def begin(self, start, limits, of_license):
        self.now = datetime.fromisoformat(start).replace(tzinfo=UTC)
        self.world.sql("TRUNCATE obol.licenses, obol.admin_acts, obol.business_rollups CASCADE")
        self.world.clock.set(self.now)
        self.license = self.world.new_license(credits=0)
        self.ids, self.holds = {}, []
        self.limited = Limited("license")
        self.renew_lease()
        ((key_id,),) = self.world.sql("SELECT key_id FROM obol.license_keys")
        key = Key(UUID(key_id), self.license.key, self.now, None, Limited("key"))
        self.all_keys = [key]
        self.model = Ledger(self.now)
        self.change_limits(key, limits, of_license=of_license)
        self.grant(amount=400, priority=50, starts_in=0, lasts=None)
        return key

    @property
    def db(self):
        self.world.connections.reverse()
        return self.world.connections[0]

    def move(self, to):
        self.now = to
        self.world.clock.set(to)
        self.model.pass_time(to)

    def tick(self):
        """What is made now is younger than all before it."""
        self.move(self.now + MICROSECOND)

    def renew_lease(self):
        processes.heartbeat(self.db, self.world.process_id, 10 * 365 * 86400)

    # Grants

    @rule(
        target=granted,
        amount=AMOUNTS,
        priority=st.sampled_from([10, 50, 90]),
        starts_in=st.sampled_from([0, 0, 0, 1, 3]),
        lasts=st.sampled_from([None, 1, 2, 4]),
    )
    def grant(self, amount, priority, starts_in, lasts):
        self.tick()
        # What a new grant takes from the cover of an older one lapses after it.
        balance = self.model.balance + (0 if starts_in else amount)
        starts = self.now + starts_in * HOURS
        ends = None if lasts is None else starts + lasts * HOURS
        grant = self.model.grant(amount, priority, starts, ends)
        made = operator.grant_credits(
            self.world.owner, self.license.id, amount, terms=Terms(priority, starts if starts_in else None, ends)
        )
        self.ids[grant.place] = made.grant_id
        assert (made.balance, made.state) == (balance, "scheduled" if starts_in else "active")
        return grant

    @rule(grant=granted)
    def void(self, grant):
        def call():
            return operator.void_grant(self.world.owner, self.license.id, self.ids[grant.place])

        if grant.state(self.now) in ("used_up", "expired"):
            assert code_of(call) == "grant_ended"
            return
        self.model.void(grant)
        voided = call()
        assert (voided.lapsed, voided.credits_left, voided.balance) == (
            grant.lapsed, grant.left, self.model.balance,
        )  # fmt: skip

    # Keys and limits

    @rule(target=keys, limits=LIMITS, lasts=st.sampled_from([None, None, 1, 30]))
    def create_key(self, limits, lasts):
        self.tick()
        new = keys.make(self.license.id)
        ends = None if lasts is None else self.now + lasts * HOURS
        made = self.make_key(new.digest, ends, limits)
        key = Key(made.key_id, new.digest, self.now, ends, Limited("key", limits))
        self.all_keys.append(key)
        return key

    def make_key(self, digest, ends, wanted):
        return limits.create_key(self.world.owner, digest, uuid4(), expires_at=ends, limits=wanted or None)

    @rule(key=keys, is_sure=st.sampled_from([False, False, True]))
    def revoke_key(self, key, is_sure):
        if is_sure and key is not self.all_keys[0]:
            self.tick()
            limits.revoke_key(self.world.owner, self.license.id, key.id)
            key.revoked_at = key.revoked_at or self.now

    @rule(key=keys, change=CHANGES, of_license=st.booleans())
    def change_limits(self, key, change, of_license):
        if of_license:
            self.limited.change(change)
            changed = licenses.set_license(self.world.owner, self.license.id, limits=change)
            assert (changed.limits or {}) == self.limited.limits
            return

        def call():
            return limits.set_key(self.world.owner, self.license.id, key.id, limits=change)

        if key.revoked_at is not None:
            assert code_of(call) == "key_not_found"
            return
        key.limited.change(change)
        assert (call().limits or {}) == key.limited.limits

    def admitted(self, key, *, model=None, amount, least, is_hold):
        """How many credits a call gets, or what refuses it. key None: an operator's."""
        subjects = [self.limited] if key is None else [key.limited, self.limited]
        if key is not None and not key.was_good(self.now):
            return Refused("license_invalid", {})
        amount = admit(subjects, self.now, model=model, amount=amount, least=least, is_hold=is_hold)
        if isinstance(amount, Refused):
            return amount
        if self.model.available < least:
            return Refused("insufficient_credits", {"required": least, "available": self.model.available})
        return min(amount, self.model.available)

    def count(self, key, amount, *, is_hold):
        call = Call(self.now, amount, is_hold)
        for limited in [self.limited] if key is None else [key.limited, self.limited]:
            limited.count(call)
        if key is not None:
            key.used_at = self.now
        return call

    # Calls

    @rule(target=used, key=keys, amount=AMOUNTS, of_operator=st.sampled_from([False, False, False, True]))
    def deduct(self, key, amount, of_operator):
        cause = uuid4()

        def call():
            if of_operator:
                return ledger.deduct_by_id(
                    self.world.owner, self.license.id, cause, amount=amount,
                    idempotency_key=str(cause), fingerprint=b"f",
                )  # fmt: skip
            return ledger.deduct(self.db, key.digest, cause, amount=amount)

        key = None if of_operator else key
        expected = self.admitted(key, amount=amount, least=amount, is_hold=False)
        if isinstance(expected, Refused):
            assert outcome(call) == expected
            return multiple()
        self.model.use(cause, amount)
        self.count(key, amount, is_hold=False)
        assert call() == call() == (cause, amount, self.model.balance)
        return cause

    @rule(key=keys, amount=AMOUNTS, least=AMOUNTS, model=MODELS, lasts_s=LASTS_S)
    def open_hold(self, key, amount, least, model, lasts_s):
        hold_id, least = uuid4(), min(least, amount)

        def call():
            if lasts_s:
                return holds.open_for_client(self.db, key.digest, hold_id, amount=amount, expires_in_s=lasts_s)
            return holds.open_for_process(
                self.db,
                key.digest,
                hold_id,
                process_id=self.world.process_id,
                amounts=HoldAmounts(amount, least),
                model=model,
                price=PRICE,
            )

        if lasts_s:
            model, least = None, amount
        held = self.admitted(key, model=model, amount=amount, least=least, is_hold=True)
        if isinstance(held, Refused):
            assert outcome(call) == held
            return
        self.model.hold(held)
        hold = call()
        assert (hold.amount, hold.available) == (held, self.model.available)
        ends = self.now + timedelta(seconds=lasts_s) if lasts_s else None
        self.holds.append(Hold(hold_id, key, held, ends, self.count(key, held, is_hold=True)))

    @rule(key=keys, model=MODELS)
    def check_admission(self, key, model):
        expected = self.admitted(key, model=model, amount=0, least=0, is_hold=True)
        found = outcome(lambda: holds.check_admission(self.db, key.digest, uuid4(), model=model, price=PRICE))
        if isinstance(expected, Refused):
            assert found == expected
        else:
            assert (found.outcome, found.available) == ("checked", self.model.available)

    # Ends of holds

    def chosen(self, pick):
        """A hold; of those that can still end rather than of the others."""
        going = [hold for hold in self.holds if hold.state in ("held", "expired")] or self.holds
        return going[pick % len(going)]

    def may_end(self, hold, key):
        """None if it may be ended with the key, else what refuses it."""
        if not (key.was_good(self.now) or key.was_good(hold.call.at)):
            return "license_invalid"
        if hold.state == "held" and hold.ends is not None and hold.ends <= self.now:
            return "hold_not_open"
        return None

    def end(self, hold, state, credits):
        hold.state, hold.call.is_open, hold.call.credits = state, False, credits

    @precondition(lambda self: self.holds)
    @rule(target=used, pick=st.integers(0, 30), key=keys, is_own=IS_OWN, amount=st.integers(0, 90))
    def settle(self, pick, key, is_own, amount):
        hold = self.chosen(pick)
        key = hold.key if is_own else key

        def call():
            return holds.settle(
                self.db,
                key.digest,
                hold.id,
                amount=amount,
                process_id=self.world.process_id if hold.is_process_s else None,
                usage={"output": amount} if hold.is_process_s else None,
            )

        refused = self.may_end(hold, key)
        if refused is None and hold.state == "settled" and hold.settled[0] == amount:
            assert call()[:3] == hold.settled[1]
            return multiple()
        if refused is None and hold.state == "held" and not hold.is_process_s and amount > hold.amount:
            refused = "settle_exceeds_hold"
        if refused is None and (
            hold.state in ("settled", "released")
            or (hold.state == "expired" and (not hold.is_process_s or amount > self.model.available))
        ):
            refused = "hold_not_open"
        if refused is not None:
            assert code_of(call) == refused
            return multiple()
        held = hold.amount if hold.state == "held" else 0
        charge = min(amount, held + self.model.available)
        balance = self.model.settle(hold.id, held, charge)
        hold.settled = amount, (charge, amount - charge, balance)
        self.end(hold, "settled", charge)
        assert call()[:3] == hold.settled[1]
        return hold.id

    @precondition(lambda self: self.holds)
    @rule(pick=st.integers(0, 30), key=keys, is_own=IS_OWN)
    def release(self, pick, key, is_own):
        hold = self.chosen(pick)
        key = hold.key if is_own else key
        process_id = self.world.process_id if hold.is_process_s else None

        def call():
            return holds.release(self.db, key.digest, hold.id, process_id=process_id)

        refused = self.may_end(hold, key)
        if refused is None and (hold.state == "settled" or (hold.state == "expired" and not hold.is_process_s)):
            refused = "hold_not_open"
        if refused is not None:
            assert code_of(call) == refused
            return
        if hold.state == "held":
            self.model.release(hold.amount)
        self.end(hold, "released", 0)
        assert call().state == "released"

    @rule(lapses=st.sampled_from([False, False, True]))
    def reap(self, lapses):
        """Give back what is overdue; and, if the lease of the process lapses, all of its holds."""
        if lapses:
            processes.heartbeat(self.db, self.world.process_id, 0)
        due = [
            hold
            for hold in self.holds
            if hold.state == "held" and (lapses if hold.is_process_s else hold.ends <= self.now)
            # What is opened in the moment of the lapse may be of a process that began after it.
            if not (hold.is_process_s and hold.call.at == self.now)
        ]
        # In one piece, as the database does: what is given back first covers no more than the rest.
        self.model.release(sum(hold.amount for hold in due))
        for hold in due:
            self.end(hold, "expired", 0)
        found = [item for item in holds.due(self.db) if item.license_id == self.license.id]
        assert {hold_id for item in found for hold_id in item.hold_ids} == {hold.id for hold in due}
        for item in found:
            assert holds.expire(self.db, self.license.id, item.hold_ids) == len(item.hold_ids)
        self.renew_lease()

    def be_busy(self, until, calls):
        """Several calls in one moment, now or when a window begins."""
        causes = []
        if until is not None:
            self.pass_until(what=until, off=0, pick=0)
        for kind, pick, amount, model in calls:
            good = [key for key in self.all_keys if key.was_good(self.now)]
            key = good[pick % len(good)]
            if kind.startswith("deduct"):
                causes.append(self.deduct(key=key, amount=amount, of_operator=kind == "deduct by id"))
            elif kind == "limit":
                # What was used while calls were limited is not forgotten while they are not.
                self.change_limits(key=key, change={"requests_per_minute": (None, 3)[pick % 2]}, of_license=False)
            elif kind == "open":
                self.open_hold(key=key, amount=amount, least=1, model=model, lasts_s=None)
            elif kind == "lapse":
                self.reap(lapses=True)
            elif self.holds and kind == "settle":
                causes.append(self.settle(pick=pick, key=key, is_own=True, amount=amount))
            elif self.holds:
                self.release(pick=pick, key=key, is_own=True)
            self.limits_are_as_used()
        return multiple(*(cause for cause in causes if isinstance(cause, UUID)))

    # Rules are chosen evenly: so this one is half as often chosen as all of the calls for themselves.
    busy = rule(target=used, until=UNTIL, calls=CALLS)(be_busy)
    busier = rule(target=used, until=UNTIL, calls=CALLS)(be_busy)
    busiest = rule(target=used, until=UNTIL, calls=CALLS)(be_busy)

    # Credits that come back, or are corrected

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

        self.tick()
        if amount > 0:
            balance = self.model.balance + amount
            grant = self.model.grant(amount, 50, self.now, None)
            adjusted = call()
            self.ids[grant.place] = adjusted.adjustment_id
            assert adjusted.balance == balance
        elif -amount > self.model.available:
            assert code_of(call) == "insufficient_credits"
        else:
            self.model.use(uuid4(), -amount)
            assert call().balance == self.model.balance

    # Time

    @rule(seconds=st.sampled_from([1, 5, 20, 30, 60, 3600, 3 * 3600]))
    def pass_time(self, seconds):
        self.move(self.now + timedelta(seconds=seconds))

    @rule(
        what=st.sampled_from(["call", "call", "call", "day", "day", "month"]),
        off=st.sampled_from([-1, 0, 0, 1]),
        pick=st.integers(0, 9),
    )
    def pass_until(self, what, off, pick):
        """Until a window begins, or a limit lets the next call through: then, or a microsecond before or after it."""
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        limited = self.all_keys[pick % len(self.all_keys)].limited
        to = {
            "day": midnight + timedelta(days=1),
            "month": (midnight.replace(day=1) + timedelta(days=31)).replace(day=1),
            "call": limited.free_at,
        }[what]
        if to is not None and to + off * MICROSECOND > self.now:
            self.move(to + off * MICROSECOND)

    # What shows

    @invariant()
    def limits_are_as_used(self):
        if hasattr(self, "model"):
            assert self.world.sql(DESCRIBED.format(self.license.id)) == [
                (str(key.id), *described)
                for key in self.all_keys
                for limited in (key.limited, self.limited)
                for described in limited.describe(self.now)
            ]

    @rule()
    def look(self):
        found = licenses.find(self.db, self.license.key)
        assert (found.balance, found.held) == (self.model.balance, self.model.held)
        rows = {row.grant_id: row for row in grants.list_of(self.world.owner, self.license.id, limit=1000)}
        seen = {place: rows[grant_id] for place, grant_id in self.ids.items()}
        assert {place: (row.credits_left, row.lapsed, row.state) for place, row in seen.items()} == {
            grant.place: (grant.left if grant.has_started or grant.is_voided else grant.amount, grant.lapsed,
                          grant.state(self.now))
            for grant in self.model.grants
        }  # fmt: skip
        listed = list(limits.every_key(self.world.owner, self.license.id))
        assert [(row.key_id, row.created_at, row.expires_at, row.revoked_at, row.limits or {}) for row in listed] == [
            (key.id, key.made_at, key.ends, key.revoked_at, key.limited.limits) for key in self.all_keys
        ]
        for row, key in zip(listed, self.all_keys, strict=True):
            # Right to the hour.
            shown = row.last_used_at
            assert shown == key.used_at or (shown and key.used_at and key.used_at - HOURS < shown < key.used_at)

    @rule(cause=used)
    def look_at_what_it_drew_on(self, cause):
        self.world.sql(f"SELECT obol.bring_up_to_date('{self.license.id}', true)")
        rows = self.world.sql(f"SELECT grant_id::text, amount FROM obol.list_draws('{self.license.id}', '{cause}')")
        drawn = [(str(self.ids[grant.place]), taken) for grant, taken in self.model.draws[cause]]
        assert rows == drawn[::-1]

    def teardown(self):
        # After a difference there are more, and the first one tells most.
        if hasattr(self, "model") and sys.exc_info()[0] is None:
            self.reap(False)
            self.look()
            found = self.world.sql("SELECT * FROM obol.verify()")
            assert found == [], found
