"""obol.grant_credits: credits given once, and which error wins."""

from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import credits, licenses

MOST = 2**63 - 1


def grant(owner, license, amount=100, *, key=None, grant_id=None, fingerprint=b"one", reference=None):
    return credits.grant(owner, license.id, grant_id or uuid4(), amount, key, fingerprint, reference)


def test_gives_credits_and_books_an_entry(owner, new_license, sql):
    license = new_license(credits=1000)
    grant_id = uuid4()

    result = grant(owner, license, 300, grant_id=grant_id, reference="invoice 7")

    assert (result.grant_id, result.amount, result.balance) == (grant_id, 300, 1300)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " ORDER BY entry_no DESC LIMIT 1"
    ) == [(2, "grant", 300, 1300, str(grant_id), "invoice 7")]


def test_leaves_what_is_held_alone(db, owner, new_license, client_hold):
    license = new_license(credits=10)
    client_hold(license, 10)
    grant(owner, license, 5)

    found = licenses.find(db, license.key)
    assert (found.balance, found.held, found.available) == (15, 10, 5)


def test_a_suspended_license_can_be_given_credits(owner, new_license):
    license = new_license(credits=10)
    licenses.set_status(owner, license.id, "suspended")

    assert grant(owner, license, 5).balance == 15


def test_the_same_id_again_gives_nothing_more(owner, new_license, contents):
    license = new_license(credits=0)
    grant_id = uuid4()
    first = grant(owner, license, 300, grant_id=grant_id)
    grant(owner, license, 1)
    before = contents()

    assert grant(owner, license, 300, grant_id=grant_id) == first
    assert contents() == before


def test_the_same_key_again_gives_nothing_more(owner, new_license, contents):
    license = new_license(credits=0)
    first = grant(owner, license, 300, key="k")
    grant(owner, license, 1)
    before = contents()

    assert grant(owner, license, 300, key="k") == first
    assert contents() == before


def test_a_key_guards_its_payload(owner, new_license, refused):
    license = new_license()
    grant(owner, license, key="k")

    with refused("idempotency_key_reused"):
        grant(owner, license, key="k", fingerprint=b"another")


def test_an_operator_s_key_is_not_a_client_s(db, owner, new_license):
    license = new_license(credits=100)
    credits.deduct(db, license.key, uuid4(), 1, "k", b"a deduction", None)

    assert grant(owner, license, 10, key="k").balance == 109
    assert credits.deduct(db, license.key, uuid4(), 1, "k", b"a deduction", None).balance == 99


def test_licenses_do_not_share_keys(owner, new_license):
    assert grant(owner, new_license(credits=0), 1, key="k").balance == 1
    assert grant(owner, new_license(credits=2), 1, key="k").balance == 3


def test_the_balance_can_reach_the_most_and_not_pass_it(owner, new_license, refused):
    license = new_license(credits=10)
    assert grant(owner, license, MOST - 10).balance == MOST

    with refused("amount_invalid"):
        grant(owner, license, 1)


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
def test_which_error_wins(owner, new_license, refused, amount, unknown, reused, code):
    license = new_license()
    if reused:
        grant(owner, license, key="k")
    if unknown:
        license = license.__class__(uuid4(), "", license.key)

    with refused(code):
        grant(owner, license, amount, key="k", fingerprint=b"another")


def test_the_service_s_login_cannot_give_credits(db, new_license, refused):
    license = new_license()

    with refused("database_error") as problem:
        grant(db, license)
    assert isinstance(problem.value, Problem)
    assert not problem.value.outcome_unknown
