"""What Obol costs and carries, beside what it is compared with: `make bench`.

    python -m bench [--rounds N] [--seconds N] [--licenses N] [--only NAME …] [--write]

Everything runs on this machine, each in processes of its own, and takes turns: the ratios can be compared between
machines, the times cannot. Nothing else should run meanwhile.
"""

import argparse
import sys

from factories import run

from . import ROOT, measures
from .rows import Row, command, machine, table, write, wrk
from .world import LICENSES, World

FILE = ROOT / "docs" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of a round")
    parser.add_argument("--licenses", type=int, default=LICENSES)
    parser.add_argument("--only", nargs="*", choices=[measure.__name__ for measure in measures.ALL])
    parser.add_argument("--write", action="store_true", help=f"the table into {FILE.relative_to(ROOT)}")
    asked = parser.parse_args()
    rows: list[Row] = []
    with World(asked.licenses) as world:
        ((durable,),) = run(
            world.urls.owner, "SELECT current_setting('fsync') || current_setting('synchronous_commit')"
        )
        if durable != "onon":
            sys.exit(f"bench: fsync and synchronous_commit must be on, and are {durable}.")
        for measure in measures.ALL:
            if asked.only and measure.__name__ not in asked.only:
                continue
            for row in measure(world, asked.rounds, asked.seconds):
                rows.append(row)
                sys.stdout.write(" | ".join(row.cells()) + "\n")
                sys.stdout.flush()
        findings = run(world.urls.owner, "SELECT * FROM obol.verify()")
        ((postgres,),) = run(world.urls.owner, "SHOW server_version")
    told = (
        f"`{command('bench')}`, {asked.rounds} rounds of {asked.seconds} s, {asked.licenses} licenses; "
        f"{machine(postgres, wrk())}. `obol verify`: {len(findings)} findings.\n"
    )
    text = f"{told}\n{table(rows)}"
    sys.stdout.write("\n" + text)
    if asked.write:
        write(FILE, "bench", text)
    if findings:
        sys.exit(f"bench: the ledger disagrees: {findings[:3]}")


if __name__ == "__main__":
    main()
