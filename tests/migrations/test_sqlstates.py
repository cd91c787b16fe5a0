"""What the functions raise and what service.problems knows are the same."""

from collections.abc import Iterator
from typing import NamedTuple

import pglast
import pytest
from migrating import present_files

from service.problems import BY_SQLSTATE

# Asked again with the same id; service.db does so.
ASK_AGAIN = "40001"


class Raise(NamedTuple):
    function: str
    message: str
    sqlstate: str


def raises_of(function: str, script: str) -> Iterator[Raise]:
    """Every RAISE of a function. Only `RAISE EXCEPTION 'message' … USING … ERRCODE = 'code'`
    passes: another form fails here, because its SQLSTATE could not be told."""
    (definition,) = (
        option.arg
        for statement in pglast.parse_sql(script)
        if isinstance(statement.stmt, pglast.ast.CreateFunctionStmt)
        for option in statement.stmt.options
        if option.defname == "as"
    )
    body = definition[0].sval
    # PostgreSQL's own scanner, so that comments and strings are told apart from code.
    words = [
        (token.name, body[token.start : token.end + 1])
        for token in pglast.parser.scan(body)
        if "COMMENT" not in token.name
    ]
    for start, (kind, word) in enumerate(words):
        if kind == "IDENT" and word.upper() == "RAISE":
            statement = [*words[start : words.index(("ASCII_59", ";"), start)]]
            texts = [text for _, text in statement]
            assert texts[1].upper() == "EXCEPTION", f"{function}: {' '.join(texts)}"
            assert statement[2][0] == "SCONST", f"{function}: {' '.join(texts)}"
            at = [text.upper() for text in texts].index("ERRCODE")
            assert texts[at + 1] == "="
            yield Raise(function, texts[2].strip("'"), texts[at + 2].strip("'"))


RAISES = [
    found for file in present_files() if file.parent.name != "views" for found in raises_of(file.stem, file.read_text())
]


def test_every_registered_sqlstate_is_raised_and_no_other():
    assert {found.sqlstate for found in RAISES} - {ASK_AGAIN} == set(BY_SQLSTATE)


def test_registered_sqlstates_are_obol_s_own_class():
    assert all(sqlstate.startswith("OB") and len(sqlstate) == 5 for sqlstate in BY_SQLSTATE)


@pytest.mark.parametrize("found", RAISES, ids=lambda found: f"{found.function}-{found.sqlstate}")
def test_a_message_begins_with_the_prefix_of_its_sqlstate(found):
    if found.sqlstate == ASK_AGAIN:
        assert "ask again" in found.message
    else:
        assert found.message.startswith(f"{BY_SQLSTATE[found.sqlstate].prefix}: ")


def test_a_comment_or_a_string_is_no_raise():
    script = """
        CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            -- RAISE EXCEPTION 'NO: ' USING ERRCODE = 'OB000';
            PERFORM 'RAISE EXCEPTION';
            RAISE EXCEPTION 'YES: %', /* ; */ 1 USING HINT = 'ERRCODE', ERRCODE = 'OB111';
        END
        $$
    """

    assert list(raises_of("f", script)) == [Raise("f", "YES: %", "OB111")]


@pytest.mark.parametrize("statement", ["RAISE", "RAISE NOTICE 'x'", "RAISE unique_violation", "RAISE EXCEPTION 'x'"])
def test_a_raise_without_a_sqlstate_is_refused(statement):
    script = f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {statement}; END $$"

    with pytest.raises((AssertionError, ValueError, IndexError)):
        list(raises_of("f", script))
