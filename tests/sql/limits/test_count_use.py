"""obol.count_use and obol.count_end, at any time of any day, against a model that keeps a list of what was used."""

import json
import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import psycopg2
import psycopg2.extras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MICROSECOND = timedelta(microseconds=1)
COUNT = "SELECT amount FROM obol.count_use(%s, %s, NULL, %s, %s, %s, %s)"

# From a moment before the end of a month, in steps up to some hours: days and a month end within.
START = datetime(2028, 2, 28, 23, 59, 58, tzinfo=UTC)
STEPS = st.one_of(
    st.integers(0, 2_000_000), st.integers(0, 70_000_000), st.sampled_from([0, 1, 10_000_000, 3600_000_000 * 11])
)


class Model:
    """What has been used, as a list; nothing is summed up before it is asked for."""

    def __init__(self, limits):
        self.limits = limits
        self.calls = []  # times at which the calls would have come if they had been evenly spread
        self.uses = []  # [opened at, credits, is it open]

    def in_window(self, now, window):
        return sum(credits for at, credits, _ in self.uses if window(at) == window(now))

    def refuses(self, now, least, is_hold):
        """The name of the first limit that refuses."""
        per_minute = self.limits.get("requests_per_minute")
        if per_minute:
            # GCRA as its paper has it: nobody may be earlier than his time by more than the tolerance.
            apart = math.ceil(Fraction(60_000_000, per_minute))
            due = self.calls[-1] + apart * MICROSECOND if self.calls else now
            if now < due - (per_minute - 1) * apart * MICROSECOND:
                return "requests_per_minute"
        open_holds = sum(is_open for _, _, is_open in self.uses)
        if is_hold and open_holds >= self.limits.get("concurrent_holds", math.inf):
            return "concurrent_holds"
        for name, window in WINDOWS.items():
            if self.in_window(now, window) + least > self.limits.get(name, math.inf):
                return name
        return None

    def use(self, now, amount, is_hold):
        if per_minute := self.limits.get("requests_per_minute"):
            apart = math.ceil(Fraction(60_000_000, per_minute)) * MICROSECOND
            self.calls.append(max(self.calls[-1] + apart, now) if self.calls else now)
        for name, window in WINDOWS.items():
            if name in self.limits:
                amount = min(amount, self.limits[name] - self.in_window(now, window))
        self.uses.append([now, amount, is_hold])
        return amount


WINDOWS = {"credits_per_day": lambda at: at.date(), "credits_per_month": lambda at: (at.year, at.month)}

LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "requests_per_minute": st.sampled_from([1, 2, 3, 7, 60, 999_983]),
        "concurrent_holds": st.integers(1, 3),
        "credits_per_day": st.integers(1, 150),
        "credits_per_month": st.integers(1, 200),
    },
)
# After how many microseconds; credits and the least of them; a deduction, a hold, or the end of one at a charge.
CALLS = st.lists(
    st.tuples(STEPS, st.sampled_from(["deduct", "hold", "hold", "end"]), st.integers(1, 60), st.integers(1, 60)),
    max_size=40,
)


@pytest.mark.tampers
def test_it_refuses_what_the_model_refuses_at_any_time(urls, new_license):
    license = new_license()
    connection = psycopg2.connect(urls.owner)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(limits=LIMITS.filter(bool), calls=CALLS)
    def run(limits, calls):
        with connection.cursor() as cursor:
            try:
                play(cursor, license, limits, calls)
            finally:
                connection.rollback()

    try:
        run()
    finally:
        connection.close()


def play(cursor, license, limits, calls):
    model, now, id = Model(limits), START, str(license.id)
    cursor.execute("SELECT obol.merge_limits(%s, NULL, %s)", (id, psycopg2.extras.Json(limits)))
    assert cursor.fetchone() == (limits,)
    cursor.execute("UPDATE obol.licenses SET limits = %s WHERE license_id = %s", (psycopg2.extras.Json(limits), id))
    for step, kind, amount, least in calls:
        now += step * MICROSECOND
        least = min(least, amount)
        if kind == "end":
            for use in model.uses:
                if use[2]:
                    charge = least - 1
                    cursor.execute(
                        "SELECT obol.count_end(jsonb_populate_record(NULL::obol.holds, jsonb_build_object("
                        "'license_id', %s::text, 'opened_at', %s::timestamptz, 'limited_by', ARRAY[%s::text])),"
                        " %s, -1)",
                        (id, use[0], id, charge - use[1]),
                    )
                    use[1:] = charge, False
                    break
            continue
        is_hold = kind == "hold"
        refused_by = model.refuses(now, least, is_hold)
        cursor.execute("SAVEPOINT before")
        try:
            cursor.execute(COUNT, (id, license.key.digest, amount, least, int(is_hold), now))
            outcome = int(cursor.fetchone()[0])
        except psycopg2.Error as error:
            cursor.execute("ROLLBACK TO before")
            outcome = json.loads(error.diag.message_detail)["limit"] if error.pgcode == "OB429" else error
        assert outcome == (refused_by or model.use(now, amount, is_hold))
    cursor.execute(
        "SELECT open_holds, day, day_credits, month, month_credits FROM obol.limit_states WHERE subject_id = %s", (id,)
    )
    for open_holds, day, day_credits, month, month_credits in cursor.fetchall():
        assert open_holds == sum(is_open for _, _, is_open in model.uses)
        assert day_credits == sum(credits for at, credits, _ in model.uses if at.date() == day)
        assert month_credits == sum(c for at, c, _ in model.uses if (at.year, at.month) == (month.year, month.month))


@pytest.mark.parametrize(
    ("name", "at", "retry_after_s"),
    [
        ("requests_per_minute", "2027-12-31T23:59:30Z", 60),
        ("credits_per_day", "2027-12-31T23:59:30Z", 30),
        ("credits_per_day", "2027-12-31T00:00:00Z", 86400),
        ("credits_per_month", "2027-12-31T23:59:30Z", 30),
        ("credits_per_month", "2028-02-01T00:00:00Z", 29 * 86400),
        ("credits_per_month", "2027-12-31T23:59:59.9Z", 1),
    ],
)
@pytest.mark.tampers
def test_when_to_ask_again(sql, new_license, name, at, retry_after_s):
    license = new_license()
    sql("UPDATE obol.licenses SET limits = jsonb_build_object(%s, 1)", (name,))
    arguments = (str(license.id), license.key.digest, 1, 1, 0, at)
    sql(COUNT, arguments)
    described = "SELECT limit_name, used, retry_after_s FROM obol.describe_limits(%s, %s, %s)"

    assert sql(described, (str(license.id), license.key.digest, at)) == [(name, 1, retry_after_s)]
    with pytest.raises(psycopg2.Error, match=f"Ask again in {retry_after_s} s"):
        sql(COUNT, arguments)
    later = datetime.fromisoformat(at) + timedelta(seconds=retry_after_s)
    assert sql(COUNT, (*arguments[:-1], later)) == [(1,)]
