#!/usr/bin/env python3
"""Write the schema that the migrations make, the way pg_dump prints it.

usage: scripts/dump_schema.py OUTPUT [--url URL]

Without a URL a temporary PostgreSQL is started and migrated. pg_dump always comes from the
locked wheel, so that the text does not depend on what else is installed.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from service import migrations
from service.dev.embedded import EmbeddedPostgres, wheel_binaries

HEADER = "-- Written by `make schema` from the migrations, to be read in reviews; nothing runs it.\n\n"


def connection(url: str) -> tuple[str, dict[str, str]]:
    """How psql and pg_dump reach a database: a connection string without the password, which
    other users would see among the arguments, and an environment with it."""
    parts = parse_dsn(url)
    password = parts.pop("password", "")
    return make_dsn(**parts), os.environ | {"PGPASSWORD": password}


def dump(url: str) -> str:
    """Everything in the schema obol of a database: tables, views, functions, comments, grants."""
    dsn, environment = connection(url)
    result = subprocess.run(
        [wheel_binaries() / "pg_dump", "--schema-only", "--schema=obol", "--no-owner", "--dbname", dsn],
        env=environment,
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise RuntimeError(f"pg_dump failed: {result.stderr.strip()}")
    return normalise(result.stdout)


def normalise(dumped: str) -> str:
    """Leave out what differs from server to server: the \\restrict token, the versions, runs of empty lines,
    and pg_attver, in which PostgreSQL 15.20 counts a column's changes for itself."""
    differs = r"^(\\(un)?restrict .*|-- Dumped (from|by) .*|ALTER TABLE .* SET \(pg_attver=\d+\);)\n"
    kept = re.sub(differs, "", dumped, flags=re.MULTILINE)
    return HEADER + re.sub(r"\n{3,}", "\n\n", kept).strip() + "\n"


def dump_migrations() -> str:
    """The dump of a new database, at the newest migration, on a PostgreSQL of its own."""
    folder = Path(tempfile.mkdtemp(prefix="obol-schema-"))
    # The server runs as another user when this runs as root.
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder)
    try:
        url = server.acquire().owner
        migrations.upgrade(url)
        return dump(url)
    finally:
        server.release()
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the schema that the migrations make.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--url", help="a migrated database; by default a temporary one is made")
    arguments = parser.parse_args()
    arguments.output.write_text(dump(arguments.url) if arguments.url else dump_migrations())


if __name__ == "__main__":
    main()
