"""What the start-up warns of: a login that can do too much, and one whose statements can be read."""

from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from factories import run

from service.db import Database
from service.keys import KeyDigest
from service.problems import Problem
from service.repository import licenses, processes


@pytest.fixture
def login(urls):
    """`login(*statements)`: the database as a fresh login sees it that is in obol_service, and of which
    these statements are done, with {login} for its name."""
    name, password, opened = f"login_{uuid4().hex}", uuid4().hex, []
    run(urls.owner, f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE obol_service")

    def connect(*statements):
        for statement in statements:
            run(urls.owner, statement.format(login=name))
        url = f"postgresql://{name}:{password}@{urls.owner.rpartition('@')[2]}"
        opened.append(Database(url, pool_size=2, wait_s=5))
        return opened[-1]

    yield connect
    for database in opened:
        database.close()
    run(urls.owner, f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_login_with_the_service_s_role_alone_is_right(login):
    assert not processes.login_can_do_too_much(login())


@pytest.mark.parametrize(
    "excess",
    [
        *(
            f"ALTER ROLE {{login}} {what}"
            for what in ("SUPERUSER", "CREATEROLE", "CREATEDB", "BYPASSRLS", "REPLICATION")
        ),
        *(f"GRANT {role} TO {{login}}" for role in ("pg_read_all_data", "pg_write_all_data", "pg_monitor")),
        *(f"GRANT {role} TO {{login}}" for role in ("pg_read_all_stats", "pg_read_server_files")),
        # Not inherited, and one SET ROLE away.
        "ALTER ROLE {login} NOINHERIT; GRANT pg_read_all_data TO {login}",
        "ALTER ROLE {login} NOINHERIT; GRANT obol_owner TO {login}",
        "GRANT SELECT ON obol.licenses TO {login}",
        "GRANT UPDATE ON obol.holds TO {login}",
        "GRANT SELECT ON obol.license_overview TO {login}",
        "GRANT EXECUTE ON FUNCTION obol.verify TO {login}",
        "GRANT EXECUTE ON FUNCTION obol.grant_credits TO {login}",
    ],
)
def test_whatever_a_login_has_beyond_that_is_too_much(login, excess):
    assert processes.login_can_do_too_much(login(excess))


def test_a_login_that_is_not_shut_out_has_nothing_too_much(login):
    assert not processes.login_can_do_too_much(login("GRANT pg_checkpoint TO {login}"))


def test_a_login_can_be_looked_at_before_the_first_migration(empty_database):
    owner, service = (Database(url, pool_size=1, wait_s=5) for url in (empty_database.owner, empty_database.service))
    with closing(owner), closing(service):
        assert processes.login_can_do_too_much(owner)
        assert not processes.login_can_do_too_much(service)


def test_the_settings_that_are_named_keep_digests_out_of_statement_texts(urls, login, new_license, sql):
    license = new_license()
    log = Path(sql("SHOW data_directory")[0][0]).with_name("server.log")

    def shown(database):
        """Whether the digest of a call can be read by other sessions, and in the log when the call is refused."""
        wrong = KeyDigest(license.id, uuid4().bytes * 2)
        with pytest.raises(Problem, match="license_invalid"):
            licenses.check(database, wrong)
        ((texts,),) = sql("SELECT string_agg(query, '') FROM pg_stat_activity WHERE usename LIKE 'login_%'")
        return wrong.digest.hex() in texts, wrong.digest.hex() in log.read_text(errors="replace")

    before = login()
    assert shown(before) == (True, True)
    statements = processes.settings_that_show_digests(before)
    before.close()

    after = login(*statements)
    assert processes.settings_that_show_digests(after) == []
    assert shown(after) == (False, False)


@pytest.mark.parametrize(
    ("setting", "is_named"),
    [
        ("track_activities = on", True),
        ("log_min_error_statement = fatal", True),
        ("log_statement = ddl", False),
        ("log_statement = mod", False),
        ("log_statement = 'all'", True),
        ("log_min_duration_statement = '5s'", True),
        ("log_min_duration_sample = 0", True),
        ("log_transaction_sample_rate = 0.5", True),
        ("auto_explain.log_min_duration = 100", True),
        ("auto_explain.log_min_duration = -1", False),
    ],
)
def test_each_setting_that_shows_statements_is_named(login, setting, is_named):
    name = setting.partition(" ")[0]
    quiet = "ALTER ROLE {login} SET track_activities = off; ALTER ROLE {login} SET log_min_error_statement = panic"

    found = processes.settings_that_show_digests(login(quiet, f"ALTER ROLE {{login}} SET {setting}"))

    assert [f" SET {name} = " in statement for statement in found] == ([True] if is_named else [])


def test_the_embedded_postgresql_shows_nothing(cluster):
    database = Database(cluster.acquire().service, pool_size=1, wait_s=5)
    with closing(database):
        assert processes.settings_that_show_digests(database) == []
