"""Whoever has stolen the service's login, and nothing else: no credits, no token, nothing that opens anything."""

from uuid import uuid4

import psycopg2
import pytest
from factories import run

from service import keys
from service.repository import admin, ledger

TABLES = """
    SELECT c.relname::text FROM pg_class c
     WHERE c.relnamespace = 'obol'::regnamespace AND c.relkind IN ('r', 'v', 'S') ORDER BY 1
"""
# What of a function's arguments an attacker fills in: their own, and what they have seen of a license.
VALUES = {
    "p_license_id": "'{license}'::uuid",
    "p_token_digest": "{digest}",
    "p_request_id": "'req_attack'",
    "p_scope": "'grant'",
    "p_scopes": "ARRAY['read', 'grant', 'manage', 'tokens']",
    "p_name": "'mine'",
    "p_new_digest": "sha256('mine')",
    "p_key_digest": "sha256('mine')",
    "p_credits": "1000::bigint",
    "p_amount": "1000::bigint",
    "p_status": "'active'",
    "p_rows": "'[]'::jsonb",
    "p_dry_run": "false",
    "p_allow_past": "true",
}
FUNCTIONS = """
    SELECT p.proname::text, p.proargnames[1:p.pronargs]::text[],
           ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n)
      FROM pg_proc p WHERE p.pronamespace = 'obol'::regnamespace ORDER BY 1
"""


@pytest.fixture
def calls(urls, new_license):
    """`calls(digest)`: a statement for each function that takes a token, with this SQL for the digest."""

    def make(digest):
        license = new_license(credits=100)
        for name, arguments, types in run(urls.owner, FUNCTIONS):
            if "p_token_digest" in (arguments or []):
                given = [
                    VALUES.get(argument, f"NULL::{type}").format(license=license.id, digest=digest)
                    for argument, type in zip(arguments, types, strict=True)
                ]
                yield name, f"SELECT * FROM obol.{name}({', '.join(given)})"

    return make


def refusal(url, statement):
    with pytest.raises(psycopg2.Error) as caught:
        run(url, statement)
    return caught.value.pgcode


@pytest.mark.parametrize("digest", ["NULL::bytea", "sha256('a guess')", "''::bytea"])
def test_no_operator_function_does_anything_without_a_token(urls, calls, owner, sql, digest):
    found = list(calls(digest))
    before = sql("SELECT count(*), sum(balance) FROM obol.licenses")
    assert {
        "create_license_v2",
        "create_token",
        "import_license",
        "refund_v2",
        "grant_credits_v2",
        "adjust_credits_v2",
        "void_grant",
        "deduct_v2",
        "list_acts",
        "verify_v2",
    } <= {name for name, _ in found}
    for name, statement in found:
        # The first token is not even asked for: only the owner may register it; and what only functions call.
        # What takes rows out of the tables, too.
        is_closed = name in ("register_first_token", "check_reader", "archive_entries", "prepare_archive")
        assert refusal(urls.service, statement) == ("42501" if is_closed else "OB433"), name
    assert sql("SELECT count(*), sum(balance) FROM obol.licenses") == [(before[0][0], before[0][1])]
    assert admin.list_tokens(owner) == []


def test_every_function_that_gives_credits_asks_for_a_token_or_is_the_owner_s(urls, new_license):
    license = new_license(credits=100)
    for statement in (
        f"SELECT obol.grant_credits('{license.id}', gen_random_uuid(), 5, NULL, NULL, NULL)",
        f"SELECT obol.adjust_credits('{license.id}', gen_random_uuid(), 5, NULL, NULL, 'mine')",
        f"SELECT obol.refund('{license.id}', gen_random_uuid(), 'mine', false)",
        "SELECT obol.create_license(gen_random_uuid(), sha256('mine'), 'mine', NULL, 1000, '')",
        f"SELECT obol.rotate_license_key('{license.id}', sha256('mine'), 0)",
        f"SELECT obol.set_license_status('{license.id}', 'active')",
        f"SELECT obol.set_license('{license.id}', 'mine', NULL, true)",
        "SELECT obol.set_prices('[]', false)",
        "SELECT obol.register_first_token(sha256('mine'))",
        "SELECT obol.note_act(NULL, 'cli:boss', 'x', NULL, NULL, NULL)",
        f"SELECT obol.book_entry('{license.id}', 2, 'grant', 5, 105, gen_random_uuid(), NULL)",
        "SELECT * FROM obol.verify()",
        "SET ROLE obol_owner",
        "SET SESSION AUTHORIZATION obol_owner",
        "CREATE FUNCTION obol.mine() RETURNS void LANGUAGE sql AS ''",
        "CREATE TABLE obol.mine ()",
    ):
        assert refusal(urls.service, statement) == "42501", statement


def test_no_table_view_or_sequence_is_read_or_written(urls, new_token, sql):
    new_token()
    tables = [table for (table,) in sql(TABLES)]
    assert {
        "admin_tokens",
        "admin_acts",
        "admin_acts_act_no_seq",
        "idempotency_keys",
        "license_keys",
        "imported_keys",
    } <= set(tables)
    for table in tables:
        for statement in (f"TABLE obol.{table}", f"DELETE FROM obol.{table}", f"TRUNCATE obol.{table}"):
            # No right, or a view or a sequence that takes no writing at all.
            assert refusal(urls.service, statement) in ("42501", "42809", "55000"), statement
        assert refusal(urls.service, f"TABLE obol.{table}") == "42501", table
    for statement in (
        "UPDATE obol.admin_tokens SET scopes = ARRAY['grant']",
        "INSERT INTO obol.admin_acts (acted_at, actor, act) VALUES (now(), 'cli:boss', 'x')",
        "INSERT INTO obol.imported_keys VALUES (sha256('mine'), gen_random_uuid(), '{}', now())",
        "SELECT nextval('obol.admin_acts_act_no_seq')",
    ):
        assert refusal(urls.service, statement) == "42501", statement


def test_a_temporary_object_stands_in_nobody_s_way(urls, sql):
    """Functions look for names in pg_catalog and at last in what a login may make for itself."""
    shadow = (
        "CREATE FUNCTION pg_temp.pg_has_role(name, name, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; "
        "CREATE TEMPORARY TABLE admin_tokens (token_digest bytea, scopes text[], name text); "
        "INSERT INTO admin_tokens VALUES (sha256('mine'), ARRAY['grant'], 'mine'); "
    )
    for digest in ("NULL", "sha256('mine')"):
        assert refusal(urls.service, f"{shadow} SELECT obol.check_token({digest}, 'grant')") == "OB433"


def test_a_digest_that_was_seen_opens_the_functions_and_not_the_api(client, new_token, problem_code):
    """As with license keys: whoever reads the login's statements has what the database asks for, and no token."""
    digest = keys.parse_token(new_token())

    response = client.get("/api/v1/admin/licenses", headers={"Authorization": f"Bearer {digest.hex()}"})
    assert problem_code(response) == "admin_forbidden"


@pytest.fixture
def problem_code():
    return lambda response: response.get_json()["code"]


def test_of_imported_keys_only_the_license_of_a_known_one_is_told(urls, new_imported):
    license = new_imported("LIC-1234-5678")

    def find(digest):
        return run(urls.service, f"SELECT license_id::text, are_any FROM obol.find_imported_key({digest})")

    assert find("sha256('LIC-1234-5678')") == [(str(license.id), True)]
    for digest in ("sha256('a guess')", "NULL", "''", f"decode(md5('{license.id}'), 'hex')"):
        assert find(digest) == [(None, True)]


def test_a_license_key_gives_nothing_beyond_its_license(urls, new_license, owner):
    mine, other = new_license(credits=100), new_license(credits=100)
    digest = f"'\\x{mine.key.digest.hex()}'::bytea"

    assert refusal(urls.service, f"SELECT obol.check_token({digest}, 'read')") == "OB433"
    assert refusal(urls.service, f"SELECT * FROM obol.list_entries('{other.id}', {digest}, NULL, 10)") == "OB403"
    call = f"SELECT * FROM obol.deduct('{other.id}', {digest}, '{uuid4()}', 5, NULL, '', NULL)"
    assert refusal(urls.service, call) == "OB403"
    assert ledger.verify(owner) == []
