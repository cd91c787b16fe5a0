"""Who plays the month: each customer's calls of a day, in the customer's own order, over several connections."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from month import PRICES, Customer, Days, Key, Open, Taken, cost, next_day

from service import keys, operator
from service.db import Database
from service.dev.embedded import Urls
from service.keys import KeyDigest
from service.operator import BatchItem
from service.problems import Problem
from service.repository import grants, holds, ledger, limits, processes, usage
from service.repository.grants import Terms
from service.repository.holds import HoldAmounts

CONNECTIONS = 3
# Of so many calls one is looked at by itself; the others go many a statement.
LOOKED_AT = 20
MODELS = list(PRICES)
ENDLESS = 10**9


class Month:
    """A played month.

    Args:
        urls: of an empty database.
        seed: the same one plays the same month.
        licenses, days: how much there is of it.
        calls: of a license of middling appetite on a day, about.
    """

    def __init__(self, urls: Urls, *, seed: int, licenses: int, days: int, calls: float) -> None:
        self.days = Days(days)
        self.calls = calls
        self._urls, self._dice = urls, Random(seed)
        self._threads = threading.local()
        self._opened: list[Any] = []
        self.db, self.owner = (
            Database(url, pool_size=CONNECTIONS + 1, wait_s=60) for url in (urls.service, urls.owner)
        )
        self.processes = [UUID(int=self._dice.getrandbits(128), version=4) for _ in range(3)]
        self.customers = [self._customer(number, f"{seed}/{number}") for number in range(licenses)]

    def close(self) -> None:
        for closed in (self.db, self.owner, *self._opened):
            closed.close()

    def play(self) -> None:
        for process_id in self.processes:
            processes.heartbeat(self.db, process_id, 40 * 86_400)
        with ThreadPoolExecutor(CONNECTIONS) as pool, closing(psycopg2.connect(self._urls.owner)) as clock:
            clock.autocommit = True
            for day in range(self.days.count):
                list(pool.map(lambda customer: Player(self, customer).play_day(), self.customers))
                self._sell_elsewhere(day)
                self._have_a_process_die(day)
                with clock.cursor() as cursor:
                    cursor.execute(next_day(self.days, day))
                self._roll_up()
                self._begin_day()

    def run(self, statements: list[str]) -> None:
        """Many calls of the service's login at once."""
        if not hasattr(self._threads, "cursor"):
            connection = psycopg2.connect(self._urls.service)
            connection.autocommit = True
            self._threads.cursor = connection.cursor()
            self._opened.append(connection)
        self._threads.cursor.execute("; ".join(statements))

    def _customer(self, number: int, seed: str) -> Customer:
        dice = Random(seed)
        credits = dice.randrange(5_000, 40_000)
        most_holds = 6 if number % 10 == 3 else None
        most = None if most_holds is None else {"concurrent_holds": most_holds, "credits_per_month": 2**63 - 1}
        made = operator.create_license(self.owner, credits=credits, name=f"Customer {number}", limits=most)
        customer = Customer(made.license_id, dice, dice.choice([0.3, 0.7, 1, 1, 1.5, 2]), number % 4 != 0, most_holds)
        customer.book.give(made.license_id, credits, reference="opening grant")
        assert made.license_key is not None
        customer.keys.append(Key(made.key_id, keys.parse(made.license_key), made.license_key))
        for count in range(dice.randrange(4)):
            models, at_once = [(None, None), ("claude-haiku", None), (None, 2)][count]
            own = {} if at_once is None else {"concurrent_holds": at_once, "credits_per_day": ENDLESS}
            own |= {} if models is None else {"models": [f"{models}*"]}
            new = operator.create_key(self.owner, made.license_id, name=f"key {count}", limits=own or None)
            digest = keys.parse(new.license_key)
            customer.keys.append(Key(new.key.key_id, digest, new.license_key, models, at_once))
        return customer

    # What is nobody's call

    def _begin_day(self) -> None:
        """What starts and ends by itself, and the holds whose time is up, as a heartbeat sees to them."""
        for license_id in grants.due(self.db):
            grants.bring_up_to_date(self.db, license_id)
        for customer in self.customers:
            customer.book.pass_time(1)
        due = {(item.license_id, hold_id) for item in holds.due(self.db) for hold_id in item.hold_ids}
        day = self.customers[0].book.day
        expected = [(customer, hold) for customer in self.customers for hold in customer.open if hold.due_on == day]
        assert due == {(customer.license_id, hold.hold_id) for customer, hold in expected}
        for customer, hold in expected:
            Player(self, customer).expire(hold)

    def _have_a_process_die(self, day: int) -> None:
        """Twice in the month; and after that it wakes up, and settles some of what it had in hand."""
        if day % 10 != 9 or day == self.days.count - 1:
            return
        process_id = self.processes[day % 3]
        processes.heartbeat(self.db, process_id, 0)
        due = {hold_id for item in holds.due(self.db) for hold_id in item.hold_ids}
        dying = [(one, hold) for one in self.customers for hold in one.open if hold.process_id == process_id]
        assert due == {hold.hold_id for _, hold in dying}
        for customer, hold in dying:
            Player(self, customer).expire(hold)
        processes.heartbeat(self.db, process_id, 40 * 86_400)
        for customer, hold in dying:
            Player(self, customer).settle_late(hold)

    def _sell_elsewhere(self, day: int) -> None:
        """A batch of deductions by an operator, of several licenses; some are refused."""
        chosen = self._dice.sample(self.customers, 10)
        items = [
            BatchItem(one.license_id, self._dice.randrange(1, 400), f"{day}/{number}", f"seat {number}")
            for number, one in enumerate(chosen)
        ]
        for customer, item, result in zip(chosen, items, operator.deduct_batch(self.owner, items), strict=True):
            if item.amount > customer.book.available:
                assert isinstance(result, Problem)
                assert result.code == "insufficient_credits"
            else:
                assert not isinstance(result, Problem)
                Player(self, customer).take(result.deduction_id, item.amount, key=None, reference=item.reference)
                assert result.balance == customer.book.balance

    def _roll_up(self) -> None:
        """Now and then, not all of it at once, and of some licenses never."""
        for customer in self.customers:
            if customer.has_roll_ups and self._dice.random() < 0.15:
                usage.roll_up(self.db, customer.license_id, self._dice.choice([10, 5000]))


class Player:
    """What one customer does, or has done to it."""

    def __init__(self, month: Month, customer: Customer) -> None:
        self.month, self.one = month, customer
        self.book, self.dice = customer.book, customer.dice
        self._statements: list[str] = []

    def play_day(self) -> None:
        self._see_to_keys()
        self._settle_what_is_left_open()
        weights = {
            self.generate: 56, self.deduct: 14, self.use_client_hold: 9, self.refund: 6, self.refund_undelivered: 1,
            self.grant: 4, self.adjust: 3, self.void: 1, self.be_refused: 1,
        }  # fmt: skip
        count = round(self.month.calls * self.one.appetite * self.dice.uniform(0.5, 1.5))
        for act in self.dice.choices(list(weights), list(weights.values()), k=count):
            if self.book.available < 500 and self.dice.random() < 0.8:
                self.grant()
            act()
        self.flush()

    # How the database is asked

    def say(self, statement: str, call: Callable[[], Any], looked_at: Callable[[Any], Any]) -> None:
        """One call: mostly later, together with others; at times by itself, and `looked_at` then is what came."""
        if self.dice.randrange(LOOKED_AT):
            self._statements.append(statement)
            if len(self._statements) == 40:
                self.flush()
        else:
            self.flush()
            looked_at(call())

    def flush(self) -> None:
        if self._statements:
            self.month.run(self._statements)
            self._statements.clear()

    def _catch_up(self, entries: int) -> None:
        """Book what has ended with a hold that covered it, when there is such a thing: lateness shows in nothing but
        the number of entries."""
        if len(self.book.entries) > entries:
            self._statements.append(f"SELECT FROM obol.bring_up_to_date('{self.one.license_id}')")

    def refused(self, code: str, call: Callable[[], Any]) -> None:
        self.flush()
        with pytest.raises(Problem) as caught:
            call()
        assert caught.value.code == code
        self.one.refused[code] += 1

    # Calls for answers

    def generate(self) -> None:
        key = self.dice.choice(self.one.living_keys())
        model = self.dice.choice(MODELS)
        used = self._usage(model)
        price = PRICES[model]
        amount = int(cost(price, used) * self.dice.choice([0.6, 1, 1, 1.3, 2]))
        least = amount if self.dice.random() < 0.7 else amount // 3
        hold = Open(self.one.new_id(), 0, key, self.dice.choice(self.month.processes), model, used)
        idempotency_key = str(hold.hold_id) if self.dice.random() < 0.1 else None
        if not self._may_open(hold, amount, least, price):
            return
        hold.held = min(amount, self.book.available)
        hold.is_stored = idempotency_key is not None
        self.book.hold(hold.held)
        key.open_holds += 1
        self.one.open.append(hold)

        def look(found: holds.Admission) -> None:
            assert (found.outcome, found.amount, found.available) == ("opened", hold.held, available)

        available = self.book.available
        named = "NULL" if idempotency_key is None else f"'{idempotency_key}'"
        self.say(
            f"SELECT FROM obol.open_hold({self._key(key)}, '{hold.hold_id}', '{hold.process_id}', {amount}, {least}, "
            f"NULL, '{model}', '{json.dumps(price)}', {named}, '\\x01', NULL, NULL)",
            lambda: self._open_for_process(hold, (amount, least), price, idempotency_key),
            look,
        )
        fate = self.dice.random()
        if fate < 0.88:
            self.settle(hold)
        elif fate < 0.96:
            self.release(hold, is_unpaid=fate < 0.91)

    def _open_for_process(
        self, hold: Open, amounts: tuple[int, int], price: dict[str, Any], idempotency_key: str | None = None
    ) -> holds.Admission:
        assert hold.process_id is not None
        assert hold.model is not None
        return holds.open_for_process(
            self.month.db, hold.key.digest, hold.hold_id, process_id=hold.process_id, amounts=HoldAmounts(*amounts),
            model=hold.model, price=price, idempotency_key=idempotency_key, fingerprint=b"\x01",
        )  # fmt: skip

    def _may_open(self, hold: Open, amount: int, least: int, price: dict[str, Any]) -> bool:
        """Whether admission lets the hold through; where not, that it says why."""
        key, open_holds = hold.key, sum(key.open_holds for key in self.one.keys)
        assert hold.model is not None
        if not key.may_use(hold.model):
            code = "model_not_allowed"
        elif key.open_holds >= (key.most_holds or ENDLESS) or open_holds >= (self.one.most_holds or ENDLESS):
            code = "limit_exceeded"
        elif least > self.book.available:
            code = "insufficient_credits"
        else:
            return True
        if self.dice.random() < 0.3:
            self.refused(code, lambda: self._open_for_process(hold, (amount, least), price))
        return False

    def settle(self, hold: Open) -> None:
        assert hold.model is not None
        assert hold.usage is not None
        due = cost(PRICES[hold.model], hold.usage)
        most = due if due <= hold.held or self.dice.random() < 0.8 else hold.held + (due - hold.held) // 2
        charge = min(most, hold.held + self.book.available)
        self._end(hold)
        taken = self._taken(hold.hold_id, "charge", charge, due - charge, hold)
        entries = len(self.book.entries)
        balance = self.book.settle(hold.hold_id, hold.held, charge)
        is_stored = hold.is_stored
        answer, ttl_s = ("'\\x6b65796964303031616e73776572'", 90 * 86_400) if is_stored else ("NULL", "NULL")
        most_credits = "NULL" if most == due else most

        def look(found: holds.SettledHold) -> None:
            assert (found.charge, found.shortfall, found.balance) == (charge, due - charge, balance)

        self.say(
            f"SELECT FROM obol.settle_hold({self._key(hold.key)}, '{hold.hold_id}', '{hold.process_id}', {due}, "
            f"'{json.dumps(hold.usage)}', {answer}, {ttl_s}, {most_credits})",
            lambda: holds.settle(
                self.month.db, hold.key.digest, hold.hold_id, amount=due, process_id=hold.process_id, usage=hold.usage,
                answer=b"keyid001answer" if is_stored else None, answer_ttl_s=90 * 86_400 if is_stored else None,
                max_credits=None if most == due else most,
            ),
            look,
        )  # fmt: skip
        self._catch_up(entries)
        if self.dice.random() < 0.95:
            self._statements.append(
                f"SELECT FROM obol.note_deliveries('{self.one.license_id}', ARRAY['{hold.hold_id}']::uuid[], "
                f"'{hold.process_id}')"
            )
        elif not is_stored:
            self.one.undelivered[hold.hold_id] = taken

    def release(self, hold: Open, *, is_unpaid: bool = False) -> None:
        self._end(hold)
        entries = len(self.book.entries)
        self.book.release(hold.held)
        unpaid, got = "NULL", None
        if is_unpaid:
            tokens = self.dice.randrange(1, 500)
            self.one.losses[self.book.day].append(tokens)
            got = holds.Unpaid("upstream_error", 3, 100, tokens)
            unpaid = f"'{json.dumps(got._asdict())}'"
        process = "NULL" if hold.process_id is None else f"'{hold.process_id}'"
        self.say(
            f"SELECT FROM obol.release_hold({self._key(hold.key)}, '{hold.hold_id}', {process}, {unpaid})",
            lambda: holds.release(self.month.db, hold.key.digest, hold.hold_id, process_id=hold.process_id, unpaid=got),
            lambda found: self._is((found.amount, found.state), (hold.held, "released")),
        )
        self._catch_up(entries)

    def expire(self, hold: Open) -> None:
        self._end(hold)
        self.one.expired.append(hold)
        assert holds.expire(self.month.db, self.one.license_id, [hold.hold_id]) == 1
        entries = len(self.book.entries)
        self.book.release(hold.held)
        self._catch_up(entries)
        self.flush()

    def settle_late(self, hold: Open) -> None:
        """A process woke up after its lease: its answer is charged for once, if the credits are there, or not."""
        assert hold.model is not None
        assert hold.usage is not None
        due = cost(PRICES[hold.model], hold.usage)
        call = lambda: holds.settle(  # noqa: E731 - asked for in two places
            self.month.db, hold.key.digest, hold.hold_id, amount=due, process_id=hold.process_id, usage=hold.usage
        )
        if due > self.book.available:
            self.refused("hold_not_open", call)
        else:
            # Of a call with a key, that one names it still: nobody took its place.
            taken = self._taken(hold.hold_id, "charge", due, 0, hold)
            self.book.use(hold.hold_id, due)
            assert call().balance == self.book.balance
            self.one.undelivered[hold.hold_id] = taken

    def _settle_what_is_left_open(self) -> None:
        for hold in list(self.one.open):
            if hold.process_id is not None and self.dice.random() < 0.6:
                self.settle(hold)

    # A client's own

    def use_client_hold(self) -> None:
        key, amount = self.dice.choice(self.one.living_keys()), self.dice.randrange(1, 600)
        days = self.dice.choice([1, 1, 40])
        open_holds = sum(key.open_holds for key in self.one.keys)
        is_full = key.open_holds >= (key.most_holds or ENDLESS) or open_holds >= (self.one.most_holds or ENDLESS)
        if amount > self.book.available or is_full:
            return
        day = self.book.day
        hold = Open(self.one.new_id(), amount, key, None, reference=f"job {len(self.book.entries)}", due_on=day + days)
        self.book.hold(amount)
        key.open_holds += 1
        self.one.open.append(hold)
        available = self.book.available
        # Never to the second of a day: what is due is due after the clock has been moved.
        expires_in_s = days * 86_400 - 43_200
        self.say(
            f"SELECT FROM obol.open_hold({self._key(key)}, '{hold.hold_id}', NULL, {amount}, {amount}, {expires_in_s}, "
            f"NULL, NULL, NULL, NULL, '{hold.reference}', NULL)",
            lambda: holds.open_for_client(
                self.month.db, key.digest, hold.hold_id, amount=amount, expires_in_s=expires_in_s,
                reference=hold.reference,
            ),
            lambda found: self._is((found.outcome, found.available), ("opened", available)),
        )  # fmt: skip
        fate = self.dice.random()
        if fate < 0.6:
            charge = self.dice.randint(0, amount)
            self._end(hold)
            self._taken(hold.hold_id, "charge", charge, 0, hold)
            entries = len(self.book.entries)
            balance = self.book.settle(hold.hold_id, amount, charge)
            self.say(
                f"SELECT FROM obol.settle_hold({self._key(key)}, '{hold.hold_id}', NULL, {charge}, NULL, NULL, "
                "NULL, NULL)",
                lambda: holds.settle(self.month.db, key.digest, hold.hold_id, amount=charge),
                lambda found: self._is((found.charge, found.balance), (charge, balance)),
            )
            self._catch_up(entries)
        elif fate < 0.85:
            self.release(hold)

    def deduct(self) -> None:
        key, amount = self.dice.choice(self.one.living_keys()), self.dice.randrange(1, 900)
        deduction_id, reference = self.one.new_id(), f"order {len(self.book.entries)}"
        call = lambda: ledger.deduct(  # noqa: E731 - asked for in two places
            self.month.db, key.digest, deduction_id, amount=amount, reference=reference
        )
        if amount > self.book.available:
            self.refused("insufficient_credits", call)
            return
        self.take(deduction_id, amount, key=key, reference=reference)
        balance = self.book.balance
        self.say(
            f"SELECT FROM obol.deduct({self._key(key)}, '{deduction_id}', {amount}, NULL, '', '{reference}')",
            call,
            lambda found: self._is(found.balance, balance),
        )

    def take(self, deduction_id: UUID, amount: int, *, key: Key | None, reference: str | None) -> None:
        self.book.use(deduction_id, amount)
        self._taken(deduction_id, "deduction", amount, 0, None, key=key, reference=reference)

    # What operators do

    def grant(self) -> None:
        self.flush()
        amount, priority = self.dice.randrange(200, 9_000), self.dice.choice([10, 50, 50, 90])
        starts_in, lasts = self.dice.choice([0, 0, 0, 2, 6]), self.dice.choice([None, None, 1, 3, 8, 20])
        now = datetime.now(UTC)
        starts_at = now + timedelta(days=starts_in) if starts_in else None
        expires_at = None if lasts is None else now + timedelta(days=starts_in + lasts)
        reference = f"invoice {len(self.book.grants)}"
        made = operator.grant_credits(
            self.month.owner,
            self.one.license_id,
            amount,
            terms=Terms(priority, starts_at, expires_at),
            reference=reference,
        )
        balance = self.book.balance + (0 if starts_in else amount)
        self.book.give(made.grant_id, amount, priority=priority, starts_in=starts_in, lasts=lasts, reference=reference)
        self._is((made.amount, made.balance), (amount, balance))
        # What the new one takes from the cover of one that has ended lapses after it.
        grants.bring_up_to_date(self.month.db, self.one.license_id)

    def void(self) -> None:
        self.flush()
        grant = self.dice.choice(self.book.grants)
        call = lambda: operator.void_grant(  # noqa: E731 - asked for in two places
            self.month.owner, self.one.license_id, self.book.id_of(grant)
        )
        if grant.state(self.book.day) in ("used_up", "expired"):
            self.refused("grant_ended", call)
        else:
            self.book.void(grant)
            assert call().balance == self.book.balance

    def adjust(self) -> None:
        self.flush()
        amount, reason = self.dice.choice([-1, 1]) * self.dice.randrange(1, 300), "a typing error"
        call = lambda: operator.adjust_credits(  # noqa: E731 - asked for in two places
            self.month.owner, self.one.license_id, amount, reason=reason
        )
        if amount > 0:
            balance = self.book.balance + amount
            made = call()
            self.book.give(made.adjustment_id, amount, kind="adjustment", reference=reason)
            grants.bring_up_to_date(self.month.db, self.one.license_id)
        elif -amount > self.book.available:
            self.refused("insufficient_credits", call)
            return
        else:
            made, balance = call(), self.book.balance + amount
            self.book.use(made.adjustment_id, -amount)
            self.book.write("adjustment", amount, made.adjustment_id, reference=reason)
        self._is(made.balance, balance)

    def refund(self) -> None:
        if self.one.taken:
            taken = self.dice.choice(self.one.taken[-60:])
            left = self.book.refundable(taken.cause)
            part = self.dice.choice([None, max(1, left // 3), left + 1])
            self._give_back(taken, part)

    def refund_undelivered(self) -> None:
        for taken in list(self.one.undelivered.values())[:1]:
            self._give_back(taken, None)

    def _give_back(self, taken: Taken, part: int | None) -> None:
        self.flush()
        left = self.book.refundable(taken.cause)
        call = lambda: operator.refund(  # noqa: E731 - asked for in two places
            self.month.owner, self.one.license_id, taken.cause, amount=part, reason="it was late"
        )
        if part is not None and part > left:
            self.refused("refund_exceeds_charge", call)
        elif left:
            back = left if part is None else part
            balance = self.book.balance + back
            key_id = taken.key and taken.key.key_id
            self.book.write("refund", back, taken.cause, reference="it was late", model=taken.model, key_id=key_id)
            lapsed = self.book.refund(taken.cause, back)
            found = call()
            self._is((found.amount, found.balance, found.lapsed), (back, balance, lapsed))
            grants.bring_up_to_date(self.month.db, self.one.license_id)
            self.one.undelivered.pop(taken.cause, None)

    def _see_to_keys(self) -> None:
        """A key is revoked in the middle of the month; another one is rotated, with an overlap of two days."""
        day = self.book.day
        if len(self.one.keys) >= 3 and day == 14:
            revoked = self.one.keys[1]
            limits.revoke_key(self.month.owner, self.one.license_id, revoked.key_id)
            revoked.ends_on = day
        elif len(self.one.keys) == 2 and day == 11:
            new = operator.rotate_key(
                self.month.owner, self.one.license_id, 2 * 86_400 - 43_200, only_key_id=self.one.keys[0].key_id
            )
            self.one.keys[0].ends_on = day + 2
            self.one.keys.append(Key(new.key_id, keys.parse(new.license_key), new.license_key))

    def be_refused(self) -> None:
        """A key that has ended opens nothing, and neither does one that was made up."""
        ended = [key.digest for key in self.one.keys if key.ends_on <= self.book.day]
        digest = self.dice.choice([*ended, KeyDigest(self.one.license_id, b"?" * 32)])
        self.refused("license_invalid", lambda: ledger.deduct(self.month.db, digest, self.one.new_id(), amount=1))

    # The log

    def _end(self, hold: Open) -> None:
        self.one.open.remove(hold)
        hold.key.open_holds -= 1

    def _taken(
        self,
        cause: UUID,
        kind: str,
        charge: int,
        shortfall: int,
        hold: Open | None,
        *,
        key: Key | None = None,
        reference: str | None = None,
    ) -> Taken:
        if hold is not None:
            key, reference = hold.key, hold.reference
        taken = Taken(cause, kind, charge, shortfall, self.book.day, key, hold, reference)
        self.one.taken.append(taken)
        self.book.write(
            kind, -charge, cause, reference=reference, model=taken.model, usage=hold and hold.usage,
            key_id=key and key.key_id, shortfall=shortfall,
        )  # fmt: skip
        return taken

    def _usage(self, model: str) -> dict[str, Any]:
        roll = self.dice.random()
        used = {"input": self.dice.randrange(1, 1_500), "output": self.dice.randrange(600)}
        if roll < 0.3:
            used |= {name: self.dice.randrange(3_000) for name in self.dice.sample(CACHES, self.dice.randint(1, 3))}
        if model == "claude-opus-5" and roll > 0.9:
            other = {"model": "claude-haiku-5", "input": self.dice.randrange(900), "output": self.dice.randrange(300)}
            return {"attempts": [used | {"model": model}, other]}
        return used

    @staticmethod
    def _key(key: Key) -> str:
        return f"'{key.digest.license_id}', '\\x{key.digest.digest.hex()}'"

    @staticmethod
    def _is(found: object, expected: object) -> None:
        assert found == expected


CACHES = ("cache_write_5m", "cache_write_1h", "cache_read")
