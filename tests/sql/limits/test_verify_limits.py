"""obol.verify_limits: what is counted in limits is what the holds and deductions took."""

import pytest

from service.repository import ledger

OPEN = "the open holds of a limit are those that count in it"
CREDITS = "the credits of a limit are what its holds and deductions took"

# 20 credits of an open hold, 30 of a charge, 10 of a deduction: 50 to 60.
TAMPERED = {
    "one hold too many": ("UPDATE obol.limit_states SET open_holds = 2", {OPEN}),
    "one hold too few": ("UPDATE obol.limit_states SET open_holds = 0", {OPEN}),
    "a day of less than its holds": ("UPDATE obol.limit_states SET day_credits = 49", {CREDITS}),
    "a day of more than everything": ("UPDATE obol.limit_states SET day_credits = 61", {CREDITS}),
    "a month of less than its holds": ("UPDATE obol.limit_states SET month_credits = 49", {CREDITS}),
    "a month of more than everything": ("UPDATE obol.limit_states SET month_credits = 61", {CREDITS}),
    "a day of deductions alone that has none": (
        "UPDATE obol.limit_states SET day = day + 9, day_credits = 1",
        {CREDITS},
    ),
    "nothing: the deduction may be of another key": ("UPDATE obol.limit_states SET day_credits = 50", set()),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found(owner, new_license, new_key, deduct, process_hold, settle, sql, what):
    statement, rules = TAMPERED[what]
    license = new_license()
    key = new_key(license, credits_per_day=100)
    deduct(key, 10)
    settle(key, process_hold(key, 40), 30)
    process_hold(key, 20)
    assert ledger.verify(owner) == []
    sql(statement)

    findings = ledger.verify(owner)
    assert {(finding.license_id, finding.rule) for finding in findings} == {(license.id, rule) for rule in rules}


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_limits") == {OPEN, CREDITS}
