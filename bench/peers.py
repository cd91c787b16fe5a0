"""LiteLLM's proxy beside Obol, before the same upstream: `make bench-peers`.

    python -m bench.peers [--rounds N] [--seconds N] [--write]

It is installed into an environment of its own, `.obol/bench-litellm`, and started as its documentation says, with as
many workers as Obol, a master key and a salt key, and without a database, which only helps it: it then looks nothing up
and books nothing. Obol charges each call in PostgreSQL meanwhile.
"""

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from factories import free_port, run, wait_until

from . import ROOT, measures
from .rows import Row, command, in_turn, machine, table, write, wrk
from .world import Load, World, end, pss_mb

VERSION = "1.106.0"
LICENSES = 1000
FOLDER = ROOT / ".obol" / "bench-litellm"
FILE = ROOT / "docs" / "performance.md"

CONFIG = """
model_list:
  - model_name: "claude-*"
    litellm_params: {{model: "anthropic/claude-*", api_key: bench, api_base: "{upstream}"}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


def install() -> Path:
    """The folder of its programs."""
    programs = FOLDER / "bin"
    if not (programs / "litellm").exists():
        venv.create(FOLDER, with_pip=True, clear=True)
        subprocess.run([programs / "pip", "install", "-q", f"litellm[proxy]=={VERSION}"], check=True)
    return programs


@contextmanager
def litellm(world: World) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its URL and its master process; its key is in `peer.txt`."""
    key, port = f"sk-{secrets.token_hex(24)}", free_port()
    (world.folder / "peer.txt").write_text(f"{key}\n")
    config = world.folder / "litellm.yaml"
    config.write_text(CONFIG.format(upstream=world.upstream_url))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "PYTHON"))}
    environ |= {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_SALT_KEY": f"sk-{secrets.token_hex(24)}",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    workers = str(len(world.workers()))
    command = [install() / "litellm", "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    with (world.folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--num_workers", workers], env=environ, cwd=world.folder, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: _lives(port), 180, f"LiteLLM ({world.folder}/litellm.log)")
            yield f"http://127.0.0.1:{port}", process
        finally:
            end(process)


def compare(world: World, rounds: int, seconds: int) -> Iterator[Row]:
    """Messages, through each and directly, in turn."""
    with litellm(world) as (url, process):
        call = ("POST", "/v1/messages", str(world.folder / "peer.txt"), measures.MESSAGE)
        for place in (url, world.url):
            # LiteLLM takes seconds for its first answer.
            world.load(16, max(seconds, 20), *(call if place == url else measures.message(world)), url=place)

        def by_litellm(clients: int) -> Load:
            return world.load(clients, seconds, *call, url=url)

        def by_obol(clients: int) -> Load:
            return world.load(clients, seconds, *measures.message(world))

        def directly(clients: int) -> Load:
            return world.load(clients, seconds, "POST", "/v1/messages", "-", measures.MESSAGE, url=world.upstream_url)

        theirs, ours = in_turn(rounds, [lambda: by_litellm(16), lambda: by_obol(16)])
        made_of = ", ".join(
            f"{name} {measures.medians(loads, 'per_s'):.0f} a second, p50 {measures.medians(loads, 'p50_ms'):.1f} ms, "
            f"p99 {measures.medians(loads, 'p99_ms'):.1f} ms"
            for name, loads in (("Obol", ours), ("LiteLLM", theirs))
        )
        figures = measures.ratios(ours, theirs, "per_s")
        yield Row("message, 16 clients", figures, "times LiteLLM's", at_least=4.5, aim=6, beside=made_of)
        alone, theirs, ours = in_turn(rounds, [lambda: directly(1), lambda: by_litellm(1), lambda: by_obol(1)])
        added = [
            (obol.p50_ms - direct.p50_ms) / (litellm.p50_ms - direct.p50_ms)
            for obol, litellm, direct in zip(ours, theirs, alone, strict=True)
        ]
        made_of = ", ".join(
            f"{name} {statistics.median(load.p50_ms for load in loads):.2f} ms"
            for name, loads in (("direct", alone), ("Obol", ours), ("LiteLLM", theirs))
        )
        yield Row("message, 1 client: added", added, "of LiteLLM's", at_most=0.2, aim=1 / 6, beside=made_of)
        direct, theirs, ours = in_turn(
            rounds,
            [
                lambda: measures.ask(world.upstream_url, 200),
                lambda: measures.ask(url, 200, str(world.folder / "peer.txt")),
                lambda: measures.ask(world.url, 200, str(world.folder / "keys.txt")),
            ],
        )
        for name, through in (("LiteLLM", theirs), ("Obol", ours)):
            totals = [
                statistics.median(total for _, total in times) / statistics.median(total for _, total in alone)
                for times, alone in zip(through, direct, strict=True)
            ]
            yield Row(f"200 streams at once by {name}: median", totals, "of direct")
        used = [sum(map(pss_mb, family(master.pid))) for master in (process, world.master)]
        yield Row("memory of all processes: LiteLLM", used[:1], "MB")
        yield Row("memory of all processes: Obol", used[1:], "MB")


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in family(int(child)))]


def _lives(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/liveliness") as response:
            return bool(response.status == 200)
    except HTTPError:
        return True
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of a round")
    parser.add_argument("--write", action="store_true", help=f"the table into {FILE.relative_to(ROOT)}")
    asked = parser.parse_args()
    install()
    with World(LICENSES) as world:
        rows = list(compare(world, asked.rounds, asked.seconds))
        findings = run(world.urls.owner, "SELECT * FROM obol.verify()")
        ((postgres,),) = run(world.urls.owner, "SHOW server_version")
    told = (
        f"`{command('bench.peers')}`, {asked.rounds} rounds of {asked.seconds} s, {LICENSES} licenses; "
        f"LiteLLM {VERSION}; {machine(postgres, wrk())}. `obol verify`: {len(findings)} findings.\n"
    )
    text = f"{told}\n{table(rows)}"
    sys.stdout.write(text)
    if asked.write:
        write(FILE, "peers", text)


if __name__ == "__main__":
    main()
