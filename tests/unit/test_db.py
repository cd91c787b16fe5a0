"""One call of the database: which problem each failure is, and what is asked again."""

import time
import traceback
from datetime import UTC, datetime
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg2 import dialect

from service import strict_json
from service.db import Database, sqlalchemy_url
from service.problems import Problem
from service.repository import licenses, webhooks
from service.webhooks import document

ONE = text("SELECT 1 AS one")


@pytest.fixture
def elsewhere(sql, urls):
    """The database is in another time zone than UTC, for whoever connects from now on."""
    sql(f"ALTER DATABASE {urls.owner.rpartition('/')[2]} SET timezone = 'Asia/Tokyo'")


def raising(sqlstate, message="SOME_PREFIX: something is so", more=""):
    return text(
        f"DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{sqlstate}'{more}; END $$".replace(":", r"\:")
    )


def refused(db, statement):
    with pytest.raises(Problem) as caught:
        db.rows(statement)
    return caught.value


@pytest.mark.parametrize(
    "url",
    ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d", "postgresql+asyncpg://u:p@h/d"],
)
def test_every_way_to_write_the_url(url):
    assert sqlalchemy_url(url).render_as_string(hide_password=False) == "postgresql+psycopg2://u:p@h/d"


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:p@h1:1,h2:2/d?target_session_attrs=read-write", "h1,h2", "1,2"),
        ("postgres://u:p@h1,h2:2/d?target_session_attrs=read-write", "h1,h2", ",2"),
        ("postgresql://u:p@[::1]:1,[::2]/d?target_session_attrs=read-write", "::1,::2", "1,"),
    ],
)
def test_several_hosts_are_handed_to_libpq_as_it_takes_them(url, hosts, ports):
    _, options = dialect().create_connect_args(sqlalchemy_url(url))

    assert (options["host"], options["port"]) == (hosts, ports)
    assert (options["user"], options["password"], options["dbname"]) == ("u", "p", "d")
    assert options["target_session_attrs"] == "read-write"


@pytest.mark.parametrize("url", ["postgresql://u:p,q@h:1/d", "postgresql://u:p,q/r@h:1/d"])
def test_a_comma_in_a_password_makes_no_second_host(url):
    assert (sqlalchemy_url(url).host, sqlalchemy_url(url).port) == ("h", 1)


@pytest.mark.parametrize("hosts", ["h1:a,h2:b", "h1,h2:1:2", "[::1,h2"])
def test_several_hosts_that_cannot_be_read_are_refused(hosts):
    with pytest.raises(ValueError, match="its hosts must be host:port, separated by commas"):
        sqlalchemy_url(f"postgresql://u:p@{hosts}/d")


def test_the_url_of_another_database_is_refused():
    with pytest.raises(ValueError, match="must begin with postgresql://"):
        sqlalchemy_url("mysql://u:p@h/d")


def test_rows_and_a_row(db):
    assert db.rows(ONE) == [(1,)]
    assert db.row(ONE) == (1,)
    with pytest.raises(ValueError, match="not enough values"):
        db.row(text("SELECT 1 WHERE false"))


def test_a_server_that_is_not_there_is_given_up_on(urls):
    nobody = Database("postgresql://u:a-password@127.0.0.1:1/none", 1, 1)

    problem = refused(nobody, ONE)

    assert (problem.code, problem.retry_after, problem.outcome_unknown) == ("over_capacity", 1, False)
    assert "a-password" not in str(problem)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_what_settles_down_is_asked_again(db, sql, sqlstate):
    sql("CREATE SEQUENCE asked; GRANT USAGE ON SEQUENCE asked TO PUBLIC")
    third_time = text(
        "DO $$ BEGIN IF nextval('asked') < 3 THEN RAISE EXCEPTION 'not yet' USING ERRCODE = '"
        + sqlstate
        + "'; END IF; RAISE EXCEPTION 'LICENSE_INACTIVE\\: now' USING ERRCODE = 'OB413'; END $$"
    )

    assert refused(db, third_time).code == "license_inactive"


def test_what_never_settles_down_is_given_up_on(db, sql):
    sql("CREATE SEQUENCE asked; GRANT USAGE ON SEQUENCE asked TO PUBLIC")
    problem = refused(
        db, text("DO $$ BEGIN PERFORM nextval('asked'); RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$")
    )

    assert (problem.code, problem.retry_after, problem.outcome_unknown) == ("database_error", 1, True)
    assert sql("SELECT last_value FROM asked") == [(8,)]


@pytest.mark.parametrize(
    ("sqlstate", "code", "retry_after"),
    [
        ("OB413", "license_inactive", None),
        ("OB419", "idempotency_in_progress", 1),
        ("55P03", "database_error", 1),
        ("57014", "database_error", 1),
        ("57P03", "database_error", 1),
        ("22003", "database_error", None),
        ("OB999", "database_error", None),
        ("P0001", "database_error", None),
    ],
)
def test_which_problem_a_sqlstate_is(db, sqlstate, code, retry_after):
    problem = refused(db, raising(sqlstate))
    assert (problem.code, problem.retry_after, problem.outcome_unknown) == (code, retry_after, False)
    assert ("something is so" in problem.detail.lower()) == sqlstate.startswith(("OB41",))


def test_a_lost_connection_by_its_sqlstate_is_an_unknown_outcome(db):
    assert refused(db, raising("08006")).outcome_unknown


def test_the_words_of_a_function_are_shown_without_the_prefix(db):
    more = """, HINT = 'Do this.', DETAIL = '{"required": 2}'"""
    problem = refused(db, raising("OB402", "INSUFFICIENT_CREDITS: two: are needed", more))
    assert (problem.detail, problem.extra) == ("Two: are needed. Do this.", {"required": 2})


def test_parameters_are_in_no_error(db):
    """They are digests and ciphertext. The error that the Problem came from has its own words, and whoever
    logs a traceback logs these too."""
    secret = f"canary-{uuid4()}"
    with pytest.raises(Problem) as caught:
        db.rows(text("SELECT 1 / (length(:secret) - length(:secret))"), secret=secret)

    cause = caught.value.__cause__
    assert isinstance(cause, psycopg2.Error)
    assert secret not in repr([str(cause), cause.args, cause.pgerror])
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_the_engine_hides_parameters_wherever_it_says_them(db):
    assert db._engine.hide_parameters


def test_no_connection_in_time_is_over_capacity(urls):
    small = Database(urls.service, pool_size=1, wait_s=0.1)
    with small._engine.connect():
        began_at = time.monotonic()
        problem = refused(small, ONE)
        # And not the half minute that the pool waits by default.
        assert time.monotonic() - began_at < 10

    assert (problem.code, problem.retry_after) == ("over_capacity", 1)
    assert small.row(ONE) == (1,)
    small.close()


def test_a_server_that_takes_no_more_connections_is_over_capacity(urls, sql):
    limit = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I CONNECTION LIMIT %s', current_database()); END $$"
    sql(limit, (0,))
    problem = refused(Database(urls.service, pool_size=1, wait_s=0.1), ONE)
    sql(limit, (-1,))

    assert (problem.code, problem.retry_after, problem.outcome_unknown) == ("over_capacity", 1, False)


def test_a_connection_on_which_a_statement_was_cut_short_is_not_used_again(db, monkeypatch):
    def cut_short(*_):
        raise KeyboardInterrupt

    ((before,),) = db.rows(text("SELECT pg_backend_pid()"))
    with monkeypatch.context() as patched:
        patched.setattr("service.db._ask", cut_short)
        with pytest.raises(KeyboardInterrupt):
            db.rows(ONE)

    assert db.rows(text("SELECT pg_backend_pid()")) != [(before,)]
    assert db._engine.pool.checkedout() == 0


def test_a_parameter_that_no_text_can_hold_leaves_the_connection_as_it_was(db):
    with pytest.raises(ValueError, match="NUL"):
        db.rows(text("SELECT :given"), given="\0")

    assert db._engine.pool.checkedout() == 0
    assert db.row(ONE) == (1,)


def test_no_call_leaves_a_transaction_open(db, new_license, sql):
    licenses.find(db, new_license().key)
    states = sql(
        "SELECT DISTINCT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert states == [("idle",)]


@pytest.mark.usefixtures("elsewhere")
def test_times_are_of_utc_whatever_the_zone_of_the_database(db):
    asked = text("SELECT timestamptz '2026-12-31 23:30Z', CAST(NULL AS timestamptz), current_setting('timezone')")
    moment, none, zone = db.row(asked)
    assert (moment, moment.tzinfo, none) == (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), UTC, None)
    assert zone == "Asia/Tokyo"


@pytest.mark.usefixtures("elsewhere")
def test_an_event_is_sent_with_its_time_in_utc(db, owner, new_license):
    webhooks.create(owner, uuid4(), url="https://shop.example.com", name="", types=None, secret=b"sealed")
    new_license()
    (due,) = webhooks.due_deliveries(db, 1, with_email=False)
    claimed = webhooks.claim(db, due, uuid4(), lease_s=60)
    assert strict_json.decode(document(claimed))["timestamp"].endswith("Z")
