"""obol.deduct_batch: whatever is asked of whatever licenses, it answers and books as deduct_v2 does for one item after
the other."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.problems import Problem
from service.repository import ledger, licenses, limits, webhooks
from service.repository.ledger import BatchItem, Deduction

TOMORROW = timedelta(days=1)


class Licenses:
    """One license of each kind that a deduction can meet."""

    def __init__(self, owner, sql, new_license, client_hold, grant):
        self.kinds = {
            "plain": new_license(credits=1000),
            "poor": new_license(credits=5),
            "held": new_license(credits=100),
            "suspended": new_license(),
            "expired": new_license(),
            "without a key": new_license(),
            "limited": new_license(),
            "of a limited key": new_license(),
            "alerting": new_license(credits=100),
            "starting": new_license(credits=0),
            "known": new_license(credits=100),
        }
        ids = {kind: license.id for kind, license in self.kinds.items()}
        client_hold(self.kinds["held"], 90)
        licenses.set_status(owner, ids["suspended"], "suspended")
        sql("UPDATE obol.licenses SET expires_at = clock_timestamp() WHERE license_id = %s", (str(ids["expired"]),))
        limits.revoke_key(owner, ids["without a key"], self.kinds["without a key"].key_id)
        licenses.set_license(owner, ids["limited"], limits={"credits_per_day": 30})
        limited = self.kinds["of a limited key"]
        limits.set_key(owner, limited.id, limited.key_id, limits={"credits_per_day": 30})
        webhooks.set_alerts(owner, ids["alerting"], alerts={"credits": [80, 60]})
        grant(self.kinds["starting"], 50, starts_at=datetime.now(UTC) + TOMORROW)
        starting = (str(ids["starting"]),)
        sql("UPDATE obol.grants SET starts_at = clock_timestamp() WHERE license_id = %s", starting)
        sql("UPDATE obol.licenses SET next_change_at = clock_timestamp() WHERE license_id = %s", starting)
        ledger.deduct_by_id(
            owner, ids["known"], uuid4(), amount=1, idempotency_key="a", fingerprint=fingerprint_of(1), reference="a"
        )
        ids["missing"] = uuid4()
        self.ids = ids


def fingerprint_of(amount):
    return f"{amount}".encode()


ITEMS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("plain", "poor", "held", "suspended", "expired", "without a key", "limited", "of a limited key"),
                *("alerting", "starting", "known", "missing"),
            ]
        ),
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
    return result.code, result.detail, {name: value for name, value in result.extra.items() if name != "retry_after_s"}


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=ITEMS)
def test_a_batch_is_its_items_one_after_the_other(
    owner, sql, new_license, client_hold, grant, verified, entries_of, items
):
    in_one, in_turn = (Licenses(owner, sql, new_license, client_hold, grant).ids for _ in range(2))

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
    for kind in in_one:
        assert entries_of(in_one[kind]) == entries_of(in_turn[kind]), kind
    assert verified() == []
    # And all of it again is what it was, but for what was refused.
    again = ledger.deduct_batch(owner, batch)
    for before, after in zip(results, again, strict=True):
        assert after == before or isinstance(before, Problem)
    assert verified() == []


@pytest.fixture
def entries_of(sql):
    """`entries_of(license_id)`: what a license's balance, entries, keys, acts and events say, without times and ids."""

    def read(license_id: UUID):
        of = {"id": str(license_id)}
        return (
            sql("SELECT balance, held, entry_count, notify_below FROM obol.licenses WHERE license_id = %(id)s", of),
            sql(
                "SELECT entry_no, kind, amount, balance_after, reference, key_id FROM obol.ledger_entries "
                "WHERE license_id = %(id)s ORDER BY entry_no",
                of,
            ),
            sql(
                "SELECT k.scope, k.idempotency_key, k.fingerprint::text, k.in_force, e.entry_no "
                "FROM obol.idempotency_keys k LEFT JOIN obol.ledger_entries e USING (license_id, cause_id) "
                "WHERE license_id = %(id)s AND scope = 'license' ORDER BY 1, 2",
                of,
            ),
            sql(
                "SELECT a.actor, a.act, a.detail, e.entry_no FROM obol.admin_acts a JOIN obol.ledger_entries e "
                "ON e.license_id = a.license_id AND e.cause_id::text = a.target AND e.kind = 'deduction' "
                "WHERE a.license_id = %(id)s ORDER BY e.entry_no",
                of,
            ),
            sql(
                "SELECT type, data FROM obol.events WHERE license_id = %(id)s AND type LIKE 'license%%' ORDER BY 1", of
            ),
        )

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
