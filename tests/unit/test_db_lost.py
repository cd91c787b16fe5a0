"""A reply that is lost after the commit, and connections that are lost: each call is done once."""

import os
import socket
import sys
import threading
from uuid import uuid4

import pytest
from factories import wait_until
from relay import Relay
from sqlalchemy import text

from service.db import Database
from service.dev.embedded import SERVICE
from service.problems import Problem
from service.repository import holds, ledger, licenses

ONE = text("SELECT 1 AS one")


@pytest.fixture
def terminate(sql):
    """Ends every connection of the service's login to this database; how many there were."""
    return lambda: len(
        sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


@pytest.fixture
def losing(urls):
    """`losing(function, ends=False)`: a database to which the first reply of this function gets lost, and
    the relay that loses it."""
    made = []

    def start(function, ends=False):
        relay = Relay(urls.service, function, ends=ends)
        database = Database(relay.url, pool_size=2, wait_s=0.3)
        made.append((relay, database))
        return database, relay

    yield start
    for relay, database in made:
        database.close()
        relay.close()


def test_a_connection_that_was_lost_while_idle_is_no_error(db, terminate):
    db.rows(ONE)
    assert terminate() == 1

    assert db.row(ONE) == (1,)


def test_a_connection_that_is_lost_while_it_works_charges_once(db, new_license, sql, locked):
    license, balances = new_license(), []

    def deduct():
        balances.append(ledger.deduct(db, license.key, uuid4(), amount=300).balance)

    thread = threading.Thread(target=deduct)
    with locked(license):
        thread.start()
        waiting = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        wait_until(lambda: sql(waiting), what="the call's wait")
    thread.join()

    assert balances == [700]
    assert sql("SELECT count(*) FROM obol.ledger_entries WHERE kind = 'deduction'") == [(1,)]


def deduct(db, license):
    return ledger.deduct(db, license.key, uuid4(), amount=300)


def open_hold(db, license):
    return holds.open_for_client(db, license.key, uuid4(), amount=300, expires_in_s=60)


@pytest.mark.parametrize(("act", "function"), [(deduct, "obol.deduct("), (open_hold, "obol.open_hold(")])
def test_a_call_whose_reply_was_lost_after_its_commit_is_asked_again_with_the_same_id(
    losing, new_license, db, act, function
):
    license = new_license()
    database, relay = losing(function)

    act(database, license)

    first, again = relay.asked
    assert first == again
    # It happened once.
    assert licenses.find(db, license.key).available == 700


def test_a_call_that_cannot_be_asked_again_may_have_been_done(losing, new_license, db):
    license = new_license()
    database, relay = losing("obol.deduct(", ends=True)

    with pytest.raises(Problem) as refused:
        deduct(database, license)

    # Not over_capacity, which says that nothing was done.
    assert (refused.value.code, refused.value.outcome_unknown, refused.value.retry_after) == ("database_error", True, 1)
    assert len(relay.asked) == 1
    assert licenses.find(db, license.key).balance == 700


def test_nothing_was_asked_of_a_server_that_is_not_there(losing):
    database, relay = losing("obol.deduct(")
    relay.close()

    with pytest.raises(Problem) as refused:
        database.rows(ONE)
    assert (refused.value.code, refused.value.outcome_unknown) == ("over_capacity", False)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other names for these")
def test_a_server_that_vanished_is_noticed_in_seconds(db):
    with db._engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver.info.dsn_parameters["connect_timeout"] == "5"
        with socket.socket(fileno=os.dup(driver.fileno())) as own:
            assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 5
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000


def test_after_a_failover_the_next_connection_is_a_new_one(db, sql, new_license):
    license = new_license(credits=10)
    ((name,),) = sql("SELECT current_database()")
    sql(f"ALTER ROLE {SERVICE} IN DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(Problem) as refused:
        ledger.deduct(db, license.key, uuid4(), amount=1)
    sql(f"ALTER ROLE {SERVICE} IN DATABASE {name} RESET default_transaction_read_only")

    assert (refused.value.code, refused.value.retry_after) == ("database_error", 1)
    assert ledger.deduct(db, license.key, uuid4(), amount=1).balance == 9
