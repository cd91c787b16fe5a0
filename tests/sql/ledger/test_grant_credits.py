"""obol.grant_credits: credits given once, and which error wins."""

from dataclasses import replace
from uuid import uuid4

import pytest

from service.repository import grants, licenses

MOST = 2**63 - 1


def test_gives_credits_and_books_an_entry(new_license, grant, sql):
    license = new_license(credits=1000)
    grant_id = uuid4()

    result = grant(license, 300, grant_id=grant_id, reference="invoice 7")

    assert (result.grant_id, result.amount, result.balance) == (grant_id, 300, 1300)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " ORDER BY entry_no DESC LIMIT 1"
    ) == [(2, "grant", 300, 1300, str(grant_id), "invoice 7")]


def test_leaves_what_is_held_alone(db, new_license, client_hold, grant):
    license = new_license(credits=10)
    client_hold(license, 10)
    grant(license, 5)

    found = licenses.find(db, license.key)
    assert (found.balance, found.held, found.available) == (15, 10, 5)


def test_a_suspended_license_can_be_given_credits(owner, new_license, grant):
    license = new_license(credits=10)
    licenses.set_status(owner, license.id, "suspended")

    assert grant(license, 5).balance == 15


def test_the_same_id_again_gives_nothing_more(new_license, grant, contents):
    license = new_license(credits=0)
    grant_id = uuid4()
    first = grant(license, 300, grant_id=grant_id)
    grant(license, 1)
    before = contents()

    assert grant(license, 300, grant_id=grant_id) == first
    assert contents() == before


def test_the_same_key_again_gives_nothing_more(new_license, grant, contents):
    license = new_license(credits=0)
    first = grant(license, 300, key="k")
    grant(license, 1)
    before = contents()

    assert grant(license, 300, key="k") == first
    assert contents() == before


def test_a_key_guards_its_payload(new_license, grant, refused):
    license = new_license()
    grant(license, key="k")

    with refused("idempotency_key_reused"):
        grant(license, key="k", fingerprint=b"another")


def test_an_operator_s_key_is_not_a_client_s(new_license, deduct, grant):
    license = new_license(credits=100)
    deduct(license, 1, key="k")

    assert grant(license, 10, key="k").balance == 109
    assert deduct(license, 1, key="k").balance == 99


def test_licenses_do_not_share_keys(new_license, grant):
    assert grant(new_license(credits=0), 1, key="k").balance == 1
    assert grant(new_license(credits=2), 1, key="k").balance == 3


def test_the_balance_can_reach_the_most_and_not_pass_it(new_license, grant, refused):
    license = new_license(credits=10)
    assert grant(license, MOST - 10).balance == MOST

    with refused("amount_invalid"):
        grant(license, 1)


@pytest.mark.parametrize(
    ("amount", "unknown", "reused", "code"),
    [
        (0, True, True, "amount_invalid"),
        (-1, True, True, "amount_invalid"),
        (None, True, True, "amount_invalid"),
        (MOST, True, True, "license_invalid"),
        (MOST, False, True, "idempotency_key_reused"),
        (MOST, False, False, "amount_invalid"),
    ],
)
def test_which_error_wins(new_license, grant, refused, amount, unknown, reused, code):
    license = new_license()
    if reused:
        grant(license, key="k")
    if unknown:
        license = replace(license, id=uuid4())

    with refused(code):
        grant(license, amount, key="k", fingerprint=b"another")


def test_the_service_s_login_cannot_give_credits(db, new_license, refused):
    license = new_license()

    with refused("admin_forbidden"):
        grants.grant(db, license.id, uuid4(), amount=1)
