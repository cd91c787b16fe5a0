"""How long the console's overview takes over a large business, from the request to the last byte of the page.

    python -m bench.overview [--licenses 100000] [--entries 10000000] [--rounds 20] [--owner-url URL --service-url URL]

Everything runs on this machine: PostgreSQL with full durability, filled by `fill.py`, and gunicorn. With the URLs a
database that is filled already is asked, and nothing is filled. 10,000,000 entries take about 5 GB, and a quarter of an
hour.
"""

import argparse
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener
from uuid import uuid4

from factories import Served, run

from service import migrations, operator
from service.db import Database
from service.dev.embedded import EmbeddedPostgres, Urls
from service.repository import admin

from .fill import fill
from .rows import Row, in_turn, machine, table

AT_MOST_MS = 200


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.overview")
    parser.add_argument("--licenses", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--owner-url")
    parser.add_argument("--service-url")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="obol-bench-")))
        folder.chmod(0o755)  # the server runs as another user when this runs as root
        if asked.owner_url:
            urls = Urls(asked.owner_url, asked.service_url)
        else:
            postgres = EmbeddedPostgres(folder / "data")
            urls = postgres.acquire()
            stack.callback(postgres.release)
            migrations.upgrade(urls.owner)
            fill(urls.owner, entries=asked.entries, licenses=asked.licenses, rate=600, watermarks=False)
        owner = Database(urls.owner, pool_size=1, wait_s=5)
        stack.callback(owner.close)
        rows = [_count(owner), *_ask(stack, urls, owner, folder=folder, rounds=asked.rounds)]
        ((licenses, entries),) = run(
            urls.owner, "SELECT (SELECT count(*) FROM obol.licenses), (SELECT count(*) FROM obol.ledger_entries)"
        )
        ((postgres_version,),) = run(urls.owner, "SHOW server_version")
    sys.stdout.write(f"{licenses} licenses, {entries} entries; {machine(postgres_version)}\n\n{table(rows)}")


def _count(owner: Database) -> Row:
    """Bring what is kept up to date, as the chores do a day at a time."""
    began_s = time.monotonic()
    parts = 0
    while admin.roll_up_business(owner):
        parts += 1
    return Row("counting all of it once", [time.monotonic() - began_s], "s", beside=f"{parts} parts")


def _ask(stack: ExitStack, urls: Urls, owner: Database, *, folder: Path, rounds: int) -> list[Row]:
    """The page, over 30 and 366 days, in turn."""
    environ = {
        "DATABASE_URL": urls.service,
        "OBOL_MIGRATE_URL": urls.owner,
        "ANTHROPIC_API_KEY": "none",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "OBOL_SESSION_KEY": "S" * 42 + "A",
    }
    served = Served(environ, folder / "served.log")
    stack.callback(served.stop)
    served.wait_until_ready()
    browser = build_opener(HTTPCookieProcessor(CookieJar()))

    def read(path: str, form: dict[str, str] | None = None) -> tuple[float, str]:
        data = None if form is None else urlencode(form).encode()
        began_s = time.monotonic()
        with browser.open(served.url + path, data, timeout=120) as response:
            text = response.read().decode()
        return 1000 * (time.monotonic() - began_s), text

    token = operator.create_token(owner, name=f"bench {uuid4()}", scopes=["read"]).token
    csrf = re.findall('name="csrf" value="([^"]+)"', read("/console/login")[1])[0]
    read("/console/login", {"csrf": csrf, "token": token})
    paths = {
        "overview of 30 days": "/console",
        "overview of 366 days": "/console?days=366",
        "health": "/console/health",
    }
    for path in paths.values():
        assert "Log out" in read(path)[1]
    acts = [lambda path=path: read(path)[0] for path in paths.values()]
    figures = in_turn(rounds, acts)
    return [Row(name, of, "ms", at_most=AT_MOST_MS) for name, of in zip(paths, figures, strict=True)]  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
