"""The lines of /docs, pasted into a shell as they stand, are answered as the page says."""

import html
import json
import re
import shutil
import subprocess

import pytest

from service.repository import limits

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")

HOLD_ID = "661fd0b6-db64-4522-bd48-222e4259ca01"
OPEN = """curl -sS "$URL/api/v1/holds" -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
-d '{"amount": 5000}' | cut -d'"' -f4"""

DEDUCT = OPEN.replace("holds", "deductions")
MAKE_KEY = """curl -sS "$URL/api/v1/license/keys" -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
-d '{"name": "CI"}' | grep -o '"key_id":"[^"]*"' | cut -d'"' -f4"""

# What a line's id is of, where it is not a hold.
MADE_BY = {"show_receipt": DEDUCT, "change_own_key": MAKE_KEY, "revoke_own_key": MAKE_KEY}
# No card is taken here; tests/pages/test_selling.py has them.
OF_CARDS = {"list_packages", "create_checkout", "list_payments", "receive_stripe_event"}


def lines_of(page):
    """(operation id, command, example of an answer) of each call of the page; None where none is shown."""
    for id, section in re.findall(r'<section id="(\w+)">(.*?)</section>', page, re.DOTALL):
        command, *shown = re.findall("<pre>(.*?)</pre>", section, re.DOTALL)
        yield id, html.unescape(command), html.unescape(shown[0]) if shown else None


def shell(script, environment):
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_line(serve, new_license, owner):
    server = serve()
    page = server.get("/docs")[1].decode()
    assert f"URL={server.url}\n" in page
    license = new_license(credits=100_000)
    limits.set_own_keys(owner, license.id, 5)
    environment = {"PATH": "/usr/bin:/bin", "URL": server.url, "KEY": license.raw_key}

    lines = [(id, command, example) for id, command, example in lines_of(page) if "$TOKEN" not in command]
    lines = [line for line in lines if line[0] not in OF_CARDS]
    assert len(lines) > 15
    for id, command, example in lines:
        if HOLD_ID in command:
            # The line is for something of one's own.
            made = shell(MADE_BY.get(id, OPEN), environment)
            command = command.replace(HOLD_ID, made.strip())
        answer, status = shell(f"{command} -w '\n%{{http_code}}'", environment).rsplit("\n", 1)
        assert status in {"200", "201"}, (id, answer)
        if example is not None:
            # A stream is shown after the answer that comes whole.
            shown, _ = json.JSONDecoder().raw_decode(example)
            assert json.loads(answer).keys() == shown.keys(), id
