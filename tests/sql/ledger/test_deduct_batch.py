"""obol.deduct_batch: whatever is asked of whatever licenses, it answers and books as deduct_v2 does for one item after
the other."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.problems import Problem
from service.repository import grants, ledger, licenses, limits, webhooks
from service.repository.ledger import BatchItem, Deduction

TOMORROW = timedelta(days=1)
UUID_TEXT = re.compile("[0-9a-f]{8}-[0-9a-f-]{27}")


@pytest.fixture
def license_of(owner, sql, new_license, client_hold, grant):
    """`license_of(kind)`: the id of a new license, of each kind that a deduction can meet."""

    def held():
        license = new_license(credits=100)
        client_hold(license, 90)
        return license

    def suspended():
        license = new_license()
        licenses.set_status(owner, license.id, "suspended")
        return license

    def without_a_key():
        license = new_license()
        limits.revoke_key(owner, license.id, license.key_id)
        return license

    def limited():
        license = new_license()
        licenses.set_license(owner, license.id, limits={"credits_per_day": 30})
        return license

    def of_a_limited_key():
        license = new_license()
        limits.set_key(owner, license.id, license.key_id, limits={"credits_per_day": 30})
        return license

    def alerting():
        license = new_license(credits=100)
        webhooks.set_alerts(owner, license.id, alerts={"credits": [80, 60]})
        return license

    def starting():
        license = new_license(credits=0)
        grant(license, 50, starts_at=datetime.now(UTC) + TOMORROW)
        sql("UPDATE obol.grants SET starts_at = clock_timestamp() WHERE license_id = %s", (str(license.id),))
        sql("UPDATE obol.licenses SET next_change_at = clock_timestamp() WHERE license_id = %s", (str(license.id),))
        return license

    def known():
        license = new_license(credits=100)
        once = {"amount": 1, "idempotency_key": "a", "fingerprint": fingerprint_of(1), "reference": "a"}
        ledger.deduct_by_id(owner, license.id, uuid4(), **once)
        return license

    made = {
        "plain": lambda: new_license(credits=1000),
        "poor": lambda: new_license(credits=5),
        "held": held,
        "suspended": suspended,
        "expired": lambda: new_license(expires_at=datetime(2020, 1, 1, tzinfo=UTC)),
        "without a key": without_a_key,
        "limited": limited,
        "of a limited key": of_a_limited_key,
        "alerting": alerting,
        "starting": starting,
        "known": known,
    }
    return lambda kind: made[kind]().id if kind in made else uuid4()


KINDS = (
    *("plain", "poor", "held", "suspended", "expired", "without a key", "limited", "of a limited key", "alerting"),
    *("starting", "known", "missing"),
)


def fingerprint_of(amount):
    return f"{amount}".encode()


ITEMS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from([-1, 0, 1, 3, 20]),
        st.sampled_from("abcd"),
        st.sampled_from(["a", "", None]),
    ),
    min_size=1,
    max_size=14,
)


def answer(result):
    """What is said, without the ids that differ."""
    if isinstance(result, Deduction):
        return "deducted", result.amount, result.balance
    return (
        result.code,
        UUID_TEXT.sub("…", result.detail),
        {name: value for name, value in result.extra.items() if name != "retry_after_s"},
    )


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=ITEMS)
def test_a_batch_is_its_items_one_after_the_other(owner, license_of, said_of, items):
    kinds = sorted({kind for kind, *_ in items})
    in_one, in_turn = ({kind: license_of(kind) for kind in kinds} for _ in range(2))

    def made(ids):
        return [
            BatchItem(ids[kind], uuid4(), amount, key, fingerprint_of(amount), reference)
            for kind, amount, key, reference in items
        ]

    def one(item):
        try:
            return ledger.deduct_by_id(owner, **item._asdict())
        except Problem as problem:
            return problem

    batch = made(in_one)
    results = ledger.deduct_batch(owner, batch)
    one_by_one = [one(item) for item in made(in_turn)]

    assert [answer(result) for result in results] == [answer(result) for result in one_by_one]
    assert said_of(in_one) == said_of(in_turn)
    for ids in (in_one, in_turn):
        # Of whom nothing was taken is seen to by the heartbeat.
        for license_id in ids.values():
            grants.bring_up_to_date(owner, license_id)
    assert ledger.verify(owner) == []
    # And all of it again is what it was, but for what was refused.
    again = ledger.deduct_batch(owner, batch)
    for before, after in zip(results, again, strict=True):
        assert after == before or isinstance(before, Problem)
    assert ledger.verify(owner) == []


# What a license's row, entries, keys, acts and events say, without times and ids.
SAID = (
    "SELECT license_id, balance, held, entry_count, notify_below FROM obol.licenses "
    "WHERE license_id = ANY (%s::uuid[])",
    "SELECT license_id, entry_no, kind, amount, balance_after, reference, key_id FROM obol.ledger_entries "
    "WHERE license_id = ANY (%s::uuid[]) ORDER BY entry_no",
    "SELECT license_id, k.idempotency_key, k.fingerprint::text, k.in_force, e.entry_no FROM obol.idempotency_keys k "
    "LEFT JOIN obol.ledger_entries e USING (license_id, cause_id) "
    "WHERE license_id = ANY (%s::uuid[]) AND k.scope = 'license' ORDER BY k.idempotency_key",
    "SELECT license_id, a.actor, a.act, a.detail, e.entry_no FROM obol.admin_acts a JOIN obol.ledger_entries e "
    "USING (license_id) WHERE license_id = ANY (%s::uuid[]) AND e.kind = 'deduction' AND e.cause_id::text = a.target "
    "ORDER BY e.entry_no",
    "SELECT license_id, type, data - 'license_id' FROM obol.events WHERE license_id = ANY (%s::uuid[]) "
    "AND type LIKE 'license%%' ORDER BY event_no",
)


@pytest.fixture
def said_of(sql):
    """`said_of(ids)`: all that is said of these licenses, by kind of row and license."""

    def read(ids):
        kinds = {str(license_id): kind for kind, license_id in ids.items()}
        rows = [sql(query, ([*kinds],)) for query in SAID]
        return [{kind: [row[1:] for row in found if str(row[0]) == id] for id, kind in kinds.items()} for found in rows]

    return read


def test_what_waits_for_a_lock_goes_by_what_is_there_then(owner, at_once, new_license):
    license = new_license(credits=10)
    items = [BatchItem(license.id, uuid4(), 10, "a", b"", None)]

    (outcome,) = at_once(
        license,
        [lambda: ledger.deduct_batch(owner, items)],
        lambda cursor: cursor.execute(
            "UPDATE obol.licenses SET status = 'suspended' WHERE license_id = %s", (str(license.id),)
        ),
    )

    assert [result.code for result in outcome] == ["license_inactive"]


def test_without_the_scope_nothing_is_done(db, new_license, refused):
    items = [BatchItem(new_license().id, uuid4(), 10, "a", b"", None)]
    with refused("admin_forbidden"):
        ledger.deduct_batch(db, items)
