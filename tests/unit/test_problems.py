"""The table of errors: no row twice, every SQLSTATE in its own class, and what a Problem says."""

import re
from pathlib import Path

import pytest

from service.problems import BY_CODE, BY_SQLSTATE, Problem

FUNCTIONS = Path(__file__).resolve().parents[2] / "alembic" / "functions"


def test_no_code_sqlstate_or_prefix_stands_twice():
    rows = list(BY_CODE.values())
    assert len(BY_SQLSTATE) == len([row for row in rows if row.sqlstate])
    assert len({row.prefix for row in rows if row.prefix}) == len(BY_SQLSTATE)
    assert all((row.sqlstate is None) == (row.prefix is None) for row in rows)


def test_sql_raises_what_is_in_the_table_and_all_of_it():
    raised = set()
    for script in FUNCTIONS.glob("*/*.sql"):
        for statement in re.findall(r"RAISE EXCEPTION(.*?);", script.read_text(), re.DOTALL):
            sqlstate = re.search(r"ERRCODE = '(\w{5})'", statement)[1]
            if sqlstate == "40001":
                continue
            raised.add((sqlstate, re.match(r"\s*'([A-Z_]+): ", statement)[1]))
    assert raised == {(row.sqlstate, row.prefix) for row in BY_SQLSTATE.values()}


@pytest.mark.parametrize("row", BY_CODE.values(), ids=BY_CODE)
def test_a_row_can_be_shown(row):
    assert re.fullmatch(r"[a-z_]+", row.code)
    assert 400 <= row.status < 600
    assert row.title
    assert not row.title.endswith(".")


def test_a_problem_says_what_it_is():
    problem = Problem("over_capacity", "Nothing is free.")
    assert str(problem) == "over_capacity: Nothing is free."
    assert (problem.type.status, problem.retry_after, problem.extra, problem.outcome_unknown) == (503, 1, {}, False)


def test_retry_after_can_be_said_for_one_case():
    assert Problem("over_capacity", "", retry_after_s=7).retry_after == 7
    assert Problem("over_capacity", "", retry_after_s=0).retry_after == 0
    assert Problem("database_error", "").retry_after is None


def test_a_code_that_is_not_in_the_table_has_no_type():
    with pytest.raises(KeyError):
        _ = Problem("no_such_code", "").type
