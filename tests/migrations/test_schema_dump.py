"""alembic/schema.sql, which reviews read, is what the migrations make."""

import subprocess
import sys

from dump_schema import HEADER, normalise
from migrating import ROOT


def test_the_committed_schema_is_what_the_migrations_make(tmp_path):
    # The script starts the wheel's PostgreSQL, so TEST_POSTGRES_BIN makes no difference here:
    # PostgreSQL 15 prints views in another way than 18 does.
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "dump_schema.py", tmp_path / "schema.sql"], capture_output=True, text=True
    )

    assert made.returncode == 0, made.stderr
    assert (tmp_path / "schema.sql").read_text() == (ROOT / "alembic" / "schema.sql").read_text(), (
        "the schema changed: run `make schema` and commit alembic/schema.sql"
    )


def test_what_differs_from_server_to_server_is_left_out():
    dumped = (
        "\\restrict token\n-- Dumped from database version 15.20\n"
        "CREATE TABLE obol.holds (\n    amount bigint NOT NULL\n);\n"
        "ALTER TABLE ONLY obol.holds ALTER COLUMN amount SET (pg_attver=26553112);\n"
        "ALTER TABLE ONLY obol.holds ALTER COLUMN amount SET (n_distinct=5);\n"
    )

    assert normalise(dumped).removeprefix(HEADER) == (
        "CREATE TABLE obol.holds (\n    amount bigint NOT NULL\n);\n"
        "ALTER TABLE ONLY obol.holds ALTER COLUMN amount SET (n_distinct=5);\n"
    )
