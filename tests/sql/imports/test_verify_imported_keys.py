"""obol.verify_imported_keys: imported keys lead to the licenses that they are keys of, and to no others."""

import pytest

from service.repository import ledger

OF_ITS_LICENSE = "an imported key is a key of its license"
OF_NO_OTHER = "an imported key is a key of no other license"


@pytest.mark.tampers
def test_an_imported_key_that_leads_elsewhere_is_found(owner, sql, new_imported, new_license):
    license, other = new_imported(), new_license()
    assert ledger.verify(owner) == []

    sql("UPDATE obol.imported_keys SET license_id = %s", (str(other.id),))
    found = {(finding.license_id, finding.rule) for finding in ledger.verify(owner)}
    assert found == {(other.id, OF_ITS_LICENSE), (license.id, OF_NO_OTHER)}


@pytest.mark.tampers
def test_a_key_that_is_gone_is_found(owner, sql, new_imported):
    license = new_imported()
    sql("DELETE FROM obol.license_keys")
    assert (license.id, OF_ITS_LICENSE) in {(finding.license_id, finding.rule) for finding in ledger.verify(owner)}
