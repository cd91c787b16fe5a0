"""The console lines of README.md and docs/, run as they stand against a fresh server, print what stands there; and
the links of these pages lead somewhere."""

import re
import shutil
import subprocess

import pytest
from factories import ROOT, Served

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")

# What differs from run to run: ids, times and request ids.
VARYING = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "<time>"),
    (r"req_[0-9a-f]{32}", "<request>"),
]


def normalised(text):
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return text


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CONSOLE = [page for page in PAGES if "```console\n" in page.read_text()]


def console_lines(page):
    """(command, expected output) for each `$` line of a page's console blocks, in order."""
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, continued = [], True
            lines = part.splitlines()
            while continued:
                command.append(lines.pop(0))
                continued = command[-1].endswith("\\")
            yield "\n".join(command), "\n".join(lines)


def test_the_lines_are_in_these_pages():
    assert [page.name for page in WITH_CONSOLE] == ["README.md", "admin-api.md", "first-steps.md"]


@pytest.mark.parametrize("page", WITH_CONSOLE, ids=lambda page: page.stem)
def test_its_lines_work_as_they_stand(urls, new_license, tmp_path, page):
    new_license(credits=1)  # the demo license of `make run`
    environ = {"OBOL_DEV": "1", "DATABASE_URL": urls.service, "OBOL_MIGRATE_URL": urls.owner}
    environ["OBOL_DATA_DIR"] = str(tmp_path)
    served = Served(environ, tmp_path / "served.log")
    try:
        served.wait_until_ready()
        lines = list(console_lines(page))
        assert len(lines) > 3
        # One shell for all, so that its variables live from line to line as in a terminal.
        marker = "-- next --"
        script = f"\necho '{marker}'\n".join(command for command, _ in lines)
        script = script.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}")
        ran = subprocess.run(
            ["sh", "-c", script], cwd=ROOT, env={"PATH": "/usr/bin:/bin", **environ}, capture_output=True, text=True
        )
    finally:
        served.stop()

    printed = [normalised(output.strip()) for output in ran.stdout.split(marker)]
    assert printed == [normalised(expected) for _, expected in lines], ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        target, _, heading = "".join(link).partition("#")
        if ":" in target:
            continue  # another host's, or none of ours to look up
        leads_to = (page.parent / target).resolve() if target else page
        assert leads_to.exists(), f"{page.name}: {target}"
        if heading:
            assert heading in headings(leads_to), f"{page.name}: {target}#{heading}"


def headings(page):
    """The names that a page's headings have in links."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in found}
