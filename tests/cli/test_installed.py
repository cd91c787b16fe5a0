"""Obol as people install it: from a wheel, in an environment of its own, in a folder with nothing in it."""

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from factories import ROOT, free_port, wait_until

SDIST = "from setuptools import build_meta; build_meta.build_sdist('dist')"
# What git does not keep, and the build writes into the tree that it builds from.
LEFT_OUT = shutil.ignore_patterns(
    ".*", "build", "*.egg-info", "__pycache__", "node_modules", "tests", "bench", "scripts"
)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
# Everything comes from the environment that the tests run in, and nothing from the net.
OFFLINE = ("--no-deps", "--no-index")

# An archive, a wheel and an environment are made before the first test.
pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("installed")]


def ran(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was made from it."""
    tree = shutil.copytree(ROOT, tmp_path_factory.mktemp("build") / "tree", ignore=LEFT_OUT)
    ran(sys.executable, "-c", SDIST, cwd=tree)
    (sdist,) = (tree / "dist").iterdir()
    ran(*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", tree / "dist", sdist, cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The programs of an environment that Obol's wheel is installed in."""
    folder = tmp_path_factory.mktemp("environment")
    ran(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    ran(*PIP, "--python", folder / "bin" / "python", "install", *OFFLINE, wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # The libraries. The checkout is not among them: Python reads no .pth file of a folder named here.
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    return folder / "bin"


def test_the_wheel_has_every_module_and_migration_and_no_test(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    roots = {name.removeprefix("service/_root/") for name in names if name.startswith("service/_root/")}

    kept = [path for path in (ROOT / "alembic" / "versions").rglob("*") if path.suffix in (".py", ".sql")]
    assert roots == {"alembic.ini", "alembic/env.py", "alembic/script.py.mako", "gunicorn.conf.py", "wsgi.py"} | {
        str(path.relative_to(ROOT)) for path in kept
    }
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "service").rglob("*.py")}
    of_pages = [path for of in ("templates", "static") for path in (ROOT / "service" / "pages" / of).rglob("*.*")]
    assert {name for name in names if not name.startswith("service/_root/")} == modules | {
        str(path.relative_to(ROOT)) for path in of_pages
    }


def test_the_source_distribution_has_what_a_reader_needs(dist: Path) -> None:
    (file,) = dist.glob("*.tar.gz")
    with tarfile.open(file) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    assert {"README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "docs/operating.md", "alembic/schema.sql"} <= names
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "alembic" / "functions").rglob("*.sql")} <= names


def test_it_migrates_and_serves_in_an_empty_folder(installed, tmp_path, environ, empty_database) -> None:
    environ |= {"DATABASE_URL": empty_database.service, "OBOL_MIGRATE_URL": empty_database.owner}
    environ |= {"PATH": os.environ["PATH"], "PORT": str(free_port())}

    def obol(*arguments: str) -> str:
        done = subprocess.run(
            [installed / "obol", *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    module = ran(installed / "python", "-c", "import service; print(service.__file__)", cwd=tmp_path)
    assert Path(module).is_relative_to(installed.parent)
    assert obol("--version") == f"obol, version {version('obol')}\n"
    assert obol("migrate") == "The database is at head.\n"
    license_key = json.loads(obol("license", "create", "--credits", "1000", "--json"))["license_key"]

    url = f"http://127.0.0.1:{environ['PORT']}"
    with (tmp_path / "served.log").open("w") as log:
        served = subprocess.Popen([installed / "obol", "serve"], cwd=tmp_path, env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: answered(f"{url}/readyz") or served.poll() is not None, 60, "readyz")
        assert served.poll() is None, (tmp_path / "served.log").read_text()
        asked = Request(
            f"{url}/api/v1/generate",
            data=b'{"prompt": "Hello"}',
            headers={"Authorization": f"Bearer {license_key}", "Content-Type": "application/json"},
        )
        with urlopen(asked, timeout=30) as response:
            assert json.load(response)["credits"] == {"charged": 33, "balance": 967}
    finally:
        served.send_signal(signal.SIGTERM)
        assert served.wait(30) == 0
    assert obol("verify") == "Clean: every balance is what its ledger says.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["served.log"]


def answered(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
