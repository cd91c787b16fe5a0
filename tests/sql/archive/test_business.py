"""The business by time and payments, whose entries leave the tables: what is said of them stays the same."""

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest
from archiving import outline
from fake_stripe import FakeStripe
from tampering import ARCHIVED_VOIDS, BUSINESS
from till import CREDITS, PRICE, Till

from service import archivecheck
from service.repository import admin, archive, ledger, payments, usage
from service.repository.archive import Numbers, Wanted

OVERVIEW = "SELECT * FROM obol.overview(current_date - 100, current_date, NULL, NULL) ORDER BY day"


@pytest.fixture
def stripe():
    fake = FakeStripe()
    yield fake
    fake.stop()


@pytest.fixture
def till(db, owner, stripe):
    return Till(db, owner, stripe)


@pytest.fixture
def paid(till, stripe, new_license):
    """A license whose payment went back in part, and was disputed: 500 credits, 100 used, 167 and the rest taken."""
    made = new_license(credits=0)
    license = SimpleNamespace(id=made.id, key=made.key, session_id=till.begin(made))
    till.send(license, stripe.completed(license.session_id))
    ledger.deduct(till.db, license.key, uuid4(), amount=100)
    till.send(license, stripe.refunded(license.session_id, 333))
    assert till.state(license) == (CREDITS - 100 - 167, 0)
    return license


def roll_up(db):
    while admin.roll_up_business(db):
        pass


def found(owner):
    return [row.detail for row in ledger.verify(owner) if row.rule == BUSINESS]


def test_the_overview_is_the_same_before_and_after(past, paid, new_license, db, owner, ages, archived, clean, sql):
    past.generate(25, is_delivered=False)
    ages(80)
    later = new_license(credits=70)
    ages(1)
    ledger.deduct(db, later.key, uuid4(), amount=9)
    # So that what lapsed meanwhile is booked.
    outline(past)
    before = sql(OVERVIEW)

    # The license with an answer that may not have arrived keeps its last entries: a day of both.
    outcome = archived()

    assert (outcome.licenses, outcome.kept, outcome.disagreeing) == (2, 1, 0)
    assert sql(OVERVIEW) == before
    assert sum(row[2] for row in before) == 25 + sum((80, 0, 45, 20, 3, 11)) + 100 + 9
    clean()
    archived(with_undelivered=True)
    assert [row[:9] for row in sql(OVERVIEW)] == [row[:9] for row in before]
    clean()


def test_only_what_is_counted_for_good_may_go(past, owner, ages, clean, archived, sql):
    ages(80)
    while usage.roll_up(owner, past.license.id):
        pass
    wanted = Wanted(datetime.now(UTC), 1000, False)
    assert archive.prepare(owner, past.license.id, wanted) is None

    roll_up(owner)
    sql("UPDATE obol.business_rollups SET is_final = false")
    assert archive.prepare(owner, past.license.id, wanted) is None
    assert found(owner) == []

    roll_up(owner)
    ((last,),) = sql("SELECT entry_count FROM obol.licenses")
    assert archive.prepare(owner, past.license.id, wanted) == Numbers(1, last)
    assert archived().files == 1
    clean()


@pytest.mark.tampers
@pytest.mark.parametrize(
    "what",
    [
        "UPDATE obol.business_rollups SET charged = charged + 1 WHERE charged > 0",
        "UPDATE obol.business_rollups SET total = total - 1 WHERE begins_at < now() - interval '79 days'",
        "DELETE FROM obol.business_rollups",
        "UPDATE obol.archived_days SET granted = granted + 1",
        "DELETE FROM obol.archived_days",
        "SET session_replication_role = replica; DELETE FROM obol.ledger_entries",
    ],
)
def test_verify_still_compares_the_days_of_what_is_archived(past, owner, ages, archived, sql, what):
    past.generate(25, is_delivered=False)
    ages(80)
    assert archived().files == 1
    assert found(owner) == []
    sql(what)
    assert found(owner) != []


def test_money_that_comes_back_finds_what_was_taken_in_the_archive(paid, till, stripe, owner, ages, archived, clean):
    till.send(paid, stripe.dispute(paid.session_id, "created", "needs_response"))
    assert till.state(paid) == (0, 100)
    ages(80)
    before = till.payment(paid)
    assert archived().files == 1
    assert till.payment(paid) == before
    clean()

    till.send(paid, stripe.dispute(paid.session_id, "closed", "won"))
    assert till.state(paid) == (CREDITS - 100 - 167, 0)
    till.send(paid, stripe.refunded(paid.session_id, 900))
    assert till.state(paid) == (0, 50)
    clean()
    till.send(paid, stripe.refunded(paid.session_id, PRICE))
    assert till.state(paid) == (0, 100)
    clean()
    assert payments.list_payments(till.db, paid.id, digest=paid.key.digest, limit=1)[0].refunded == PRICE


@pytest.mark.tampers
@pytest.mark.parametrize("what", ["archived_voided = archived_voided - 1", "archived_taken = archived_taken - 1"])
def test_the_files_say_what_was_taken_back(paid, owner, ages, archived, folder, sql, what):
    ages(80)
    archived()
    sql(f"UPDATE obol.payment_grants SET {what}")
    ((grant_id,),) = sql("SELECT grant_id FROM obol.payment_grants")
    assert [row.detail for row in archivecheck.check(owner, folder)] == [
        f"what was voided of the grants of payments {grant_id}"
    ]


@pytest.mark.tampers
def test_verify_looks_at_what_was_taken_back(paid, owner, ages, archived, sql):
    ages(80)
    archived()
    sql("UPDATE obol.payment_grants SET archived_taken = archived_voided + 1")
    assert ARCHIVED_VOIDS in {row.rule for row in ledger.verify(owner)}
