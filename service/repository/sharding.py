"""Spreads a migrated database over the nodes of a Citus cluster: what `obol shard` runs.

Everything but what the service may call is asked of the catalogs, and nothing is written down: what is distributed
already is left alone, and what a later migration adds is found. docs/sharding.md has what functions must be for this,
docs/scaling.md when to.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text

from ..db import Database

# Read by every license and written seldom: a copy on each node.
_REFERENCE = "{packages,prices,price_tiers,webhooks}"

# Of one license, and yet not for its shard: they write acts, or where the license of a payment is found.
_UNDELEGATED = "{book_stripe_event,give_for_payment,note_stripe_state,square_payment}"

SHARDS = 32

_PLACES = {"reference": _REFERENCE, "undelegated": _UNDELEGATED, "shards": SHARDS}

# The steps of a plan that take the rows of a table elsewhere.
_MOVES_ROWS = (1, 2)

# What there is to say before anything is done, each with whether it holds. The extension is looked for first:
# without it the other names are not there.
_HAS_CITUS = text("""
    SELECT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = 'citus')
           AND pg_catalog.to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL
""")
_MISSING = text("""
    SELECT m.what
      FROM (VALUES
        (1, pg_catalog.to_regclass('obol.alembic_version') IS NOT NULL, 'the schema obol: run `obol migrate` first'),
        (2, pg_catalog.current_setting('wal_level') = 'logical',
            'wal_level = logical, on every node: shards are moved by logical replication'),
        (3, pg_catalog.current_setting('max_prepared_transactions')::integer > 0,
            'max_prepared_transactions = 300, on every node: writes to several nodes are prepared first'),
        (4, NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
                         WHERE n.nspname = 'obol' AND NOT r.rolcanlogin),
            'an owner of the schema obol that can log in: the nodes connect to each other as the owner'),
        (5, NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n
                         WHERE n.nspname = 'obol' AND NOT pg_catalog.pg_has_role(n.nspowner, 'USAGE')),
            'the owner''s login in OBOL_MIGRATE_URL'),
        (6, EXISTS (SELECT FROM pg_catalog.pg_dist_node d WHERE d.isactive AND d.shouldhaveshards),
            'a node that takes shards: citus_add_node')
      ) AS m (place, holds, what)
     WHERE NOT m.holds
     ORDER BY m.place
""")

# A table belongs to licenses when each of its unique indexes has the license in it; a cluster can keep no other
# kind of uniqueness over its shards. So external_ids, which are unique over all licenses, stay in one place.
_PLAN = """
    WITH tables AS (
        SELECT c.oid, c.relname::text AS name, d.logicalrelid IS NOT NULL AS is_placed,
               -- What others refer to goes first: the licenses, then the others.
               CASE WHEN c.relname = 'licenses' THEN ''
                    WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.confrelid = c.oid) THEN ' ' || c.relname
                    ELSE c.relname::text END AS place,
               EXISTS (SELECT FROM pg_catalog.pg_constraint k
                        WHERE k.confrelid = c.oid AND k.conrelid <> c.oid) AS is_referred_to,
               c.relname = ANY (CAST(:reference AS text[])) AS is_reference,
               EXISTS (SELECT FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = c.oid AND a.attname = 'license_id' AND NOT a.attisdropped)
               AND NOT EXISTS (
                   SELECT FROM pg_catalog.pg_index i
                    WHERE i.indrelid = c.oid AND i.indisunique
                      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                                       WHERE a.attrelid = c.oid AND a.attname = 'license_id'
                                         AND a.attnum = ANY (i.indkey::smallint[]))
               ) AS is_of_licenses
          FROM pg_catalog.pg_class c
          LEFT JOIN pg_catalog.pg_dist_partition d
            ON d.logicalrelid = c.oid
               -- What the extension has taken up by itself, for a foreign key, has no place of its own yet.
               AND NOT d.autoconverted
         WHERE c.relnamespace = pg_catalog.to_regnamespace('obol') AND c.relkind IN ('r', 'p')
    ), functions AS (
        SELECT p.oid,
               pg_catalog.format(
                   'obol.%I(%s)', p.proname,
                   (SELECT pg_catalog.string_agg(pg_catalog.format_type(t.type, NULL), ',' ORDER BY t.place)
                      FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS t (type, place))) AS name,
               -- An operator's function reads tokens and writes acts, which are on no shard.
               p.pronargs > 0 AND p.proargnames[1] = 'p_license_id'
               AND NOT 'p_token_digest' = ANY (p.proargnames)
               AND p.proname <> ALL (CAST(:undelegated AS text[])) AS is_delegated,
               o.objid IS NOT NULL AS is_placed,
               o.distribution_argument_index IS NOT NULL AS has_argument,
               p.proacl
          FROM pg_catalog.pg_proc p
          LEFT JOIN pg_catalog.pg_dist_object o
            ON o.classid = 'pg_catalog.pg_proc'::regclass AND o.objid = p.oid
         WHERE p.pronamespace = pg_catalog.to_regnamespace('obol') AND p.prorettype <> 'trigger'::regtype
    ), steps AS (
        SELECT 1 AS step, t.place, t.name,
               pg_catalog.format('SELECT create_reference_table(%L)', 'obol.' || t.name) AS statement
          FROM tables t
         WHERE t.is_reference AND NOT t.is_placed
        UNION ALL
        SELECT 2, t.place, t.name,
               pg_catalog.format('SELECT create_distributed_table(%L, ''license_id'', %s)', 'obol.' || t.name,
                                 CASE WHEN t.name = 'licenses'
                                      THEN pg_catalog.format('shard_count => %s, colocate_with => ''none''',
                                                             CAST(:shards AS integer))
                                      ELSE 'colocate_with => ''obol.licenses''' END)
          FROM tables t
         WHERE t.is_of_licenses AND NOT t.is_reference AND NOT t.is_placed
        UNION ALL
        SELECT 3, t.name, t.name,
               pg_catalog.format('SELECT citus_add_local_table_to_metadata(%L)', 'obol.' || t.name)
          FROM tables t
         WHERE NOT t.is_of_licenses AND NOT t.is_reference AND NOT t.is_placed
        UNION ALL
        SELECT 4, f.name, f.name,
               pg_catalog.format(
                   CASE WHEN f.is_delegated
                        THEN 'SELECT create_distributed_function(%L, ''p_license_id'','
                             ' colocate_with := ''obol.licenses'', force_delegation := true)'
                        ELSE 'SELECT create_distributed_function(%L)' END, f.name)
          FROM functions f
         WHERE NOT f.is_placed OR f.is_delegated AND NOT f.has_argument
    )
"""

_NOT_PLACED = text(f"{_PLAN} SELECT s.name FROM steps s ORDER BY s.step, s.place")
_IS_SHARDED = text("""
    SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition d JOIN pg_catalog.pg_class c ON c.oid = d.logicalrelid
                    WHERE c.relnamespace = pg_catalog.to_regnamespace('obol'))
""")

# A local copy of rows that went to shards is not read any more, and would only be in the way. The size of the file on
# this node tells of one: what a table is asked for itself, its shards answer.
_LEFT_BEHIND = text(f"""
    {_PLAN}
    SELECT t.name, t.is_referred_to
      FROM tables t
     WHERE t.is_placed AND (t.is_reference OR t.is_of_licenses) AND pg_catalog.pg_relation_size(t.oid) > 0
     ORDER BY t.place
""")
_STEPS = text(f"""
    {_PLAN}
    SELECT s.step, s.name, s.statement, COALESCE(t.is_referred_to, false)
      FROM steps s LEFT JOIN tables t ON t.name = s.name
     ORDER BY s.step, s.place, s.statement
""")

# What the migrations grant is in their own text, because an earlier run that was interrupted has left tables and
# functions without what they had. What an operator has granted besides is nowhere but here.
_GRANTS = text(f"""
    {_PLAN}
    , migrated AS (
        SELECT ''::text AS name, 'GRANT USAGE ON SCHEMA obol TO obol_service' AS statement
        UNION ALL
        SELECT f.name, pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO obol_service', f.name)
          FROM pg_catalog.unnest(CAST(:granted AS text[])) AS g (signature)
          JOIN functions f ON f.oid = pg_catalog.to_regprocedure(g.signature)
    ), found AS (
        SELECT ''::text AS name, pg_catalog.format('GRANT USAGE ON SCHEMA obol TO %I', r.rolname) AS statement
          FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
          JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
         WHERE n.nspname = 'obol' AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner
        UNION ALL
        SELECT c.relname::text, pg_catalog.format('GRANT %s ON obol.%I TO %I', a.privilege_type, c.relname, r.rolname)
          FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
          JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
         WHERE c.relnamespace = pg_catalog.to_regnamespace('obol') AND c.relkind IN ('r', 'p', 'v')
           AND a.grantee <> c.relowner
        UNION ALL
        SELECT f.name, pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %I', f.name, r.rolname)
          FROM functions f, pg_catalog.aclexplode(f.proacl) a
          JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
         WHERE a.grantee <> a.grantor
    )
    SELECT e.name, e.statement, pg_catalog.bool_or(e.is_migrated)
      FROM (SELECT m.name, m.statement, true AS is_migrated FROM migrated m
            UNION ALL SELECT f.name, f.statement, false FROM found f) e
     GROUP BY e.name, e.statement
     ORDER BY e.name, e.statement
""")


class CannotShard(Exception):
    """Something is missing; the message names it."""


class Plan(NamedTuple):
    """Statements to be run in order, as the owner: `steps` that are left, none when all of the schema is distributed,
    and then `grants`, which are there each time and do no harm twice."""

    steps: list[str]
    grants: list[str]


class _Step(NamedTuple):
    step: int
    name: str
    statement: str
    is_referred_to: bool


class _Grant(NamedTuple):
    name: str
    statement: str
    is_migrated: bool


def plan(db: Database, granted: Sequence[str]) -> Plan:
    """What is left to be run.

    Args:
        granted: signatures of the functions that the service may call, as far as they are there.

    Raises:
        CannotShard: naming each thing that is missing.
    """
    if not _has_citus(db):
        raise CannotShard("this database lacks the extension citus: CREATE EXTENSION citus, on every node")
    if missing := [str(what) for (what,) in db.rows(_MISSING)]:
        raise CannotShard(f"this database lacks {'; '.join(missing)}")
    steps = [_Step._make(row) for row in db.rows(_STEPS, **_PLACES)]
    grants = [_Grant._make(row) for row in db.rows(_GRANTS, **_PLACES, granted=list(granted))]
    moves = [step for step in steps if step.step in _MOVES_ROWS]
    left = db.rows(_LEFT_BEHIND, **_PLACES)
    statements = [_truncate(name) for name, is_referred_to in left if not is_referred_to]
    # Not before all tables are distributed: the engine refuses it while a local table refers to this one, and empties
    # what refers to it from further away, local or not.
    later = [_truncate(name) for name, is_referred_to in left if is_referred_to]
    for step in moves:
        statements += _with_grants(step, grants)
        # By its size, as above: rows that were deleted are left behind, too.
        if db.row(text(f"SELECT pg_catalog.pg_relation_size('obol.{step.name}') > 0"))[0]:
            (later if step.is_referred_to else statements).append(_truncate(step.name))
    statements += later
    for step in steps[len(moves) :]:
        statements += _with_grants(step, grants)
    return Plan(statements, [grant.statement for grant in grants])


def _with_grants(step: _Step, grants: Sequence[_Grant]) -> list[str]:
    """A step, and at once what an operator has granted: a run that is interrupted loses it for one object at most."""
    again = [grant.statement for grant in grants if grant.name == step.name and not grant.is_migrated]
    return [step.statement, *again]


def _truncate(table: str) -> str:
    return f"SELECT truncate_local_data_after_distributing_table('obol.{table}')"


def run(db: Database, statement: str) -> None:
    """Run a statement of a plan. Each is a transaction: after an error the rest is planned anew."""
    db.run(text(statement.replace(":", r"\:")))


def left_out(db: Database) -> list[str]:
    """Tables and functions that are not distributed though others of the schema are: a migration made them."""
    if not is_sharded(db):
        return []
    return [str(name) for (name,) in db.rows(_NOT_PLACED, **_PLACES)]


def is_sharded(db: Database) -> bool:
    """Whether licenses are spread over nodes: then a call has one of them."""
    return _has_citus(db) and bool(db.row(_IS_SHARDED)[0])


def _has_citus(db: Database) -> bool:
    (has,) = db.row(_HAS_CITUS)
    return bool(has)
