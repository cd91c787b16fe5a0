"""A database of every release can be upgraded to this one, and goes on as it was."""

import re

import pytest
from factories import wait_until
from migrating import HERE, ROOT, dump, psql, run

from service import create_app, migrations
from service.config import load
from service.http.services import services_of

RELEASED = sorted((HERE / "released").glob("*.sql"))
HELD = "SELECT count(*) FROM obol.holds WHERE state = 'held'"
BALANCE = "SELECT balance FROM obol.licenses WHERE name = 'first'"


def schema(urls) -> str:
    """The dump without its parentheses: PostgreSQL groups three conditions in another way once they were dumped."""
    return re.sub("[()]", "", dump(urls.owner))


def test_every_release_has_left_a_database() -> None:
    """`python scripts/dump_release.py` makes it, once, after the release's last change of SQL."""
    released = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert set(released) <= {file.stem for file in RELEASED}


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
def test_a_database_of_a_release_is_upgraded_and_used(file, empty_database, urls, environ) -> None:
    text = file.read_text()
    psql(empty_database.owner, text)
    balances = run(empty_database.owner, BALANCE)
    migrations.upgrade(empty_database.owner)

    assert schema(empty_database) == schema(urls), "until it is released: python scripts/dump_release.py"
    app = create_app(load(environ | {"DATABASE_URL": empty_database.service, "OBOL_MIGRATE_URL": empty_database.owner}))
    services_of(app).lease.start()
    try:
        # What was held is overdue by now.
        wait_until(lambda: run(empty_database.owner, HELD) == [(0,)], 30, "every hold given back")
        key = re.search(r"license key of it, .*: (obol_\w+)", text)
        headers = {"Authorization": f"Bearer {key.group(1)}"}
        taken = app.test_client().post("/api/v1/deductions", json={"amount": 5}, headers=headers)
    finally:
        services_of(app).lease.stop()

    assert balances == [(taken.json["balance"] + 5,)]
    assert run(empty_database.owner, "SELECT * FROM obol.verify()") == []
