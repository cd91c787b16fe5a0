"""The README's console lines, run as they stand against a fresh server, print what it says."""

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


def console_lines():
    """(command, expected output) for each `$` line of the README's console blocks, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, continued = [], True
            lines = part.splitlines()
            while continued:
                command.append(lines.pop(0))
                continued = command[-1].endswith("\\")
            yield "\n".join(command), "\n".join(lines)


def test_the_readme_s_lines_work_as_they_stand(urls, new_license, tmp_path):
    new_license(credits=1)  # the demo license of `make run`
    environ = {"OBOL_DEV": "1", "DATABASE_URL": urls.service, "OBOL_MIGRATE_URL": urls.owner}
    environ["OBOL_DATA_DIR"] = str(tmp_path)
    served = Served(environ, tmp_path / "served.log")
    try:
        served.wait_until_ready()
        lines = list(console_lines())
        assert len(lines) > 8
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
