"""The `obol` command: what an operator types.

Exit codes: 0 done; 1 refused, or `verify` found something; 2 wrong usage or configuration;
3 the database could not be reached.
"""

import sys
from typing import NoReturn

import click

from ..config import ConfigError
from ..db import reason
from ..dev.embedded import EmbeddedError
from ..migrations import MigrationError
from ..problems import Problem
from . import ledger, licenses, prices, serving
from .common import NO_DATABASE, REFUSED, WRONG_USAGE, fail


@click.group()
@click.version_option(package_name="obol")
def cli() -> None:
    """Obol sells AI answers for prepaid credits, each paid for exactly once."""


for command in (*serving.COMMANDS, *licenses.COMMANDS, *ledger.COMMANDS, *prices.COMMANDS):
    cli.add_command(command)


def main() -> NoReturn:
    """The console script: errors become one line and an exit code."""
    try:
        sys.exit(cli(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.ClickException as error:
        if "--json" not in sys.argv:
            error.show()
            sys.exit(error.exit_code)
        fail(error.format_message(), error.exit_code)
    except (ConfigError, EmbeddedError, MigrationError) as error:
        fail(str(error), WRONG_USAGE)
    except Problem as problem:
        if problem.code not in ("database_error", "over_capacity"):
            fail(problem.detail, REFUSED, problem.code)
        said = reason(problem)
        fail(f"{problem.detail} ({said})" if said else problem.detail, NO_DATABASE, problem.code)
