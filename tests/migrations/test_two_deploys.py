"""Deploys that start together: one migrates, the others wait and find nothing to do."""

import pytest
from migrating import dump, finish, start_alembic


@pytest.mark.parametrize("deploys", [2, 4])
def test_deploys_at_once_all_succeed(empty_database, urls, deploys):
    started = [start_alembic("upgrade", "head", DATABASE_URL=empty_database.owner) for _ in range(deploys)]
    ended = [finish(process) for process in started]

    assert [code for code, _, _ in ended] == [0] * deploys, ended
    assert sum("Running upgrade  -> 0001" in errors for _, _, errors in ended) == 1
    assert dump(empty_database.owner) == dump(urls.owner)
