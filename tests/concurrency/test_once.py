"""What an operator does, many times at once, is done once."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from service import operator
from service.keys import KeyDigest
from service.repository import licenses

THREADS = 20


def test_one_refund_gives_back_once(owner, new_license, deduct, at_once):
    license = new_license(credits=1000)
    deduction_id = deduct(license, 100).deduction_id

    results = at_once(license, [lambda: operator.refund(owner, license.id, deduction_id, reason="sorry")] * THREADS)

    assert {(refund.amount, refund.balance) for refund in results} == {(100, 1000)}
    assert len(set(results)) == 1


def test_one_key_of_an_operator_is_one_grant(owner, new_license, at_once, money):
    license = new_license(credits=0)

    def grant():
        return operator.grant_credits(owner, license.id, 100, idempotency_key="k")

    results = at_once(license, [grant] * 5)

    assert len(set(results)) == 1
    assert money(license) == (100, 0)


def test_one_license_is_made_once(owner, sql):
    license_id = uuid4()

    def create(n):
        key = KeyDigest(license_id, bytes([n]) * 32)
        return licenses.create(owner, key, name="Ada", credits=100, fingerprint=b"one")

    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(create, range(5)))

    assert sorted(result.created for result in results) == [False] * 4 + [True]
    assert sql("SELECT count(*), sum(balance) FROM obol.licenses") == [(1, 100)]
    assert sql("SELECT count(*) FROM obol.license_keys") == [(1,)]


def test_of_rotations_at_once_one_key_stays(owner, new_license, at_once, sql):
    license = new_license()

    at_once(
        license,
        [lambda n=n: licenses.rotate_key(owner, KeyDigest(license.id, bytes([n]) * 32), 0) for n in range(1, 6)],
    )

    assert sql("SELECT count(*) FROM obol.license_keys WHERE expires_at IS NULL") == [(1,)]
    assert sql("SELECT count(*) FROM obol.license_keys") == [(6,)]
