"""What docs/clients.md shows: the SDKs' own retries, paid once, also in helpers of several requests."""

import os
import re
import subprocess
import sys

import anthropic
import node
import pytest
from asking import message_calls
from factories import ROOT, wait_until

SHOWN_URL, SHOWN_KEY = "http://127.0.0.1:8000", "obol_..."

# The time-out is shorter than the answer takes: two attempts at least are made, and maybe three.
LATE = "[sandbox delay_ms=2500] [sandbox output_tokens=18] [sandbox input_tokens=20] Hello"
COST = 38

ASK_IN_PYTHON = """
message = client.with_options(timeout=1, max_retries=20).messages.create(
    model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": "%s"}]
)
print(message.usage.output_tokens)
"""

RUN_TOOLS_IN_PYTHON = """
import anthropic

@anthropic.beta_tool
def next_step(turn: int) -> str:
    '''What is to be done next.

    Args:
        turn: the number of the turn.
    '''
    return "done"

runner = client.beta.messages.tool_runner(
    model="claude-sonnet-5-5", max_tokens=100, tools=[next_step], thread=False,
    messages=[{"role": "user", "content": "[sandbox tool_turns=2] Hello"}],
)
print(len(list(runner)))
"""

ASK_IN_TYPESCRIPT = """
const message = await client.withOptions({ timeout: 1000, maxRetries: 20 }).messages.create({
  model: 'claude-sonnet-5-5', max_tokens: 100, messages: [{ role: 'user', content: '%s' }],
});
console.log(message.usage.output_tokens);
"""

TWICE_IN_TYPESCRIPT = """
const call = { model: 'claude-sonnet-5-5', max_tokens: 100, messages: [{ role: 'user' as const, content: 'Hello' }] };
for (const _ of [1, 2]) await client.messages.create(call);
"""


def python(program, folder):
    file = folder / "snippet.py"
    file.write_text(program)
    environment = {"PATH": os.environ["PATH"]}
    ended = subprocess.run([sys.executable, file], env=environment, capture_output=True, text=True, timeout=100)
    return ended.returncode, ended.stdout + ended.stderr


def typescript(program, folder):
    (folder / "node_modules").symlink_to(node.HERE / "node_modules")
    (folder / "snippet.mts").write_text(program)
    return node.run(folder / "snippet.mts")


@pytest.fixture
def run_shown(served, license, tmp_path):
    """`run_shown("python", more)`: what the snippet of docs/clients.md says when `more` comes after it."""

    def run(fence, more):
        text = (ROOT / "docs" / "clients.md").read_text().partition("## Retries that are paid once\n")[2]
        (snippet,) = re.findall(rf"^```{fence}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        assert (snippet.count(SHOWN_URL), snippet.count(SHOWN_KEY)) == (1, 1)
        program = snippet.replace(SHOWN_URL, served.url).replace(SHOWN_KEY, license.raw_key) + more
        code, said = (python if fence == "python" else typescript)(program, tmp_path)
        assert code == 0, said
        return said.strip()

    return run


@pytest.mark.parametrize(("fence", "more"), [("python", ASK_IN_PYTHON), ("ts", ASK_IN_TYPESCRIPT)])
def test_an_answer_that_takes_longer_than_the_time_out_is_paid_once(run_shown, license, books, upstream, fence, more):
    assert run_shown(fence, more % LATE) == "18"
    assert message_calls(upstream) == 1
    assert books(license)[2] == [COST]


def test_without_it_each_attempt_is_paid(make_client, license, books):
    """As docs/decisions/0014 and docs/billing-matrix.md have it."""
    client = make_client(timeout=1, max_retries=2)
    with pytest.raises(anthropic.APITimeoutError):
        client.messages.create(model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": LATE}])
    wait_until(lambda: books(license)[2] == [COST] * 3, what="three charges")


def test_each_request_of_a_helper_has_a_key_of_its_own(run_shown, license, books, sql):
    assert run_shown("python", RUN_TOOLS_IN_PYTHON) == "3"
    assert len(books(license)[2]) == 3
    keys = sql("SELECT idempotency_key FROM obol.idempotency_keys WHERE license_id = %s", (str(license.id),))
    assert len(keys) == 3


def test_two_calls_have_two_keys(run_shown, license, books):
    run_shown("ts", TWICE_IN_TYPESCRIPT)
    assert len(books(license)[2]) == 2
