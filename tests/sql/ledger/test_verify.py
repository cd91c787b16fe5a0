"""obol.verify: all of the verify_… functions, and nothing found where nothing is wrong.

What each of them finds is tested in its room, by tampering."""

import re

import pytest

from service.repository import ledger


def test_a_ledger_in_order_has_no_findings(owner, one_of_each):
    assert ledger.verify(owner) == []


def test_an_empty_ledger_has_no_findings(owner):
    assert ledger.verify(owner) == []


def test_it_is_not_for_the_service_s_login(db, refused):
    """It reads every row there is."""
    with refused("database_error"):
        ledger.verify(db)


@pytest.mark.tampers
def test_each_of_two_licenses_is_named(owner, new_license, sql):
    two = {new_license().id, new_license().id}
    sql("UPDATE obol.licenses SET balance = balance + 1")

    assert {finding.license_id for finding in ledger.verify(owner)} == two


def test_every_function_that_verifies_is_asked(sql):
    """By verify, and by verify_since those of what is recent."""
    there = {
        name
        for (name,) in sql(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'obol'::regnamespace AND proname LIKE 'verify\\_%'"
            " AND proname NOT IN ('verify_v2', 'verify_since')"
        )
    }
    asked = {
        function: re.findall(r"FROM obol\.(\w+)\(", source)
        for function, source in sql(
            "SELECT proname, prosrc FROM pg_proc WHERE oid IN ('obol.verify'::regproc, 'obol.verify_since'::regproc)"
        )
    }

    recent = {name for name in there if name.startswith("verify_recent")}
    assert sorted(asked["verify"]) == sorted(there - recent)
    assert sorted(asked["verify_since"]) == sorted(recent)
    assert {"verify_acts", "verify_grants", "verify_holds", "verify_idempotency", "verify_ledger"} < set(
        asked["verify"]
    )
