"""obol.verify_since: of what was booked since a time and what is open, it finds what verify finds."""

import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tampering import ACT_NAMES, BALANCE_IS_SUM

from service.repository import ledger

ROOMS = Path(__file__).parent.parent

# What the tests of the rooms tamper with, all of it in entries of a moment ago.
CASES = {
    f"{file.parent.name}: {what}": case
    for file in sorted(ROOMS.glob("*/test_verify_*.py"))
    if file.parent.name in ("audit", "grants", "holds", "idempotency", "ledger", "licenses")
    and file.stem != Path(__file__).stem
    for what, case in runpy.run_path(str(file))["TAMPERED"].items()
}

# For these it takes all of the ledger: sums over entries, grants and roll-ups, and rows that nothing recent names.
UNSEEN = {
    "audit: credits that are to come",
    "audit: a refund that was none",
    "audit: a key that was not made",
    "audit: a key that was not changed",
    "audit: a key that was not rotated",
    "audit: a key that is not revoked",
    "grants: more drawn than was used",
    "holds: a settled hold without its charge",
    "idempotency: the key of a charge freed",
    "idempotency: the key of a deduction freed",
    "idempotency: the key of a refunded deduction freed",
    "idempotency: the key of a grant freed",
}


@pytest.fixture
def ago():
    """`ago(hours=1)`: a time."""
    return lambda **span: datetime.now(UTC) - timedelta(**span)


@pytest.mark.tampers
@pytest.mark.parametrize("what", CASES)
def test_what_verify_finds_in_recent_entries(owner, sql, one_of_each, ago, what):
    statements, expected = CASES[what]
    sql(statements, {name: str(value) for name, value in vars(one_of_each).items()})

    found = ledger.verify(owner, ago(hours=1))

    assert {row.license_id for row in found} <= {one_of_each.license_id}
    # A refund's act is looked for by itself, and a balance compared with the last entry's.
    assert {row.rule for row in found} <= {*expected, ACT_NAMES, BALANCE_IS_SUM}
    assert bool(found) == (what not in UNSEEN and bool(expected))


def test_a_ledger_in_order_has_no_findings(owner, one_of_each, ago):
    for since in (ago(hours=1), ago(days=400), ago(seconds=0)):
        assert ledger.verify(owner, since) == []


@pytest.mark.tampers
def test_what_was_before_is_trusted(owner, one_of_each, sql, ago):
    sql(
        "UPDATE obol.ledger_entries SET created_at = created_at - interval '2 days', amount = amount + 1"
        " WHERE entry_no = 2"
    )

    assert ledger.verify(owner, ago(hours=1)) == []
    assert ledger.verify(owner, ago(days=3)) != []


@pytest.mark.tampers
def test_a_hold_that_no_limit_counts_is_found(owner, new_license, client_hold, sql, ago):
    license = new_license()
    sql("UPDATE obol.licenses SET limits = jsonb_build_object('concurrent_holds', 3)")
    client_hold(license, 10)
    sql("UPDATE obol.limit_states SET open_holds = 2")

    (found,) = ledger.verify(owner, ago(hours=1))
    assert (found.license_id, found.rule) == (license.id, "the open holds of a limit are those that count in it")


@pytest.mark.tampers
def test_a_token_that_no_act_made_is_found(owner, sql, ago):
    sql(
        "INSERT INTO obol.admin_tokens (token_id, token_digest, name, scopes, created_at)"
        " VALUES (gen_random_uuid(), sha256('x'), 'x', ARRAY['grant'], now())"
    )

    (found,) = ledger.verify(owner, ago(hours=1))
    assert (found.license_id, found.rule) == (None, "a token is as its acts say")


def test_what_was_announced_and_voided_before_has_its_act_there(owner, new_license, grant, sql, ago):
    """A grant that starts today was given long ago, and is not looked for among the acts of today."""
    license = new_license()
    announced = grant(license, 5, starts_at=datetime.now(UTC) + timedelta(hours=1))
    sql(
        "UPDATE obol.admin_acts SET acted_at = acted_at - interval '3 days';"
        "UPDATE obol.grants SET created_at = created_at - interval '3 days', starts_at = clock_timestamp()"
        " WHERE grant_id = %(id)s;"
        "UPDATE obol.licenses SET next_change_at = clock_timestamp();"
        "SELECT obol.bring_up_to_date(license_id) FROM obol.licenses",
        {"id": str(announced.grant_id)},
    )
    sql("UPDATE obol.ledger_entries SET created_at = created_at - interval '3 days' WHERE entry_no = 1")
    sql(
        "UPDATE obol.grants SET created_at = created_at - interval '3 days' WHERE grant_id <> %(id)s",
        {"id": str(announced.grant_id)},
    )

    assert ledger.verify(owner, ago(hours=1)) == []
    assert sql(
        "SELECT count(*) FROM obol.ledger_entries WHERE kind = 'grant' AND created_at > now() - interval '1 h'"
    ) == [(1,)]


def test_it_is_not_for_the_service_s_login(db, refused, ago):
    with refused("database_error"):
        ledger.verify(db, ago(hours=1))
