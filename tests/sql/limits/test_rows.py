"""A key and a license without limits cost nothing more: the rows that each call writes, table by table."""

from uuid import uuid4

import psycopg2
import pytest

from service.repository import licenses

WRITTEN = """
    SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
     WHERE schemaname = 'obol' AND n_tup_ins + n_tup_upd + n_tup_del > 0
"""


@pytest.fixture
def written(urls):
    """`written(statement, *parameters)`: how many rows it writes in which table; it is committed."""

    def count(statement, *parameters):
        connection = psycopg2.connect(urls.owner)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                cursor.execute(WRITTEN)
                return dict(cursor.fetchall())
        finally:
            connection.close()

    return count


@pytest.fixture
def deduct_statement():
    def make(license):
        return (
            "SELECT * FROM obol.deduct(%s, %s, %s, 1, NULL, NULL, NULL)",
            str(license.id), license.key.digest, str(uuid4()),
        )  # fmt: skip

    return make


def test_a_call_without_limits_writes_what_it_wrote_before(new_license, deduct, written, deduct_statement):
    license = new_license()
    deduct(license)

    assert written(*deduct_statement(license)) == {"licenses": 1, "ledger_entries": 1}


def test_so_does_a_hold(new_license, deduct, written):
    license = new_license()
    deduct(license)
    hold = str(uuid4())
    opened = (
        "SELECT * FROM obol.open_hold(%s, %s, %s, NULL, 5, 5, 60, NULL, NULL, NULL, NULL, NULL, NULL)",
        str(license.id), license.key.digest, hold,
    )  # fmt: skip
    settled = (
        "SELECT * FROM obol.settle_hold(%s, %s, %s, NULL, 3, NULL, NULL, NULL, NULL)",
        str(license.id), license.key.digest, hold,
    )  # fmt: skip

    assert written(*opened) == {"licenses": 1, "holds": 1}
    assert written(*settled) == {"licenses": 1, "holds": 1, "ledger_entries": 1}


def test_the_use_of_a_key_is_one_row_an_hour(new_license, written, deduct_statement, sql):
    license = new_license()
    noted = {"licenses": 1, "ledger_entries": 1, "license_keys": 1}
    assert written(*deduct_statement(license)) == noted
    assert "license_keys" not in written(*deduct_statement(license))
    sql("UPDATE obol.license_keys SET last_used_at = last_used_at - interval '61 minutes'")
    assert written(*deduct_statement(license)) == noted


def test_a_limited_one_is_a_row_for_each_that_is_limited(
    owner, new_license, new_key, deduct, written, deduct_statement
):
    license = new_license()
    key = new_key(license, credits_per_day=10)
    licenses.set_license(owner, license.id, limits={"requests_per_minute": 10})
    deduct(key)

    assert written(*deduct_statement(key)) == {"licenses": 1, "ledger_entries": 1, "limit_states": 2}
