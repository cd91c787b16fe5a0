"""`obol verify`."""

import pytest
from ended import Ended

from service.repository import ledger


def test_verify_of_a_clean_ledger(obol, new_license):
    new_license()

    assert obol("verify") == Ended(0, "Clean: every balance is what its ledger says.\n", "")
    assert obol("verify", "--json").json == {"clean": True, "findings": []}


def test_a_check_is_noted_for_who_looks_at_the_health(obol, owner):
    for arguments in ((), ("--since", "5m")):
        assert obol("verify", *arguments).code == 0
    whole, recent = ledger.list_verifications(owner)
    assert (whole.is_whole, whole.finding_count, recent.is_whole) == (True, 0, False)
    assert whole.actor.startswith("cli:")


@pytest.mark.tampers
def test_verify_names_each_row_that_disagrees(obol, new_license, sql):
    license, other = new_license(credits=10), new_license(credits=10)
    sql("UPDATE obol.licenses SET balance = 11 WHERE license_id = %s", (str(license.id),))

    found = obol("verify")
    assert found.code == 1
    first, second = found.out.splitlines()
    assert first == f"{license.id}: NOT balance is the sum of the entries: balance 11, entries sum to 10"
    assert second.startswith(f"{license.id}: NOT the balance is what the grants have left")
    assert str(other.id) not in found.out

    as_json = obol("verify", "--json")
    assert as_json.code == 1
    assert as_json.json["clean"] is False
    assert as_json.json["findings"][0] == {
        "license_id": str(license.id),
        "rule": "balance is the sum of the entries",
        "detail": "balance 11, entries sum to 10",
    }
    assert len(as_json.json["findings"]) == 2


@pytest.mark.tampers
def test_verify_since_looks_at_what_is_new(obol, new_license, sql):
    license = new_license(credits=10)
    clean = obol("verify", "--since", "5m")
    assert (clean.code, clean.err) == (0, "")
    assert clean.out.startswith("Clean: what was booked since 20")

    sql("UPDATE obol.licenses SET balance = 11")
    found = obol("verify", "--since", "2026-01-01", "--json")
    assert found.code == 1
    assert found.json["findings"] == [
        {
            "license_id": str(license.id),
            "rule": "balance is the sum of the entries",
            "detail": "balance 11, it was 10 after entry 1",
        }
    ]


@pytest.mark.parametrize("since", ["5x", "2999-01-01"])
def test_a_since_that_is_none_is_told_what_it_must_be(obol, since):
    refused = obol("verify", "--since", since)

    assert (refused.code, refused.out) == (2, "")
    assert "it must be a duration such as 90s, 5m, 2h or 1d, or a past time" in refused.err


@pytest.mark.tampers
def test_what_is_of_no_license_is_of_the_audit_trail(obol, sql):
    obol("token", "create", "--name", "shop", "--scopes", "read")
    sql("DELETE FROM obol.admin_acts")

    found = obol("verify")
    assert (found.code, found.out.startswith("audit trail: NOT a token is as its acts say: token ")) == (1, True)
    assert obol("verify", "--json").json["findings"][0]["license_id"] is None
