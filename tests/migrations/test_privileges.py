"""Who may do what: all roles against all functions, views and tables, on a plain cluster and on
one with the roles and default privileges of Supabase.

The whole matrix is in privileges.golden.txt. After a change that is meant to be:
UPDATE_GOLDEN=1 .venv/bin/pytest tests/migrations/test_privileges.py --no-cov
"""

import os
import re
from pathlib import Path

import psycopg2
import pytest
from factories import make_license
from migrating import run

from service import migrations
from service.db import Database

GOLDEN = Path(__file__).with_name("privileges.golden.txt")

# obol_stranger has what PUBLIC has; the last three are those of Supabase's public API.
ROLES = ("obol_service", "obol_stranger", "anon", "authenticated", "service_role")
OUTSIDERS = ("obol_stranger", "anon", "authenticated")

# What an operator grants to let a role deduct by hand.
GRANTS = """
    GRANT USAGE ON SCHEMA obol TO service_role;
    GRANT EXECUTE ON FUNCTION obol.deduct_credits(text, bigint, text, text) TO service_role
"""

LEGEND = (
    "X execute, U use, C create; r select, a insert, w update, d delete, D truncate, x reference, t trigger; - nothing"
)

MATRIX = """
    WITH privileges (kind, privilege, letter) AS (VALUES
        ('function', 'EXECUTE', 'X'), ('schema', 'USAGE', 'U'), ('schema', 'CREATE', 'C'),
        ('relation', 'SELECT', 'r'), ('relation', 'INSERT', 'a'), ('relation', 'UPDATE', 'w'),
        ('relation', 'DELETE', 'd'), ('relation', 'TRUNCATE', 'D'), ('relation', 'REFERENCES', 'x'),
        ('relation', 'TRIGGER', 't')
    ), objects (kind, name, id) AS (
        SELECT 'schema', 'schema ' || n.nspname, n.oid FROM pg_namespace n WHERE n.nspname = 'obol'
        UNION ALL
        SELECT 'function', 'function ' || p.oid::regprocedure, p.oid
          FROM pg_proc p WHERE p.pronamespace = 'obol'::regnamespace
        UNION ALL
        SELECT 'relation', CASE c.relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || c.oid::regclass, c.oid
          FROM pg_class c WHERE c.relnamespace = 'obol'::regnamespace AND c.relkind NOT IN ('i', 'c')
    )
    SELECT o.name, (
        SELECT array_agg((
            SELECT COALESCE(string_agg(p.letter, ''), '-') FROM privileges p
             WHERE p.kind = o.kind AND CASE p.kind
                   WHEN 'schema' THEN has_schema_privilege(role, o.id, p.privilege)
                   WHEN 'function' THEN has_function_privilege(role, o.id, p.privilege)
                   ELSE has_table_privilege(role, o.id, p.privilege) END
        ) ORDER BY position)
          FROM unnest(%s::text[]) WITH ORDINALITY AS roles (role, position))
      FROM objects o ORDER BY o.name COLLATE "C"
"""

CALLS = """
    SELECT p.proname::text,
           format('SELECT obol.%I(%s)', p.proname,
                  array_to_string(array_fill('NULL'::text, ARRAY[p.pronargs::integer]), ', '))
      FROM pg_proc p WHERE p.pronamespace = 'obol'::regnamespace ORDER BY 1
"""

TABLES = """
    SELECT c.relname::text, a.attname::text
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
     WHERE c.relnamespace = 'obol'::regnamespace AND c.relkind = 'r' ORDER BY 1
"""


@pytest.fixture(scope="session")
def roles(server_urls):
    """Roles belong to the cluster, which all workers share: one worker makes them, in one transaction."""
    missing = "".join(
        f"IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; END IF;"
        for role in ROLES
    )
    run(server_urls.owner, f"SELECT pg_advisory_xact_lock(1); DO $$ BEGIN {missing} END $$")


@pytest.fixture
def supabase(roles, empty_database):
    """A migrated database whose host grants whatever is made in it to its API's roles."""
    for what in ("FUNCTIONS", "TABLES", "SCHEMAS"):
        run(
            empty_database.owner,
            f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {what} TO anon, authenticated, service_role",
        )
    migrations.upgrade(empty_database.owner)
    return empty_database


def matrix(title, url):
    widths = [len(role) for role in ROLES]
    lines = [title, "  ".join(ROLES)]
    for name, cells in run(url, MATRIX, (list(ROLES),)):
        lines.append("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), name]))
    return "\n".join(lines) + "\n"


def attempts(url):
    """An object and a statement that uses it: each function, each table in four ways."""
    yield from run(url, CALLS)
    for table, column in run(url, TABLES):
        yield table, f"SELECT FROM obol.{table}"
        yield table, f"INSERT INTO obol.{table} DEFAULT VALUES"
        yield table, f"UPDATE obol.{table} SET {column} = {column}"
        yield table, f"DELETE FROM obol.{table}"


def allowed(url, attempts, role=None):
    """The statements that a role (by default the login itself) is not refused for want of a
    privilege on the schema or the very object; what a function lacks inside does not count."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    passed = []
    with connection.cursor() as cursor:
        if role:
            cursor.execute(f"SET ROLE {role}")
        for object, statement in attempts:
            message = ""
            try:
                cursor.execute(statement)
            except psycopg2.Error as error:
                message = error.diag.message_primary
            if not re.fullmatch(rf"permission denied for (schema obol|function {object}|table {object})", message):
                passed.append(statement)
    connection.close()
    return passed


def test_the_matrix_is_the_committed_one(roles, urls, supabase):
    found = [LEGEND + "\n", matrix("plain PostgreSQL", urls.owner), matrix("as Supabase", supabase.owner)]
    run(supabase.owner, GRANTS)
    found.append(matrix("as Supabase, and deduct_credits granted to service_role", supabase.owner))

    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text("\n".join(found))
    assert "\n".join(found) == GOLDEN.read_text()


@pytest.mark.parametrize("role", OUTSIDERS)
def test_outsiders_can_do_nothing(supabase, role):
    assert allowed(supabase.owner, attempts(supabase.owner), role) == []


@pytest.mark.parametrize("role", OUTSIDERS)
def test_outsiders_can_do_nothing_even_where_the_schema_is_opened(supabase, role):
    run(supabase.owner, f"GRANT USAGE ON SCHEMA obol TO {role}")

    assert allowed(supabase.owner, attempts(supabase.owner), role) == []


def test_service_role_deducts_once_it_is_allowed_to(supabase):
    owner = Database(supabase.owner, pool_size=1, wait_s=5)
    license = make_license(owner, credits=50)
    owner.close()
    call = f"SET ROLE service_role; SELECT obol.deduct_credits('{license.raw_key}', 20)"

    run(supabase.owner, GRANTS)

    assert run(supabase.owner, call) == [(30,)]


def test_service_role_does_nothing_else(supabase):
    run(supabase.owner, GRANTS)

    (call,) = allowed(supabase.owner, attempts(supabase.owner), "service_role")
    assert call.startswith("SELECT obol.deduct_credits(")


def test_the_service_s_login_touches_no_table(urls):
    tables = {table for table, _ in run(urls.owner, TABLES)}
    touches = [attempt for attempt in attempts(urls.owner) if attempt[0] in tables]

    assert {"licenses", "holds", "ledger_entries", "alembic_version"} < tables
    assert len(touches) == 4 * len(tables)
    assert allowed(urls.service, touches) == []


def test_the_service_s_login_reads_no_view_but_what_the_functions_give(urls):
    views = ("license_key_validity", "license_overview", "price_book", "undelivered_charges", "undelivered_holds")
    for view in (*views, "unpaid_holds"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(urls.service, f"SELECT * FROM obol.{view}")
    assert run(urls.service, "SELECT obol.current_revision()") == [(migrations.head(),)]
    assert len(run(urls.service, "SELECT * FROM obol.list_prices()")) == 1
