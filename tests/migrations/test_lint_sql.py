"""scripts/lint_sql.py: each rule finds what it is there for, and nothing where all is well."""

import shutil

import pytest
from lint_sql import lint, lint_call, lint_calls, lint_function
from migrating import ROOT, revisions

NEWEST = revisions()[-1].revision

FUNCTION = """
    CREATE FUNCTION obol.f({arguments}) RETURNS {returns} LANGUAGE {language} AS $$
    {body}
    $$
"""


def plpgsql(body, declare="v_now timestamptz := clock_timestamp();", arguments="p_license_id uuid"):
    body = f"DECLARE {declare} BEGIN {body}; END"
    return FUNCTION.format(arguments=arguments, returns="void", language="plpgsql", body=body)


def findings(script, volatile_views=()):
    return list(lint_function(script, volatile_views))


WELL = [
    "UPDATE obol.holds h SET ended_at = v_now WHERE h.license_id = p_license_id",
    "UPDATE obol.holds h SET ended_at = v_now + make_interval(secs => 5) WHERE h.license_id = p_license_id",
    "INSERT INTO obol.holds (opened_at) VALUES (clock_timestamp())",
    "PERFORM FROM obol.holds h WHERE h.expires_at > clock_timestamp()",
    "PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id AND l.balance > 0 FOR NO KEY UPDATE",
    "v_now := clock_timestamp()",
    "IF v_now > clock_timestamp() THEN RETURN; END IF",
    "INSERT INTO obol.holds (hold_id) VALUES (NULL) ON CONFLICT (license_id, hold_id) DO NOTHING",
]


@pytest.mark.parametrize("body", WELL)
def test_what_can_be_sharded_passes(body):
    assert findings(plpgsql(body)) == []


ILL = {
    "UPDATE obol.holds h SET ended_at = v_now WHERE h.expires_at < clock_timestamp()": "calls clock_timestamp()",
    "UPDATE obol.holds h SET ended_at = clock_timestamp()": "calls clock_timestamp()",
    "UPDATE obol.holds h SET state = 'x' WHERE EXISTS (SELECT FROM obol.holds WHERE random() > 0)": "calls random()",
    "DELETE FROM obol.holds h WHERE h.hold_id = gen_random_uuid()": "calls gen_random_uuid()",
    "WITH w AS (UPDATE obol.holds h SET ended_at = clock_timestamp() RETURNING 1) SELECT * INTO v_now FROM w": (
        "calls clock_timestamp()"
    ),
    "UPDATE obol.holds h SET state = 'x' FROM (SELECT hold_id FROM obol.holds LIMIT 5) o": "has a LIMIT",
    "DELETE FROM obol.holds h USING obol.license_overview l": "reads the view license_overview",
    "PERFORM FROM obol.licenses l ORDER BY l.license_id FOR UPDATE SKIP LOCKED": "locks rows of several licenses",
    "PERFORM FROM obol.licenses l WHERE l.license_id = ANY (v_ids) FOR UPDATE": "locks rows of several licenses",
    "PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id OR true FOR UPDATE": (
        "locks rows of several licenses"
    ),
    "PERFORM FROM obol.holds h WHERE obol.is_due(h, v_now)": "hands the whole row h to is_due()",
    "PERFORM FROM obol.holds WHERE obol.is_due(holds, v_now)": "hands the whole row holds to is_due()",
    "WITH c AS (SELECT 1) SELECT v_now INTO v_now FROM c a, c b": "c is used more than once",
    "INSERT INTO obol.holds (hold_id) VALUES (NULL) ON CONFLICT ON CONSTRAINT holds_pkey DO NOTHING": (
        "names a constraint"
    ),
}


@pytest.mark.parametrize(("body", "finding"), ILL.items())
def test_what_cannot_be_sharded_is_found(body, finding):
    (found,) = findings(plpgsql(body), {"license_overview"})

    assert finding in found


def test_a_common_table_that_is_used_twice_may_be_inlined():
    assert findings(plpgsql("WITH c AS NOT MATERIALIZED (SELECT 1) SELECT v_now INTO v_now FROM c a, c b")) == []


def test_a_function_in_sql_may_not_bring_its_arguments_to_tables():
    body = "SELECT 1 FROM obol.holds h WHERE h.license_id = p_license_id"
    script = FUNCTION.format(arguments="p_license_id uuid", returns="bigint", language="sql", body=body)

    (found,) = findings(script)
    assert "write it in PL/pgSQL" in found


def test_the_license_comes_first():
    (found,) = findings(plpgsql("RETURN", arguments="p_key_digest bytea, p_license_id uuid"))

    assert "first argument is not p_license_id" in found


@pytest.fixture
def copy(tmp_path):
    """The folder of the migrations, to be spoilt."""
    return shutil.copytree(ROOT / "alembic", tmp_path / "alembic", ignore=shutil.ignore_patterns("__pycache__"))


def test_the_committed_sql_is_well(copy):
    assert list(lint(copy)) == []


def test_a_present_function_must_be_as_in_its_newest_snapshot(copy):
    file = copy / "functions" / "ledger" / "book_deduction.sql"
    file.write_text(file.read_text().replace("p_amount <= 0", "p_amount < 0"))

    assert list(lint(copy)) == [
        "functions/ledger/book_deduction.sql: it is not as in its newest snapshot; "
        f"run: make snapshot REVISION={NEWEST}"
    ]


def test_a_present_view_must_be_as_in_its_newest_snapshot(copy):
    (copy / "versions" / "0001" / "price_book.sql").unlink()

    assert list(lint(copy)) == [
        f"views/price_book.sql: it is not as in its newest snapshot; run: make snapshot REVISION={NEWEST}"
    ]


def test_the_newest_snapshot_is_that_of_the_newest_revision_that_has_one(copy):
    (copy / "versions" / "9001_more.py").write_text("")
    (copy / "versions" / "9002_even_more.py").write_text("")
    (copy / "versions" / "9001").mkdir()
    file = copy / "functions" / "ledger" / "book_deduction.sql"
    changed = file.read_text().replace("p_amount <= 0", "p_amount < 0")
    (copy / "versions" / "9001" / "book_deduction.sql").write_text(changed)
    assert len(list(lint(copy))) == 1

    file.write_text(changed)
    assert list(lint(copy)) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda text: text.replace("FUNCTION obol.list_prices", "FUNCTION obol.another", 1), "it makes another"),
        (lambda text: text.replace("REVOKE ALL", "-- REVOKE ALL"), "PUBLIC"),
        (lambda text: text + "--\n" * 120, "120 are the most"),
    ],
    ids=["another name", "open to everybody", "long"],
)
def test_a_file_makes_one_closed_function_that_can_be_read(copy, change, finding):
    for file in (copy / "functions" / "prices" / "list_prices.sql", copy / "versions" / "0001" / "list_prices.sql"):
        file.write_text(change(file.read_text()))

    assert any(finding in found for found in lint(copy))


def test_the_service_s_calls_are_well():
    assert list(lint_calls()) == []


@pytest.mark.parametrize(
    "statement",
    ["SELECT * FROM obol.f(:license_id, CAST(:at AS timestamptz))", "SELECT obol.f(:license_id)"],
)
def test_a_plain_call_is_delegated(statement):
    assert list(lint_call(statement)) == []


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("SELECT * FROM obol.f(:license_id, clock_timestamp())", "calls clock_timestamp()"),
        ("SELECT * FROM obol.f(:license_id), obol.g(:license_id)", "more than one call"),
        ("SELECT obol.f(l.license_id) FROM obol.licenses l", "more than one call"),
        ("SELECT obol.f(:license_id); SELECT 1", "more than one call"),
        ("WITH a AS (SELECT * FROM obol.f(:license_id)) SELECT * FROM a", "more than one call"),
    ],
)
def test_what_is_not_delegated_is_found(statement, finding):
    (found,) = lint_call(statement)
    assert finding in found


def test_no_name_of_a_constraint_is_read_from_an_error():
    body = "RETURN; EXCEPTION WHEN unique_violation THEN GET STACKED DIAGNOSTICS v_name = CONSTRAINT_NAME"
    (found,) = findings(plpgsql(body, declare="v_name text;"))
    assert "shards have other names" in found
