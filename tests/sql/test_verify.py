"""obol.verify: every rule finds the fault that it is there for, and names license and row."""

from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from service.repository import credits, holds

BALANCE_IS_SUM = "balance is the sum of the entries"
HELD_IS_SUM = "held is the sum of the open holds"
HELD_IN_BALANCE = "0 <= held <= balance"
COUNTER = "the entry counter is the last entry number"
GAPS = "entry numbers have no gaps"
CHAIN = "balances chain"
ONE_CHARGE = "a settled hold has exactly one charge, no other hold has one"
CHARGE_NAMES_HOLD = "a charge names its hold and carries its price"
PRICE_TIMES_USAGE = "a charge is its price times its usage"
REFUND = "a refund gives back what its entry took"
DELIVERED = "a delivered answer is paid for"
CLIENT_CHARGE = "a client is charged what it held at most"
KEY_NAMES = "an idempotency key in force names what it did"
KEY_FREED = "a freed idempotency key names nothing that was charged"


@dataclass
class Book:
    """A license with one of each thing, and the ids of what was done."""

    license_id: UUID
    grant: UUID
    deduction: UUID
    charged: UUID
    client_open: UUID
    process_open: UUID
    released: UUID


@pytest.fixture
def book(db, owner, process_id, new_license, client_hold, process_hold, settle):
    """Entries: 1 grant 1000, 2 grant 7, 3 deduction 100, 4 charge 50, 5 refund of the deduction,
    and open holds of 30 and 20; and beside it another license, which is in order."""
    license, other = new_license(credits=1000), new_license(credits=1000)
    grant = credits.grant(owner, license.id, uuid4(), 7, "g", b"one", None)
    deduction = credits.deduct(db, license.key, uuid4(), 100, "d", b"one", None)
    charged = process_hold(license, 60, key="c")
    settle(license, charged, 50, answer=b"sealed")
    settle(other, process_hold(other), 50)
    credits.refund(owner, license.id, deduction.deduction_id, "sorry")
    client_open, process_open = client_hold(license, 30, key="h"), process_hold(license, 20, key="p")
    released = process_hold(license, 10, key="r")
    holds.release(db, license.key, released.hold_id, process_id)
    return Book(
        license.id,
        grant.grant_id,
        deduction.deduction_id,
        charged.hold_id,
        client_open.hold_id,
        process_open.hold_id,
        released.hold_id,
    )


def test_a_ledger_in_order_has_no_findings(db, book):
    assert credits.verify(db) == []


def test_an_empty_ledger_has_no_findings(db):
    assert credits.verify(db) == []


HOLD = "WHERE license_id = %(license_id)s AND hold_id = "
ENTRY = "WHERE license_id = %(license_id)s AND entry_no = "

TAMPERED = {
    "credits added": (
        "UPDATE obol.licenses SET balance = balance + 1 WHERE license_id = %(license_id)s",
        {BALANCE_IS_SUM: "balance 958, entries sum to 957"},
    ),
    "credits taken from held": (
        "UPDATE obol.licenses SET held = held - 1 WHERE license_id = %(license_id)s",
        {HELD_IS_SUM: "held 49, open holds sum to 50"},
    ),
    "a hold that grew": (
        f"UPDATE obol.holds SET amount = 31 {HOLD} %(client_open)s",
        {HELD_IS_SUM: "held 50, open holds sum to 51"},
    ),
    "more held than there is": (
        "ALTER TABLE obol.licenses DROP CONSTRAINT licenses_check;"
        "UPDATE obol.licenses SET held = balance + 1 WHERE license_id = %(license_id)s",
        {HELD_IN_BALANCE: "held 958, balance 957", HELD_IS_SUM: "held 958"},
    ),
    "less than nothing held": (
        "ALTER TABLE obol.licenses DROP CONSTRAINT licenses_held_check;"
        "UPDATE obol.licenses SET held = -1 WHERE license_id = %(license_id)s",
        {HELD_IN_BALANCE: "held -1, balance 957", HELD_IS_SUM: "held -1"},
    ),
    "a counter ahead": (
        "UPDATE obol.licenses SET entry_count = 6 WHERE license_id = %(license_id)s",
        {COUNTER: "counter 6, 5 entries, the last is 5"},
    ),
    "the last entry gone": (
        f"DELETE FROM obol.ledger_entries {ENTRY} 5",
        {COUNTER: "counter 5, 4 entries, the last is 4", BALANCE_IS_SUM: "entries sum to 857"},
    ),
    "an entry gone from the middle": (
        f"DELETE FROM obol.ledger_entries {ENTRY} 2",
        {
            GAPS: "entry 3 follows entry 1",
            CHAIN: "entry 3: 1000 and -100 make 900, not 907",
            COUNTER: "counter 5, 4 entries, the last is 5",
            BALANCE_IS_SUM: "balance 957, entries sum to 950",
            KEY_NAMES: "%(grant)s",
        },
    ),
    "the first entry gone": (
        f"DELETE FROM obol.ledger_entries {ENTRY} 1",
        {GAPS: "entry 2 follows entry 0", CHAIN: "entry 2: 0 and 7", COUNTER: "", BALANCE_IS_SUM: ""},
    ),
    "a number skipped": (
        f"UPDATE obol.ledger_entries SET entry_no = 6 {ENTRY} 5;"
        "UPDATE obol.licenses SET entry_count = 6 WHERE license_id = %(license_id)s",
        {GAPS: "entry 6 follows entry 4", COUNTER: "counter 6, 5 entries, the last is 6"},
    ),
    "a balance that does not follow": (
        f"UPDATE obol.ledger_entries SET balance_after = 900 {ENTRY} 5",
        {CHAIN: "entry 5: 857 and 100 make 957, not 900"},
    ),
    "a first balance out of nothing": (
        f"UPDATE obol.ledger_entries SET balance_after = 1 {ENTRY} 1",
        {CHAIN: "entry 1: 0 and 1000 make 1000, not 1"},
    ),
    "a settled hold without its charge": (
        f"UPDATE obol.holds SET state = 'settled', ended_at = now() {HOLD} %(released)s",
        {ONE_CHARGE: "hold %(released)s is settled and has 0"},
    ),
    "a released hold with a charge": (
        f"UPDATE obol.holds SET state = 'released' {HOLD} %(charged)s",
        {ONE_CHARGE: "hold %(charged)s is released and has 1", KEY_NAMES: "%(charged)s"},
    ),
    "an open hold with a charge": (
        f"UPDATE obol.holds SET state = 'held', ended_at = NULL {HOLD} %(charged)s",
        {ONE_CHARGE: "hold %(charged)s is held and has 1", HELD_IS_SUM: "held 50, open holds sum to 110"},
    ),
    "a charge of no hold": (
        f"DELETE FROM obol.holds {HOLD} %(charged)s",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s", KEY_NAMES: "names %(charged)s"},
    ),
    "a charge at another price than the hold's": (
        f"""UPDATE obol.holds SET price = '{{"output": 1}}' {HOLD} %(charged)s""",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a charge without its price": (
        f"UPDATE obol.ledger_entries SET price = NULL {ENTRY} 4",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "more charged than was used": (
        f"""UPDATE obol.ledger_entries SET usage = '{{"output": 49}}' {ENTRY} 4""",
        {PRICE_TIMES_USAGE: "entry 4: charged 50, short by 0, price times usage is 49"},
    ),
    "less charged than was used": (
        f"""UPDATE obol.ledger_entries SET usage = '{{"output": 50, "cache_read": 1}}' {ENTRY} 4""",
        {PRICE_TIMES_USAGE: "entry 4: charged 50, short by 0, price times usage is 51"},
    ),
    "a shortfall that is none": (
        f"UPDATE obol.ledger_entries SET shortfall = 1 {ENTRY} 4",
        {PRICE_TIMES_USAGE: "entry 4: charged 50, short by 1, price times usage is 50"},
    ),
    "a usage that is no number": (
        f"""UPDATE obol.ledger_entries SET usage = '{{"output": "x"}}' {ENTRY} 4""",
        {PRICE_TIMES_USAGE: "entry 4: charged 50"},
    ),
    "a charge of another model": (
        f"UPDATE obol.ledger_entries SET model = 'dearer' {ENTRY} 4",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a generation without price and usage": (
        f"UPDATE obol.ledger_entries SET price = NULL, usage = NULL {ENTRY} 4;"
        f"UPDATE obol.holds SET price = NULL {HOLD} %(charged)s",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a charge without its usage": (
        f"UPDATE obol.ledger_entries SET usage = NULL {ENTRY} 4",
        {PRICE_TIMES_USAGE: "entry 4: charged 50", CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a refund of more than was taken": (
        f"UPDATE obol.ledger_entries SET amount = 101, balance_after = 958 {ENTRY} 5;"
        "UPDATE obol.licenses SET balance = 958 WHERE license_id = %(license_id)s",
        {REFUND: "entry 5: 101, its cause %(deduction)s took 100"},
    ),
    "a refund of nothing that is known": (
        f"UPDATE obol.ledger_entries SET cause_id = license_id {ENTRY} 5",
        {REFUND: "entry 5: 100, its cause %(license_id)s took "},
    ),
    "a key that names nothing": (
        "UPDATE obol.idempotency_keys SET cause_id = license_id"
        " WHERE license_id = %(license_id)s AND idempotency_key = 'd';"
        f"UPDATE obol.ledger_entries SET cause_id = gen_random_uuid() {ENTRY} 1",
        {KEY_NAMES: "key of scope license claimed at "},
    ),
    "a freed key back in force": (
        "UPDATE obol.idempotency_keys SET in_force = true WHERE idempotency_key = 'r'",
        {KEY_NAMES: "names %(released)s"},
    ),
    "a delivered answer that nobody paid for": (
        f"UPDATE obol.holds SET delivered_at = now() {HOLD} %(released)s",
        {DELIVERED: "hold %(released)s is released and was delivered at "},
    ),
    "a client charged more than it held": (
        f"UPDATE obol.holds SET process_id = NULL, expires_at = now(), amount = 49 {HOLD} %(charged)s",
        {CLIENT_CHARGE: "entry 4: charged 50, short by 0, hold %(charged)s was of 49"},
    ),
    "a charged key freed": (
        "UPDATE obol.idempotency_keys SET in_force = false WHERE idempotency_key = 'c'",
        {KEY_FREED: "names %(charged)s"},
    ),
    "a key whose generation expired": (
        f"UPDATE obol.holds SET state = 'expired', ended_at = now() {HOLD} %(process_open)s;"
        "UPDATE obol.licenses SET held = held - 20 WHERE license_id = %(license_id)s",
        {KEY_NAMES: "names %(process_open)s"},
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(db, book, sql, what):
    statements, expected = TAMPERED[what]
    ids = {name: str(value) for name, value in vars(book).items()}
    sql(statements, ids)

    findings = credits.verify(db)

    assert {finding.license_id for finding in findings} == {book.license_id}
    assert {finding.rule for finding in findings} == set(expected)
    for rule, detail in expected.items():
        assert any(detail % ids in finding.detail for finding in findings if finding.rule == rule)


def test_every_rule_is_tampered_with_above(sql):
    ((source,),) = sql("SELECT prosrc FROM pg_proc WHERE oid = 'obol.verify'::regproc")
    rules = set().union(*(expected for _, expected in TAMPERED.values()))

    assert source.count("UNION ALL") + 1 == len(rules)
    assert all(f"'{rule}'" in source for rule in rules)


@pytest.mark.tampers
def test_each_of_two_licenses_is_named(db, new_license, sql):
    two = {new_license().id, new_license().id}
    sql("UPDATE obol.licenses SET balance = balance + 1")

    assert {finding.license_id for finding in credits.verify(db)} == two
