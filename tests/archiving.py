"""A license with a past, for what is done with old entries."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

from service import keys, operator
from service.pricing import CLASSES
from service.repository import grants, holds, ledger, licenses, limits, processes
from service.repository.grants import Terms
from service.repository.holds import HoldAmounts

PRICE = dict.fromkeys(CLASSES, 1_000_000)


class Past:
    """One of each thing that a license can have behind it: grants that end or do not, charges with and without keys,
    refunds whole and in parts, corrections, limits. Nothing is held in the end.

    Args:
        license: of `new_license(credits=1000)`, and nothing has been done with it.
    """

    def __init__(self, db, owner, license):
        self.db, self.owner, self.license, self.process_id = db, owner, license, uuid4()
        processes.heartbeat(db, self.process_id, 600)
        self.promotion = self.give(50, priority=10, expires_at=datetime.now(UTC) + timedelta(hours=1))
        self.voided = self.give(70, priority=90)
        self.later = self.give(7, starts_at=datetime.now(UTC) + timedelta(days=365))
        licenses.set_license(owner, license.id, limits={"credits_per_month": 10_000})
        self.second = keys.make(license.id)
        limits.create_key(owner, self.second.digest, uuid4(), name="second", expires_at=None, limits=None)
        self.answer = self.generate(80, key="answer")
        self.free = self.generate(0)
        self.booking = self.book(45)
        self.order = self.deduct(20, key="order")
        self.refund(self.answer, 30)
        self.refund(self.answer)
        self.refund(self.order, 5)
        operator.adjust_credits(owner, license.id, 40, reason="found")
        operator.adjust_credits(owner, license.id, -15, reason="lost")
        self.by_id = uuid4()
        ledger.deduct_by_id(owner, license.id, self.by_id, amount=3, idempotency_key="by id", fingerprint=b"f")
        grants.void(owner, license.id, self.voided)
        self.last = self.generate(11)

    def give(self, amount, **terms):
        return operator.grant_credits(
            self.owner, self.license.id, amount, terms=Terms(**terms), idempotency_key=str(uuid4())
        ).grant_id

    def generate(self, tokens, *, key=None, is_delivered=True):
        """The hold of an answer that was charged for."""
        hold_id = uuid4()
        holds.open_for_process(
            self.db, self.license.key, hold_id, process_id=self.process_id, amounts=HoldAmounts(100, 100), model="m",
            price=PRICE, idempotency_key=key, fingerprint=b"f",
        )  # fmt: skip
        holds.settle(
            self.db, self.license.key, hold_id, amount=tokens, process_id=self.process_id, usage={"output": tokens},
            answer=None if key is None else b"keyid001an answer", answer_ttl_s=None if key is None else 60,
        )  # fmt: skip
        if is_delivered:
            holds.note_deliveries(self.db, self.license.id, [hold_id], process_id=self.process_id)
        return hold_id

    def book(self, amount):
        """The hold of a client that was settled."""
        hold_id = uuid4()
        holds.open_for_client(self.db, self.license.key, hold_id, amount=60, expires_in_s=600, idempotency_key="own")
        holds.settle(self.db, self.license.key, hold_id, amount=amount)
        return hold_id

    def deduct(self, amount, *, key=None):
        deduction_id = uuid4()
        ledger.deduct(
            self.db, self.second.digest, deduction_id, amount=amount, idempotency_key=key, fingerprint=b"f",
            reference="a, \"b\"\n",
        )  # fmt: skip
        return deduction_id

    def refund(self, cause_id, amount=None):
        return operator.refund(self.owner, self.license.id, cause_id, amount=amount, reason="sorry")


def outline(past):
    """What has to be the same whatever is archived: balance, held, grants."""
    license = licenses.find(past.db, past.license.key)
    rows = grants.list_of(past.owner, past.license.id, limit=100)
    return SimpleNamespace(
        balance=(license.balance, license.held),
        grants=sorted((row.grant_id, row.credits_left, row.lapsed, row.state) for row in rows),
    )
