"""obol.verify_acts: what operators did has its acts, and acts name what was done."""

from uuid import uuid4

import pytest
from tampering import (
    ACT_NAMES,
    GRANT,
    HAS_ACT,
    LICENSE,
    REFUND_HAS_ACT,
    REFUND_OF_ACT,
    TO_COME,
    TOKEN,
)

from service.keys import make_token
from service.repository import admin, ledger

ACT = """INSERT INTO obol.admin_acts (acted_at, actor, act, license_id, target, detail)
         VALUES (now(), 'cli:x', '{act}', %(license_id)s, {target}, '{detail}')"""


def act(name, target="gen_random_uuid()::text", detail='{"amount": 5}'):
    """One that somebody made up."""
    return ACT.format(act=name, target=target, detail=detail)


NEW = "11111111-1111-4111-8111-111111111111"

# one_of_each: entry 2 is a grant of 7, entry 5 a refund of the 100 of entry 3.
TAMPERED = {
    "the act of a grant gone": (
        f"DELETE FROM obol.admin_acts {LICENSE} AND target = %(grant)s",
        {HAS_ACT: "entry 2 is a grant of 7 credits, and no act says so"},
    ),
    "an act of another amount": (
        f"""UPDATE obol.admin_acts SET detail = '{{"amount": 8}}' {LICENSE} AND target = %(grant)s""",
        {HAS_ACT: "entry 2 is a grant of 7", ACT_NAMES: "is grant_credits of 8 credits to %(grant)s"},
    ),
    "credits that no function gave": (
        f"""INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started,
                                     reason, created_at)
            VALUES (%(license_id)s, '{NEW}', 500, 500, 50, now(), true, 'purchase', now());
            INSERT INTO obol.ledger_entries (license_id, entry_no, kind, amount, balance_after, cause_id, created_at)
            VALUES (%(license_id)s, 8, 'grant', 500, 1429, '{NEW}', now());
            INSERT INTO obol.allotments (license_id, grant_id, first_entry_no, last_entry_no, balance_from, balance_to)
            VALUES (%(license_id)s, %(license_id)s, 6, 7, 957, 929);
            UPDATE obol.grants SET credits_left = credits_left - 28 {GRANT} %(license_id)s;
            UPDATE obol.licenses SET balance = 1429, entry_count = 8, allotted_entry_no = 8 {LICENSE}""",
        {HAS_ACT: "entry 8 is a grant of 500 credits, and no act says so"},
    ),
    "credits that are to come": (
        f"""INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started,
                                     reason, created_at)
            VALUES (%(license_id)s, '{NEW}', 500, 500, 50, now() + interval '1 day', false, 'purchase', now());
            UPDATE obol.licenses SET next_change_at = now() + interval '1 day' {LICENSE}""",
        {TO_COME: f"grant {NEW} is of 500 credits"},
    ),
    "the act of a refund gone": (
        f"DELETE FROM obol.admin_acts {LICENSE} AND act = 'refund'",
        {REFUND_HAS_ACT: "1 refunds of 100 credits for %(refunded)s, and 0 acts"},
    ),
    "a refund that was none": (
        act("refund", "%(refunded)s", '{"amount": 100}'),
        {REFUND_OF_ACT: "2 acts of refunds of 100 credits for %(refunded)s, and 1 entries"},
    ),
    "a refund of what is no number": (
        act("refund", "%(refunded)s", '{"amount": "100"}'),
        {REFUND_OF_ACT: "for %(refunded)s, and 0 entries"},
    ),
    "a grant that was none": (act("grant_credits"), {ACT_NAMES: "is grant_credits of 5 credits to "}),
    "a grant of what is no number": (act("grant_credits", "%(grant)s", "[]"), {ACT_NAMES: "of %(grant)s"}),
    "an adjustment of what is no id": (act("adjust_credits", "'x'", "{}"), {ACT_NAMES: "is adjust_credits of x"}),
    "a deduction of more": (
        act("deduct", "%(deduction)s", '{"amount": 4}'),
        {ACT_NAMES: "deduct of 4 credits to %(deduction)s"},
    ),
    "a grant that was not voided": (act("void_grant", "%(grant)s", "{}"), {ACT_NAMES: "is void_grant of %(grant)s"}),
    "a key that was not made": (act("create_key"), {ACT_NAMES: "is create_key"}),
    "a key that was not changed": (act("set_key"), {ACT_NAMES: "is set_key"}),
    "a key that was not rotated": (act("rotate_license_key"), {ACT_NAMES: "is rotate_license_key"}),
    "a key that is not revoked": (
        act("revoke_key", "(SELECT key_id::text FROM obol.license_keys WHERE license_id = %(license_id)s)", "{}"),
        {ACT_NAMES: "is revoke_key"},
    ),
    "nothing: an act that is not looked at": (act("wave", "NULL", "{}"), {}),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(tamper, what, owner):
    statements, expected = TAMPERED[what]
    if expected:
        tamper(statements, expected)
    else:
        with pytest.raises(AssertionError):
            tamper(statements, expected)
        assert ledger.verify(owner) == []


@pytest.mark.tampers
@pytest.mark.parametrize("name", ["create_license", "set_license"])
def test_an_act_of_a_license_that_is_not_there_is_found(owner, sql, name):
    license_id = uuid4()
    sql(act(name, "NULL", "{}"), {"license_id": str(license_id)})

    (found,) = ledger.verify(owner)
    assert found == (license_id, ACT_NAMES, f"act 1 is {name} of the license")


@pytest.mark.tampers
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM obol.admin_acts",
        "UPDATE obol.admin_tokens SET scopes = scopes || ARRAY['grant']",
        "UPDATE obol.admin_tokens SET revoked_at = NULL",
        "UPDATE obol.admin_tokens SET is_first = true",
    ],
)
def test_a_token_that_no_act_made_so_is_found(owner, sql, statement):
    token_id = uuid4()
    admin.create_token(owner, token_id, digest=make_token().digest, name="shop", scopes=["read"])
    admin.revoke_token(owner, token_id)
    admin.register_first_token(owner, b"1" * 32)
    assert ledger.verify(owner) == []

    sql(f"{statement} WHERE {'true' if 'acts' in statement else 'name = %(name)s'}", {"name": "shop"})

    found = ledger.verify(owner)
    assert {(row.license_id, row.rule) for row in found} == {(None, TOKEN)}
    assert f"token {token_id}, shop: no act made it so" in {row.detail for row in found}


def test_what_was_before_the_trail_needs_no_acts(owner, one_of_each, sql):
    """As the migration leaves a database of 0.1.0."""
    sql("DELETE FROM obol.admin_acts; INSERT INTO obol.audit_starts SELECT license_id, entry_count FROM obol.licenses")

    assert ledger.verify(owner) == []


def test_the_service_s_own_refund_needs_no_act(owner, db, process_id, new_license, process_hold, settle):
    license = new_license()
    hold = process_hold(license, 50)
    settle(license, hold, 20)

    assert ledger.refund_withheld(db, license.id, hold.hold_id, process_id=process_id).amount == 20
    assert ledger.verify(owner) == []


def test_a_refund_in_sql_is_an_act(owner, new_license, deduct, sql):
    license = new_license()
    cause = deduct(license, 10).deduction_id
    sql("SELECT obol.refund(%s::uuid, %s::uuid, 'sorry')", (str(license.id), str(cause)))

    (act, *_) = admin.list_acts(owner)
    assert (act.act, act.license_id, act.target, act.detail) == (
        "refund",
        license.id,
        str(cause),
        {"amount": 10, "reason": "sorry"},
    )


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_acts") <= {TOKEN}.union(*(expected for _, expected in TAMPERED.values()))
