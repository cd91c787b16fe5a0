"""`obol verify`."""

import pytest
from ended import Ended


def test_verify_of_a_clean_ledger(obol, new_license):
    new_license()

    assert obol("verify") == Ended(0, "Clean: every balance is what its ledger says.\n", "")
    assert obol("verify", "--json").json == {"clean": True, "findings": []}


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
