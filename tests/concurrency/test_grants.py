"""Grants that start, end, are voided and refunded to while eight calls at once use them: by the clock itself, with
lifetimes of parts of a second."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random

from hold_fixtures import outcome_of

from service import operator
from service.repository import holds
from service.repository.grants import Terms

THREADS = 8
CALLS = 600

# What a call may be told; anything else, above all database_error, is a bug.
TOLD = {"insufficient_credits", "grant_ended", "refund_exceeds_charge"}
# A grant of a part of a second may be over before its turn for the row comes.
TOLD |= {"amount_invalid"}


def soon(random):
    return datetime.now(UTC) + timedelta(seconds=random.uniform(0.2, 1.5))


def test_whatever_happens_at_once_the_ledger_and_the_grants_agree(
    owner, db, process_id, new_license, deduct, process_hold, settle, money, verified
):
    license = new_license(credits=200)
    used, given = [], []

    def act(number):
        random = Random(number)
        what = random.choices(("use", "hold", "grant", "later", "void", "refund", "adjust"), (8, 8, 3, 2, 1, 3, 1))[0]
        if what == "use":
            used.append(deduct(license, random.randint(1, 20)).deduction_id)
        elif what == "hold":
            hold = process_hold(license, random.randint(1, 30))
            if random.random() < 0.7:
                settle(license, hold, random.randint(0, 40))
                used.append(hold.hold_id)
            else:
                holds.release(db, license.key, hold.hold_id, process_id=process_id)
        elif what in ("grant", "later"):
            starts_at = soon(random) if what == "later" else None
            expires_at = (starts_at or datetime.now(UTC)) + timedelta(seconds=random.uniform(0.3, 1))
            terms = Terms(random.choice((10, 50, 90)), starts_at, expires_at)
            given.append(operator.grant_credits(owner, license.id, random.randint(1, 100), terms=terms).grant_id)
        elif what == "void" and given:
            operator.void_grant(owner, license.id, random.choice(given))
        elif what == "refund" and used:
            operator.refund(owner, license.id, random.choice(used), amount=random.randint(1, 5), reason="test")
        elif what == "adjust":
            operator.adjust_credits(owner, license.id, random.choice((-7, 9)), reason="test")

    with ThreadPoolExecutor(THREADS) as pool:
        told = Counter(pool.map(lambda number: outcome_of(act, number), range(CALLS)))

    assert set(told) - {None} <= TOLD, told
    assert told[None] > CALLS / 3
    verified()
    assert money(license)[1] == 0
