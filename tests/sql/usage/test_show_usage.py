"""obol.show_usage and obol.roll_up_usage: what was used is what the ledger says, wherever the roll-up stands."""

from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg2
import pytest
from factories import current_day
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.keys import KeyDigest
from service.pricing import CLASSES
from service.problems import Problem
from service.repository import holds, ledger, usage
from service.repository.holds import HoldAmounts
from service.repository.usage import FIGURES, Reader, UsageRow

FIRST, LAST = date(2026, 1, 1), date(2026, 12, 31)
PRICE = dict.fromkeys(CLASSES, 1_000_000)
ALL_TIME = {"first": date(2020, 1, 1), "last": date(2999, 12, 31)}
AT = "UPDATE obol.ledger_entries SET created_at = %s WHERE license_id = %s AND entry_no > %s"

# The same, from the entries alone, in other words.
LEDGER = """
    SELECT (e.created_at AT TIME ZONE 'UTC')::date, COALESCE(e.model, c.model), e.cause_id, e.kind,
           abs(e.amount), e.usage
      FROM obol.ledger_entries e
      LEFT JOIN obol.ledger_entries c ON c.license_id = e.license_id AND c.kind = 'charge' AND c.cause_id = e.cause_id
     WHERE e.license_id = %s AND e.kind IN ('charge', 'deduction', 'refund')
"""


def of_the_ledger(sql, license, key_ids, *, first, last, by):
    """What the ledger says, added up here. `key_ids`: which key was used for what (by the id of its cause)."""
    rows = {}
    for day, model, cause_id, kind, amount, used in sql(LEDGER, (str(license.id),)):
        if first <= day <= last:
            key_id = key_ids[UUID(cause_id)]
            place = (day if "day" in by else None, model if "model" in by else None, key_id if "key" in by else None)
            row = rows.setdefault(place, dict.fromkeys(FIGURES, 0))
            if kind == "refund":
                row["refunded"] += amount
                continue
            row["calls"] += 1
            row["credits"] += amount
            for attempt in (used or {}).get("attempts", [used or {}]):
                for name in CLASSES:
                    row[f"{name}_tokens"] += attempt.get(name, 0)
    ordered = sorted(rows, key=lambda place: (place[0] or FIRST, place[1] or "", str(place[2] or "")))
    return [UsageRow(*place, **rows[place]) for place in ordered]


@pytest.fixture
def locked_watermark(urls):
    """`with locked_watermark(license):` somebody else rolls up."""

    @contextmanager
    def lock(license):
        connection = psycopg2.connect(urls.owner)
        with connection.cursor() as cursor:
            statement = "SELECT FROM obol.usage_watermarks WHERE license_id = %s FOR UPDATE"
            cursor.execute(statement, (str(license.id),))
            yield
        connection.rollback()
        connection.close()

    return lock


@pytest.fixture
def used(db):
    """`used(license, first, last, by)`: what the database says of a license's usage."""

    def read(license, first=ALL_TIME["first"], last=ALL_TIME["last"], by=usage.DIMENSIONS):
        return usage.usage(db, Reader.with_key(license.key), first=first, last=last, by=by)

    return read


@pytest.fixture
def charge(db, process_id):
    """`charge(license, model, usage, amount)`: an answer that was charged; its hold."""

    def take(license, model, used, amount):
        hold_id = uuid4()
        holds.open_for_process(
            db,
            license.key,
            hold_id,
            process_id=process_id,
            amounts=HoldAmounts(amount, amount),
            model=model,
            price=PRICE,
        )
        holds.settle(db, license.key, hold_id, amount=amount, process_id=process_id, usage=used)
        return hold_id

    return take


COUNTS = st.integers(0, 9)
TOKENS = st.fixed_dictionaries({}, optional=dict.fromkeys(CLASSES, COUNTS))
USAGES = st.one_of(TOKENS, st.lists(TOKENS, min_size=1, max_size=3).map(lambda attempts: {"attempts": attempts}))
STEPS = st.one_of(
    st.tuples(st.just("deduct"), st.integers(0, 1), st.integers(1, 9)),
    st.tuples(st.just("deduct as operator"), st.integers(1, 9)),
    st.tuples(st.just("charge"), st.integers(0, 1), st.sampled_from(["claude-a", "claude-b", "none"]), USAGES),
    st.tuples(st.just("refund"), st.integers(1, 3)),
    st.tuples(st.just("grant"), st.integers(1, 9)),
    st.tuples(st.just("pass"), st.integers(1, 40)),
    st.tuples(st.just("roll up"), st.integers(1, 4)),
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(STEPS, min_size=8, max_size=16),
    by=st.sets(st.sampled_from(usage.DIMENSIONS), min_size=1),
    window=st.tuples(st.integers(0, 20), st.integers(0, 200)),
)
def test_usage_is_what_the_ledger_says_after_each_step_of_any_history(
    db, owner, sql, new_license, new_key, deduct, grant, refund, charge, used, verified, steps, by, window
):
    license, now, causes, booked = new_license(credits=1000), datetime(2026, 1, 1, 23, tzinfo=UTC), [], 0
    keys, key_ids = [license, new_key(license)], {}
    first = FIRST + timedelta(days=window[0])
    last = first + timedelta(days=window[1])

    for what, *how in steps:
        if what == "deduct":
            key = keys[how[0]]
            causes.append(deduct(key, how[1]).deduction_id)
            key_ids[causes[-1]] = key.key_id
        elif what == "deduct as operator":
            causes.append(
                ledger.deduct_by_id(
                    owner, license.id, uuid4(), amount=how[0], idempotency_key=str(uuid4()), fingerprint=b""
                ).deduction_id
            )
            key_ids[causes[-1]] = None
        elif what == "charge":
            key, model, spent = keys[how[0]], *how[1:]
            tokens = sum(attempt.get(n, 0) for attempt in spent.get("attempts", [spent]) for n in CLASSES)
            causes.append(charge(key, model, spent, tokens))
            key_ids[causes[-1]] = key.key_id
        elif what == "refund":
            left = causes and sql("SELECT obol.refundable(%s, %s)", (str(license.id), str(causes[-1])))[0][0]
            if left:
                refund(license, causes[-1], min(how[0], left))
        elif what == "grant":
            grant(license, how[0])
        elif what == "pass":
            now += timedelta(hours=how[0])
        else:
            usage.roll_up(db, license.id, how[0])
        # What was booked in this step was booked then.
        sql(AT, (now, str(license.id), booked))
        ((booked,),) = sql("SELECT entry_count FROM obol.licenses WHERE license_id = %s", (str(license.id),))

        assert used(license, by=by) == of_the_ledger(sql, license, key_ids, **ALL_TIME, by=by)
        assert used(license, first, last, by) == of_the_ledger(sql, license, key_ids, first=first, last=last, by=by)
    verified()


def test_what_was_used_is_told_by_day_model_and_key(db, new_license, new_key, deduct, refund, charge, used):
    day, license = current_day(), new_license(credits=1000)
    key = new_key(license)
    deduct(license, 30)
    spent = {"input": 1, "output": 2, "cache_write_5m": 3, "cache_write_1h": 4, "cache_read": 5}
    hold_id = charge(key, "claude-a", spent, 15)
    refund(license, hold_id, 6)
    charge(new_license(), "claude-a", spent, 15)

    deducted = UsageRow(day, None, license.key_id, 1, 30, 0, 0, 0, 0, 0, 0)
    charged = UsageRow(day, "claude-a", key.key_id, 1, 15, 1, 2, 3, 4, 5, 6)
    assert used(license) == [deducted, charged]
    assert used(license, by=("model",)) == [
        deducted._replace(day=None, key_id=None),
        charged._replace(day=None, key_id=None),
    ]
    assert used(license, by=()) == [UsageRow(None, None, None, 2, 45, 1, 2, 3, 4, 5, 6)]
    assert used(license, last=day - timedelta(days=1)) == used(license, first=day + timedelta(days=1)) == []


def test_the_roll_up_stops_where_it_is_told_to_and_goes_on_from_there(db, sql, new_license, deduct, used):
    license = new_license(credits=1000)
    for _ in range(5):
        deduct(license, 7)
    before = used(license)
    rolled_up = "SELECT sum(credits) FROM obol.usage_rollups"

    assert [usage.roll_up(db, license.id, 4) for _ in range(3)] == [4, 2, 0]
    assert sql(rolled_up) == [(35,)]
    assert used(license) == before
    deduct(license, 7)
    assert usage.roll_up(db, license.id) == 1
    assert sql(rolled_up) == [(42,)]


def test_there_is_nothing_to_roll_up_of_a_license_that_is_not_there(db, sql):
    assert usage.roll_up(db, uuid4()) == 0
    assert sql("SELECT count(*) FROM obol.usage_watermarks") == [(0,)]


def test_who_comes_second_leaves_it_to_who_is_at_it(db, new_license, deduct, locked_watermark):
    license = new_license()
    deduct(license, 7)
    usage.roll_up(db, license.id, 1)

    with locked_watermark(license):
        assert usage.roll_up(db, license.id) == 0
        # Nor does a charge wait.
        assert deduct(license, 7).balance == 986
    assert usage.roll_up(db, license.id) == 2


def test_only_licenses_with_many_new_entries_are_due(db, new_license, deduct):
    quiet, busy = new_license(), new_license()
    for _ in range(3):
        deduct(busy, 1)

    assert usage.due_rollups(db, 4) == [busy.id]
    assert usage.due_rollups(db, 5) == []
    assert set(usage.due_rollups(db, 1)) == {quiet.id, busy.id}
    assert len(usage.due_rollups(db, 1, 1)) == 1
    assert usage.due_rollups(db, 1, 1) == [busy.id]
    usage.roll_up(db, busy.id, 1)
    assert usage.due_rollups(db, 4) == []


def test_what_had_an_entry_lately_is_looked_for_among_these(db, new_license, deduct, sql):
    quiet, busy = new_license(), new_license()
    deduct(busy, 1)
    sql("UPDATE obol.ledger_entries SET created_at = created_at - interval '1 hour' WHERE entry_no = 1")

    assert set(usage.due_rollups(db, 1)) == {quiet.id, busy.id}
    assert usage.due_rollups(db, 1, within_s=600) == [busy.id]
    assert set(usage.due_rollups(db, 1, within_s=7200)) == {quiet.id, busy.id}
    assert len(usage.due_rollups(db, 1, 1, within_s=7200)) == 1
    # All that is not rolled up counts, old entries too.
    assert usage.due_rollups(db, 2, within_s=600) == [busy.id]
    assert usage.due_rollups(db, 3, within_s=600) == []
    usage.roll_up(db, busy.id, 1)
    assert usage.due_rollups(db, 2, within_s=600) == []


def test_what_earlier_workers_ask_is_answered_for_a_release_longer(sql, new_license):
    license = new_license()
    assert sql("SELECT license_id FROM obol.due_rollups(1, 100)") == [(str(license.id),)]
    assert sql("SELECT license_id FROM obol.due_rollups(2, 100)") == []


def test_a_charge_writes_no_more_than_its_license_and_its_entry(sql, new_license, deduct):
    license = new_license()
    deduct(license, 1)
    writes = """SELECT relname::text, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
                 WHERE schemaname = 'obol' AND n_tup_ins + n_tup_upd + n_tup_del > 0 ORDER BY 1"""
    digest = f"'\\x{license.key.digest.hex()}'"
    call = f"SELECT * FROM obol.deduct('{license.id}', {digest}, '{uuid4()}', 5, NULL, '', NULL)"

    assert sql(f"BEGIN; {call}; {writes}") == [("ledger_entries", 1), ("licenses", 1)]


def test_more_than_a_bigint_is_added_up(db, new_license, deduct, grant, used):
    most = 2**63 - 1
    license = new_license(credits=most)
    deduct(license, most)
    usage.roll_up(db, license.id)
    grant(license, most)
    deduct(license, most)

    assert [row.credits for row in used(license)] == [2 * most]
    usage.roll_up(db, license.id)
    assert [row.credits for row in used(license)] == [2 * most]


def test_a_usage_that_cannot_be_read_keeps_nobody_from_the_rest(db, sql, new_license, charge, used):
    license = new_license()
    charge(license, "claude-a", {"input": 3}, 3)
    for strange, tokens in [
        ('{"input": "x"}', 0),
        ('"x"', 0),
        ("7", 0),
        ('{"attempts": 3}', 0),
        ('{"attempts": [7]}', 0),
    ]:
        sql("UPDATE obol.ledger_entries SET usage = %s WHERE kind = 'charge'", (strange,))
        assert [(row.credits, row.input_tokens) for row in used(license)] == [(3, tokens)], strange
    sql("UPDATE obol.ledger_entries SET usage = '{\"input\": 3}' WHERE kind = 'charge'")


def test_only_who_may_read_a_license_sees_its_usage(db, new_license):
    license, other = new_license(), new_license()
    for reader, code in [
        (Reader.with_key(KeyDigest(license.id, other.key.digest)), "license_invalid"),
        (Reader.operator(license.id), "admin_forbidden"),
        (Reader(license.id, None, b"a guess", None), "admin_forbidden"),
    ]:
        with pytest.raises(Problem) as refused:
            usage.usage(db, reader, **ALL_TIME)
        assert refused.value.code == code


def test_the_owner_reads_any_license_and_none_that_is_not_there(owner, new_license, deduct):
    license = new_license()
    deduct(license, 7)
    assert [row.credits for row in usage.usage(owner, Reader.operator(license.id), **ALL_TIME)] == [7]
    with pytest.raises(Problem) as refused:
        usage.usage(owner, Reader.operator(uuid4()), **ALL_TIME)
    assert refused.value.code == "license_invalid"
