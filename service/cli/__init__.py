"""The `obol` command: what an operator types.

Exit codes: 0 done; 1 refused, or `verify` or `audit check` found something; 2 wrong usage or configuration;
3 the database could not be reached.
"""

import sys
from typing import NoReturn

import click

from ..archivefile import ArchiveError
from ..config import ConfigError
from ..db import reason
from ..dev.embedded import EmbeddedError
from ..migrations import MigrationError
from ..problems import Problem
from . import (
    admin,
    archive,
    audit,
    grants,
    imports,
    keys,
    ledger,
    licenses,
    payments,
    prices,
    serving,
    usage,
    webhooks,
)
from .common import NO_DATABASE, REFUSED, WRONG_USAGE, as_far_as_possible, fail, harmless, write_no_more


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="obol")
def cli() -> None:
    """Obol sells AI answers for prepaid credits, each paid for exactly once."""


for command in (
    *serving.COMMANDS,
    *licenses.COMMANDS,
    *keys.COMMANDS,
    *grants.COMMANDS,
    *ledger.COMMANDS,
    *usage.COMMANDS,
    *prices.COMMANDS,
    *payments.COMMANDS,
    *admin.COMMANDS,
    *audit.COMMANDS,
    *archive.COMMANDS,
    *webhooks.COMMANDS,
):
    cli.add_command(command)
licenses.license.add_command(imports.import_licenses)


def main() -> NoReturn:
    """The console script: errors become one line and an exit code."""
    try:
        # A pipe that nobody reads any more is seen to by click: 1, and not a word.
        sys.exit(cli(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.ClickException as error:
        said = error.format_message()
        if isinstance(error, click.exceptions.NoSuchCommand):
            said += "".join(f" There is `{path}`." for path in _elsewhere(error.command_name))
        if "--json" in sys.argv:
            fail(said, error.exit_code)
        with as_far_as_possible(sys.stderr):
            click.UsageError(harmless(said), getattr(error, "ctx", None)).show()
        sys.exit(error.exit_code)
    except OSError as error:
        write_no_more(sys.stdout)
        fail(f"{error.filename or 'the output'}: {error.strerror}", REFUSED)
    except ArchiveError as error:
        fail(f"{error}.", REFUSED)
    except (ConfigError, EmbeddedError, MigrationError) as error:
        fail(str(error), WRONG_USAGE)
    except Problem as problem:
        if problem.code not in ("database_error", "over_capacity"):
            fail(problem.detail, REFUSED, problem.code)
        why = reason(problem)
        fail(f"{problem.detail} ({why})" if why else problem.detail, NO_DATABASE, problem.code)


def _elsewhere(name: str) -> list[str]:
    """The commands of this name, wherever they are."""
    found = [f"obol {name}"] if name in cli.commands else []
    for group in cli.commands.values():
        if isinstance(group, click.Group) and name in group.commands:
            found.append(f"obol {group.name} {name}")
    return found
