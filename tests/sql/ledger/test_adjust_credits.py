"""obol.adjust_credits: a balance corrected once, either way, and never into what is held."""

from dataclasses import replace
from uuid import uuid4

import pytest

from service.repository import ledger, licenses

MOST = 2**63 - 1


@pytest.fixture
def adjust(owner):
    """`adjust(license, amount, key=None)`: a correction by an operator."""

    def correct(license, amount, *, key=None, adjustment_id=None, fingerprint=b"an adjustment"):
        return ledger.adjust(
            owner,
            license.id,
            adjustment_id or uuid4(),
            amount=amount,
            reason="a typing error",
            idempotency_key=key,
            fingerprint=fingerprint,
        )

    return correct


@pytest.mark.parametrize(("amount", "balance"), [(300, 1300), (-300, 700), (-1000, 0)])
def test_corrects_the_balance_and_books_an_entry(new_license, adjust, sql, amount, balance):
    license = new_license(credits=1000)
    adjustment_id = uuid4()

    assert adjust(license, amount, adjustment_id=adjustment_id) == (adjustment_id, amount, balance)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " ORDER BY entry_no DESC LIMIT 1"
    ) == [(2, "adjustment", amount, balance, str(adjustment_id), "a typing error")]
    assert sql("SELECT * FROM obol.verify()") == []


def test_takes_nothing_of_what_is_held(db, new_license, client_hold, adjust, refused):
    license = new_license(credits=10)
    client_hold(license, 7)

    with refused("insufficient_credits") as problem:
        adjust(license, -4)
    assert problem.value.extra == {"required": 4, "available": 3}
    assert adjust(license, -3).balance == 7
    found = licenses.find(db, license.key)
    assert (found.balance, found.held, found.available) == (7, 7, 0)


@pytest.mark.parametrize("repeat", [{"adjustment_id": uuid4()}, {"key": "k"}])
def test_the_same_again_corrects_nothing_more(new_license, adjust, contents, repeat):
    license = new_license(credits=100)
    first = adjust(license, -60, **repeat)
    adjust(license, 1)
    before = contents()

    # There would not be enough for it a second time.
    assert adjust(license, -60, **repeat) == first
    assert contents() == before


def test_a_grant_s_key_is_not_an_adjustment_s(new_license, grant, adjust, refused):
    license = new_license(credits=100)
    grant(license, 1, key="k")

    with refused("idempotency_key_reused"):
        adjust(license, 1, key="k")


def test_the_balance_can_reach_the_most_and_not_pass_it(new_license, adjust, refused):
    license = new_license(credits=10)
    assert adjust(license, MOST - 10).balance == MOST

    with refused("amount_invalid"):
        adjust(license, 1)
    assert adjust(license, -MOST).balance == 0


@pytest.mark.parametrize(
    ("amount", "unknown", "reused", "code"),
    [
        (0, True, True, "amount_invalid"),
        (None, True, True, "amount_invalid"),
        (-MOST - 1, True, True, "amount_invalid"),
        (-MOST, True, True, "license_invalid"),
        (-MOST, False, True, "idempotency_key_reused"),
        (-MOST, False, False, "insufficient_credits"),
        (MOST, False, False, "amount_invalid"),
    ],
)
def test_which_error_wins(new_license, adjust, refused, amount, unknown, reused, code):
    license = new_license()
    if reused:
        adjust(license, 1, key="k")
    if unknown:
        license = replace(license, id=uuid4())

    with refused(code):
        adjust(license, amount, key="k", fingerprint=b"another")


def test_one_that_waited_for_the_credits_to_be_spent_takes_nothing(new_license, adjust, overtaken):
    license = new_license(credits=100)
    first = f"SELECT obol.adjust_credits('{license.id}', '{uuid4()}', -70, NULL, NULL, 'the first')"

    assert overtaken(license, lambda: adjust(license, -40), first) == "insufficient_credits"


def test_the_service_s_login_cannot_adjust(db, new_license, refused):
    license = new_license()

    with refused("admin_forbidden"):
        ledger.adjust(db, license.id, uuid4(), amount=1, reason="why not")
