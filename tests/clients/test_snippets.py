"""What docs/clients.md shows under "With the Anthropic SDKs" runs as it stands, but for the URL and the key."""

import os
import re
import subprocess
import sys

import node
import pytest
from asking import TEXT
from factories import ROOT

HEADING = "## With the Anthropic SDKs\n"
SHOWN_URL, SHOWN_KEY = "http://127.0.0.1:8000", "obol_..."


def python(program, folder):
    file = folder / "snippet.py"
    file.write_text(program)
    environment = {"PATH": os.environ["PATH"]}
    ended = subprocess.run([sys.executable, file], env=environment, capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stdout + ended.stderr


def typescript(program, folder):
    # Node finds packages from where the program is, and strips types by itself.
    (folder / "node_modules").symlink_to(node.HERE / "node_modules")
    (folder / "snippet.mts").write_text(program)
    return node.run(folder / "snippet.mts")


@pytest.mark.parametrize(("fence", "run"), [("python", python), ("ts", typescript)])
def test_the_snippets_run_as_they_stand(served, license, books, sql, tmp_path, fence, run):
    page = (ROOT / "docs" / "clients.md").read_text()
    assert page.count(HEADING) == 1, "docs/clients.md has no such section"
    section = page.partition(HEADING)[2].partition("\n## ")[0]
    (snippet,) = re.findall(rf"^```{fence}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert (snippet.count(SHOWN_URL), snippet.count(SHOWN_KEY)) == (1, 1)
    program = snippet.replace(SHOWN_URL, served.url).replace(SHOWN_KEY, license.raw_key)

    code, said = run(program, tmp_path)

    assert code == 0, said
    assert TEXT in said
    assert len(books(license)[2]) == 1
    keys = sql("SELECT idempotency_key FROM obol.idempotency_keys WHERE license_id = %s", (str(license.id),))
    # A UUID that was made for this call.
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", keys[0][0])
    assert keys[0][0] not in page
