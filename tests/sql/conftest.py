"""What the tests of the functions share: their holds, a license with one of each thing, and the checks
that what is refused changes nothing."""

import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from factories import License

from service import keys
from service.keys import KeyDigest
from service.problems import Problem
from service.repository import grants, holds, ledger, licenses, limits
from service.repository.grants import Terms

sys.path.insert(0, str(Path(__file__).parent))

from hold_fixtures import *  # noqa: F403 - all of its fixtures


@pytest.fixture
def grant(owner):
    """`grant(license, amount=100, key=None)`: credits that an operator gives."""

    def give(license, amount=100, *, key=None, grant_id=None, fingerprint=b"a grant", reference=None, **terms):
        return grants.grant(
            owner,
            license.id,
            grant_id or uuid4(),
            amount=amount,
            terms=Terms(**terms),
            idempotency_key=key,
            fingerprint=fingerprint,
            reference=reference,
        )

    return give


@pytest.fixture
def new_key(owner):
    """`new_key(license, requests_per_minute=60)`: another key of a license, with limits, as a license of its own
    to call with."""

    def make(license, *, name="", expires_at=None, **limited):
        new = keys.make(license.id)
        made = limits.create_key(owner, new.digest, uuid4(), name=name, expires_at=expires_at, limits=limited or None)
        return License(license.id, new.license_key, new.digest, made.key_id)

    return make


@pytest.fixture
def refund(owner):
    """`refund(license, cause_id, amount=None, key=None)`: what an operator gives back."""

    def give_back(license, cause_id, amount=None, *, key=None, refund_id=None, fingerprint=b"a refund", reason="sorry"):
        return ledger.refund(
            owner,
            license.id,
            cause_id,
            refund_id=refund_id or uuid4(),
            amount=amount,
            reason=reason,
            idempotency_key=key,
            fingerprint=fingerprint,
        )

    return give_back


@pytest.fixture
def contents(sql):
    """`contents()`: every row of the tables that hold money, keys and answers; as a transaction sees
    them, when its cursor is given."""
    tables = (
        "licenses", "license_keys", "grants", "allotments", "holds", "ledger_entries", "idempotency_keys",
    )  # fmt: skip
    query = " UNION ALL ".join(f"SELECT '{name}', to_jsonb(t)::text FROM obol.{name} t" for name in tables)

    def read(cursor=None):
        if cursor is None:
            return sorted(sql(query))
        cursor.execute(query)
        return sorted(cursor.fetchall())

    return read


@pytest.fixture
def refused(contents):
    """`with refused("code"):` what is called raises this problem and changes nothing."""

    @contextmanager
    def check(code):
        before = contents()
        with pytest.raises(Problem) as caught:
            yield caught
        assert caught.value.code == code
        assert contents() == before

    return check


@pytest.fixture
def overtaken(at_once, waiting, contents):
    """`overtaken(license, call, statement)`: what becomes of a call that waits for the row of the license
    while the statement is done, and that nothing but the statement has changed anything."""

    def check(license, call, statement):
        changed = []

        def meanwhile(cursor):
            assert waiting() == 1
            cursor.execute(statement)
            changed.extend(contents(cursor))

        (outcome,) = at_once(license, [call], meanwhile)
        assert contents() == changed
        return outcome

    return check


@pytest.fixture(params=["suspended", "expired", "rotated"])
def cut_off(request, owner, sql):
    """`cut_off(license)`: from now on nothing is opened with the license or its key, for each of the reasons."""

    def end(license):
        if request.param == "suspended":
            licenses.set_status(owner, license.id, "suspended")
        elif request.param == "expired":
            sql("UPDATE obol.licenses SET expires_at = clock_timestamp() WHERE license_id = %s", (str(license.id),))
        else:
            licenses.rotate_key(owner, KeyDigest(license.id, b"n" * 32), 0)

    return end


# What verify finds


@dataclass
class OneOfEach:
    """A license with one of each thing, and the ids of what was done."""

    license_id: UUID
    grant: UUID
    deduction: UUID
    refunded: UUID
    charged: UUID
    client_charged: UUID
    client_open: UUID
    process_open: UUID
    released: UUID


@pytest.fixture
def one_of_each(db, process_id, new_license, client_hold, process_hold, settle, deduct, grant, refund):
    """Entries: 1 grant 1000, 2 grant 7, 3 deduction 100, 4 charge 50, 5 refund of entry 3, 6 deduction 3,
    7 charge 25 of a client's hold of 40, so that the balance is 929; open holds of 30 and 20; and beside
    it another license, which is in order."""
    license, other = new_license(credits=1000), new_license(credits=1000)
    granted = grant(license, 7, key="g")
    refunded = deduct(license, 100, key="d")
    charged = process_hold(license, 60, key="c")
    settle(license, charged, 50, answer=b"sealed")
    settle(other, process_hold(other), 50)
    refund(license, refunded.deduction_id)
    deduction = deduct(license, 3, key="e")
    client_charged = client_hold(license, 40, key="i")
    holds.settle(db, license.key, client_charged.hold_id, amount=25)
    client_open, process_open = client_hold(license, 30, key="h"), process_hold(license, 20, key="p")
    released = process_hold(license, 10, key="r")
    holds.release(db, license.key, released.hold_id, process_id=process_id)
    return OneOfEach(
        license.id,
        granted.grant_id,
        deduction.deduction_id,
        refunded.deduction_id,
        charged.hold_id,
        client_charged.hold_id,
        client_open.hold_id,
        process_open.hold_id,
        released.hold_id,
    )


@pytest.fixture
def tamper(owner, sql, one_of_each):
    """`tamper(statements, {rule: detail})`: once these are done, verify finds these rules broken and no
    others, of this license and no other, and says this of them."""

    def check(statements, expected):
        ids = {name: str(value) for name, value in vars(one_of_each).items()}
        sql(statements, ids)

        findings = ledger.verify(owner)

        assert {finding.license_id for finding in findings} == {one_of_each.license_id}
        assert {finding.rule for finding in findings} == set(expected)
        for rule, detail in expected.items():
            assert any(detail % ids in finding.detail for finding in findings if finding.rule == rule)

    return check


@pytest.fixture
def rules_of(sql):
    """`rules_of(function)`: the rules that a function of verify looks at."""

    def read(function):
        ((source,),) = sql("SELECT prosrc FROM pg_proc WHERE oid = %s::regproc", (f"obol.{function}",))
        rules = re.findall(r"SELECT \w+\.license_id, '([^']+)'", source)
        assert len(rules) == source.count("\n    UNION ALL") + 1
        return set(rules)

    return read
