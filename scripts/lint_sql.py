#!/usr/bin/env python3
"""Check the SQL of functions and views: what is in force, how it came there, and that it can be sharded.

usage: scripts/lint_sql.py

- A file of alembic/functions/<room>/ or alembic/views/ defines what it is called after, is the same as its
  newest snapshot in alembic/versions/<revision>/, and is short enough to be read.
- A function runs unchanged where licenses are spread over several databases: docs/sharding.md has the rules.
- What the service asks is one plain call of a function, or it would not be delegated there.
"""

import importlib
import pkgutil
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pglast
from pglast import ast
from pglast.visitors import Visitor
from sqlalchemy import TextClause

from service import repository

ROOT = Path(__file__).resolve().parent.parent

LONGEST = 120

# Functions that are not of one license, by name: a new one has to be put here, or to take p_license_id.
NOT_OF_ONE_LICENSE = {
    "ask_again": "only raises",
    "book_charge": "inner: its first argument is a hold",
    "charge_for": "computes, and reads nothing",
    "check_token": "of a token",
    "count_end": "inner: its first argument is a hold",
    "count_waiting": "one read over all licenses",
    "create_token": "of a token",
    "create_webhook": "of a webhook",
    "current_revision": "of the database",
    "deduct_batch": "of many licenses, where these are in one database",
    "deduct_credits": "takes a license key and finds the license in it",
    "delete_webhook": "of a webhook",
    "digest_acts": "the audit trail",
    "disagreement_of": "compares, and reads nothing",
    "dispute_state": "computes, and reads nothing",
    "due_archives": "one read over all licenses",
    "due_changes": "one read over all licenses",
    "due_deliveries": "one read over all licenses",
    "due_expiring": "one read over all licenses",
    "due_holds": "one read over all licenses",
    "due_owed": "one read over all licenses",
    "due_rollups": "one read over all licenses",
    "due_rollups_v2": "one read over all licenses",
    "due_undelivered": "one read over all licenses",
    "end_package": "of a package",
    "find_imported_key": "of a key, to find its license",
    "find_stripe_intent": "of a payment intent, to find its license",
    "free_idempotency_key": "inner: its first argument is a hold",
    "heartbeat": "of a process",
    "hmac_sha256": "computes, and reads nothing",
    "is_signed_by_stripe": "of an event, before its license is believed",
    "list_acts": "the audit trail",
    "list_all_payments": "one read over all licenses",
    "list_archived": "one read over all licenses",
    "list_events": "one read over all licenses",
    "list_heads": "one read over all licenses",
    "list_holds": "one read over all licenses",
    "list_licenses": "one read over all licenses",
    "list_newest_licenses": "one read over all licenses",
    "list_packages": "what is sold",
    "list_prices": "the price book",
    "list_processes": "of processes",
    "list_thresholds": "computes, and reads nothing",
    "list_tokens": "of tokens",
    "list_verifications": "of checks of all of it",
    "list_webhooks": "of webhooks",
    "next_threshold": "computes, and reads nothing",
    "note_verification": "of a check of all of it",
    "note_webhook": "of a webhook",
    "overview": "one read over all licenses",
    "pause_webhook": "of a webhook",
    "purge_events": "plain writes over all licenses",
    "purge_expired": "plain writes over all licenses",
    "recent_licenses": "one read over all licenses",
    "refuse_amount": "only raises",
    "refuse_hold": "only raises",
    "register_first_token": "of a token",
    "replay_events": "of a webhook, an operator's",
    "revoke_token": "of a token",
    "roll_up_business": "one read over all licenses, into a table of its own",
    "rotate_webhook": "of a webhook",
    "set_package": "of a package",
    "set_packages": "of packages",
    "sum_expiring": "one read over all licenses",
    "sum_refunds": "computes, and reads nothing",
    "set_prices": "the price book",
    "set_prices_v2": "the price book",
    "set_stripe_secret": "of a secret",
    "settle_acts": "the audit trail",
    "tell_upstream_refusal": "of no license",
    "utc": "computes, and reads nothing",
    "verify": "one read over all licenses",
    "verify_acts": "one read over all licenses",
    "verify_archived": "one read over all licenses",
    "verify_business": "one read over all licenses",
    "verify_events": "one read over all licenses",
    "verify_grants": "one read over all licenses",
    "verify_holds": "one read over all licenses",
    "verify_idempotency": "one read over all licenses",
    "verify_imported_keys": "one read over all licenses",
    "verify_ledger": "one read over all licenses",
    "verify_licenses": "one read over all licenses",
    "verify_limits": "one read over all licenses",
    "verify_payments": "one read over all licenses",
    "verify_recent_acts": "one read over all licenses",
    "verify_recent_grants": "one read over all licenses",
    "verify_recent_holds": "one read over all licenses",
    "verify_recent_ledger": "one read over all licenses",
    "verify_recent_licenses": "one read over all licenses",
    "verify_since": "one read over all licenses",
    "verify_usage": "one read over all licenses",
    "verify_v2": "one read over all licenses",
}

# Functions that are never called where licenses are spread over nodes, so what cannot be done there they may do.
OF_ONE_DATABASE = {"deduct_batch"}

# What an UPDATE or DELETE may call. Anything else, above all clock_timestamp(), may be volatile.
IMMUTABLE = {"count", "make_interval", "sum"}


class Function(NamedTuple):
    """A function's definition, as far as it is looked at."""

    name: str
    arguments: list[str]
    language: str
    queries: list[str]


def main() -> None:
    findings = sorted([*lint(ROOT / "alembic"), *lint_calls()])
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    sys.exit(bool(findings))


def lint(folder: Path) -> Iterator[str]:
    """What is wrong in a folder of migrations, a line for each thing."""
    volatile_views = {file.stem for file in folder.glob("views/*.sql") if _is_volatile(file.read_text())}
    order = [file.stem.partition("_")[0] for file in sorted((folder / "versions").glob("*.py"))]
    for file in present(folder):
        where = str(file.relative_to(folder))
        text = file.read_text()
        kind = "VIEW" if file.parent.name == "views" else "FUNCTION"
        for made in re.findall(rf"^CREATE OR REPLACE {kind} obol\.(\w+)", text, re.MULTILINE) or ["nothing"]:
            if made != file.stem:
                yield f"{where}: it makes {made}; a file makes what it is called after, and nothing else"
        if len(text.splitlines()) > LONGEST:
            yield f"{where}: it has {len(text.splitlines())} lines; {LONGEST} are the most"
        snapshots = [folder / "versions" / revision / file.name for revision in order]
        newest = next((snapshot for snapshot in reversed(snapshots) if snapshot.exists()), None)
        if newest is None or newest.read_text() != text:
            yield f"{where}: it is not as in its newest snapshot; run: make snapshot REVISION={order[-1]}"
        if kind == "FUNCTION":
            if not re.search(rf"^REVOKE ALL ON FUNCTION obol\.{file.stem}\([^)]*\) FROM PUBLIC;$", text, re.MULTILINE):
                yield f"{where}: it leaves the function to PUBLIC; revoke it"
            yield from (f"{where}: {finding}" for finding in lint_function(text, volatile_views))


def lint_calls() -> Iterator[str]:
    """What keeps the calls of the service from being delegated, a line for each thing."""
    for module in pkgutil.iter_modules(repository.__path__):
        for name, value in vars(importlib.import_module(f"service.repository.{module.name}")).items():
            # What names no function of ours asks the catalogs.
            if isinstance(value, TextClause) and re.search(r"\bobol\.\w+\(", value.text):
                yield from (f"{module.name}.{name}: {finding}" for finding in lint_call(value.text))


def lint_call(statement: str) -> Iterator[str]:
    """What keeps a statement from being one plain call of a function with values."""
    seen = _Seen()
    parsed = pglast.parse_sql(re.sub(r"(?<!:):(\w+)", "NULL", statement))
    for one in parsed:
        seen(one.stmt)
    calls = [call for call in seen.calls if call.funcname[0].sval == "obol"]
    if len(parsed) > 1 or len(seen.selects) > 1 or len(calls) > 1 or seen.relations:
        yield "it is more than one call of one function; a call is delegated alone"
    for call in seen.calls:
        if call not in calls:
            yield f"it calls {_name(call)}(), which may be volatile; hand over a value"


def present(folder: Path) -> list[Path]:
    """The files of what is in force."""
    return sorted([*folder.glob("functions/*/*.sql"), *folder.glob("views/*.sql")])


def lint_function(script: str, volatile_views: Collection[str] = ()) -> Iterator[str]:
    """What keeps a function from running on a sharded database.

    Args:
        volatile_views: names of views that call what may be volatile.
    """
    function = read_function(script)
    if function.arguments[:1] != ["p_license_id"] and function.name not in NOT_OF_ONE_LICENSE:
        yield "its first argument is not p_license_id, and lint_sql.py does not name it as an exception"
    if re.search(r"\b(CONSTRAINT_NAME|TABLE_NAME)\b", script):
        yield "it reads the name of a constraint or table from an error, and shards have other names"
    for query in function.queries:
        # What is no query by itself is an expression, or an assignment.
        try:
            statements = pglast.parse_sql(query)
        except pglast.parser.ParseError:
            statements = pglast.parse_sql(f"SELECT {query.partition(':=')[2] or query}")
        for statement in statements:
            seen = _Seen()
            seen(statement.stmt)
            for write in seen.writes:
                yield from _lint_write(write, volatile_views)
            if function.language == "sql" and function.arguments and seen.relations:
                yield "it is in SQL and brings its arguments to tables; write it in PL/pgSQL"
            if function.name not in OF_ONE_DATABASE:
                yield from _lint_query(seen)


def _is_volatile(view: str) -> bool:
    seen = _Seen()
    for statement in pglast.parse_sql(view):
        seen(statement.stmt)
    return any(_name(call) not in IMMUTABLE for call in seen.calls)


def read_function(script: str) -> Function:
    """The one function that a script makes."""
    (made,) = (raw.stmt for raw in pglast.parse_sql(script) if isinstance(raw.stmt, ast.CreateFunctionStmt))
    options = {option.defname: option.arg for option in made.options}
    language = options["language"].sval
    # The parser looks types up, and knows only this schema.
    tree = pglast.parse_plpgsql(script.replace("obol.", "public.")) if language == "plpgsql" else None
    queries = [options["as"][0].sval] if tree is None else list(_queries(tree))
    inputs = [p.name for p in made.parameters or () if p.mode.value not in ("t", "o")]
    return Function(made.funcname[-1].sval, inputs, language, queries)


def _queries(tree: Any) -> Iterator[str]:
    """Every query and expression of a PL/pgSQL function."""
    if isinstance(tree, dict):
        if "PLpgSQL_expr" in tree:
            yield tree["PLpgSQL_expr"]["query"]
        for value in tree.values():
            yield from _queries(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _queries(value)


class _Seen(Visitor):  # type: ignore[misc]
    """What a statement is made of."""

    def __init__(self) -> None:
        self.calls: list[ast.FuncCall] = []
        self.relations: list[ast.RangeVar] = []
        self.selects: list[ast.SelectStmt] = []
        self.writes: list[ast.UpdateStmt | ast.DeleteStmt] = []
        self.ctes: list[ast.CommonTableExpr] = []
        self.conflicts: list[ast.InferClause] = []
        super().__init__()

    def visit(self, _: Any, node: Any) -> None:
        kinds: dict[type, list[Any]] = {
            ast.FuncCall: self.calls,
            ast.RangeVar: self.relations,
            ast.SelectStmt: self.selects,
            ast.UpdateStmt: self.writes,
            ast.DeleteStmt: self.writes,
            ast.CommonTableExpr: self.ctes,
            ast.InferClause: self.conflicts,
        }
        if type(node) in kinds:
            kinds[type(node)].append(node)


def _lint_write(write: ast.UpdateStmt | ast.DeleteStmt, volatile_views: Collection[str]) -> Iterator[str]:
    seen = _Seen()
    seen(write)
    for call in seen.calls:
        if _name(call) not in IMMUTABLE:
            yield f"an UPDATE or DELETE calls {_name(call)}(), which may be volatile; take its value into a variable"
    for relation in seen.relations:
        if relation.relname in volatile_views:
            yield f"an UPDATE or DELETE reads the view {relation.relname}, which calls what may be volatile"
    if any(select.limitCount for select in seen.selects):
        yield "an UPDATE or DELETE has a LIMIT; find its bound with a SELECT before"


def _lint_query(seen: _Seen) -> Iterator[str]:
    if any(select.lockingClause and not _is_of_one_license(select) for select in seen.selects):
        yield "it locks rows of several licenses; do it a license at a time"
    aliases = {relation.alias.aliasname if relation.alias else relation.relname for relation in seen.relations}
    for call in seen.calls:
        for argument in call.args or ():
            if isinstance(argument, ast.ColumnRef) and _names(argument) in ([alias] for alias in aliases):
                yield f"it hands the whole row {_names(argument)[0]} to {_name(call)}(); hand over columns"
    used = [relation.relname for relation in seen.relations if relation.schemaname is None]
    for cte in seen.ctes:
        if used.count(cte.ctename) > 1 and cte.ctematerialized.name != "CTEMaterializeNever":
            yield f"{cte.ctename} is used more than once; say NOT MATERIALIZED, or it is read in a snapshot of its own"
    if any(clause.conname for clause in seen.conflicts):
        yield "ON CONFLICT names a constraint, and shards have other names; name the columns"


def _name(call: ast.FuncCall) -> str:
    return str(call.funcname[-1].sval)


def _names(column: ast.ColumnRef) -> list[str]:
    return [field.sval for field in column.fields if isinstance(field, ast.String)]


def _is_of_one_license(select: ast.SelectStmt) -> bool:
    """Whether one of a query's conditions is that the license is the function's."""
    conditions = [select.whereClause]
    while conditions:
        condition = conditions.pop()
        if isinstance(condition, ast.BoolExpr) and condition.boolop.name == "AND_EXPR":
            conditions.extend(condition.args)
        elif isinstance(condition, ast.A_Expr) and condition.name[-1].sval == "=":
            sides = [side for side in (condition.lexpr, condition.rexpr) if isinstance(side, ast.ColumnRef)]
            if sorted(_names(side)[-1] for side in sides) == ["license_id", "p_license_id"]:
                return True
    return False


if __name__ == "__main__":
    main()
