"""One call of the database: what is asked again, what is not, and which problem each failure is."""

import threading
import time
from uuid import uuid4

import psycopg2
import pytest
from factories import wait_until
from sqlalchemy import text

from service.db import Database, sqlalchemy_url
from service.embedded import SERVICE
from service.problems import Problem
from service.repository import credits, licenses

ONE = text("SELECT 1 AS one")


def raising(sqlstate, message="SOME_PREFIX: something is so", more=""):
    return text(
        f"DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{sqlstate}'{more}; END $$".replace(":", r"\:")
    )


def refused(db, statement):
    with pytest.raises(Problem) as caught:
        db.rows(statement)
    return caught.value


@pytest.fixture
def terminate(sql):
    """Ends every connection of the service's login to this database; how many there were."""
    return lambda: len(
        sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


@pytest.mark.parametrize(
    "url",
    ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d", "postgresql+asyncpg://u:p@h/d"],
)
def test_every_way_to_write_the_url(url):
    assert sqlalchemy_url(url).render_as_string(hide_password=False) == "postgresql+psycopg2://u:p@h/d"


def test_the_url_of_another_database_is_refused():
    with pytest.raises(ValueError, match="must begin with postgresql://"):
        sqlalchemy_url("mysql://u:p@h/d")


def test_rows_and_a_row(db):
    assert [row.one for row in db.rows(ONE)] == [1]
    assert db.row(ONE).one == 1
    with pytest.raises(ValueError, match="not enough values"):
        db.row(text("SELECT 1 WHERE false"))


def test_a_connection_that_was_lost_while_idle_is_no_error(db, terminate):
    db.rows(ONE)
    assert terminate() == 1

    assert db.row(ONE).one == 1


def test_a_connection_that_is_lost_while_it_works_charges_once(db, urls, new_license, sql, terminate):
    license, balances = new_license(), []
    locked = psycopg2.connect(urls.owner)
    locked.cursor().execute("SELECT FROM obol.licenses FOR UPDATE")

    def deduct():
        balances.append(credits.deduct(db, license.key, license.id, 300, None, b"", None).balance)

    thread = threading.Thread(target=deduct)
    thread.start()
    waiting = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    wait_until(lambda: sql(waiting), what="the call's wait")
    locked.close()
    thread.join()

    assert balances == [700]
    assert sql("SELECT count(*) FROM obol.ledger_entries WHERE kind = 'deduction'") == [(1,)]


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
    with pytest.raises(Problem) as caught:
        db.rows(text("SELECT CAST(:secret AS integer)"), secret="canary")
    assert "canary" not in str(caught.value)


def test_no_connection_in_time_is_over_capacity(urls):
    small = Database(urls.service, pool_size=1, wait_s=0.1)
    thread = threading.Thread(target=lambda: small.rows(text("SELECT pg_sleep(0.8)")))
    thread.start()
    wait_until(lambda: small._engine.pool.checkedout(), what="the connection")

    began_at = time.monotonic()
    problem = refused(small, ONE)

    assert (problem.code, problem.retry_after) == ("over_capacity", 1)
    assert time.monotonic() - began_at < 0.6
    thread.join()
    assert small.row(ONE).one == 1
    small.close()


def test_a_server_that_takes_no_more_connections_is_over_capacity(db, sql):
    sql("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 0', current_database()); END $$")

    problem = refused(db, ONE)
    assert (problem.code, problem.retry_after) == ("over_capacity", 1)


def test_no_call_leaves_a_transaction_open(db, new_license, sql):
    licenses.find(db, new_license().key)
    states = sql(
        "SELECT DISTINCT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert states == [("idle",)]


def test_after_a_failover_the_next_connection_is_a_new_one(db, sql, new_license):
    license = new_license(credits=10)
    ((name,),) = sql("SELECT current_database()")
    sql(f"ALTER ROLE {SERVICE} IN DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(Problem) as refused:
        credits.deduct(db, license.key, uuid4(), 1, None, b"payload", None)
    sql(f"ALTER ROLE {SERVICE} IN DATABASE {name} RESET default_transaction_read_only")

    assert (refused.value.code, refused.value.retry_after) == ("database_error", 1)
    assert credits.deduct(db, license.key, uuid4(), 1, None, b"payload", None).balance == 9
