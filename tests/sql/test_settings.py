"""How every function of the schema runs: with a search path that nobody can put a function of his own
into, for a bounded time behind a lock, and with the owner's rights only where somebody else calls it."""

import re
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

import pytest
from sqlalchemy import TextClause

from service import repository

FUNCTIONS = """
    SELECT p.proname, p.prosecdef, p.provolatile = 'v', COALESCE(p.proconfig, '{}')
      FROM pg_proc p WHERE p.pronamespace = 'obol'::regnamespace ORDER BY 1
"""

# Called in SQL, by hand, and not by the service or its commands.
BY_HAND = {"deduct_credits"}

# Of an earlier release, and another has taken their place: they go a release later. Some are what that other calls.
REPLACED = {
    "list_entries",
    "adjust_credits",
    "create_license",
    "due_rollups",
    "expire_holds",
    "grant_credits",
    "refund",
    "rotate_license_key",
    "set_license",
    "set_license_status",
    "set_prices",
}

# Called by the owner alone, whose rights they have as they are.
OF_THE_OWNER = {
    "archive_entries",
    "archive_lines",
    "digest_acts",
    "digest_entries",
    "due_archives",
    "list_archive_files",
    "list_archived",
    "list_heads",
    "prepare_archive",
    "settle_acts",
    "show_sums",
}

# The reaper has other licenses to see to. Everybody else can wait for as long as a client does.
LOCK_TIMEOUTS = {"expire_holds": "500ms", "expire_holds_v2": "500ms"}


class Function(NamedTuple):
    """What pg_proc says of a function; the settings are those that hold while it runs."""

    name: str
    is_definer: bool
    is_volatile: bool
    settings: dict[str, str]


@pytest.fixture
def functions(sql):
    found = [
        Function(name, is_definer, is_volatile, dict(setting.split("=", 1) for setting in settings))
        for name, is_definer, is_volatile, settings in sql(FUNCTIONS)
    ]
    # An overload would hide behind its namesake.
    assert len({function.name for function in found}) == len(found)
    return found


def called_from_outside():
    """The functions that a statement of the repository calls."""
    called = set()
    for module in iter_modules(repository.__path__):
        for value in vars(import_module(f"{repository.__name__}.{module.name}")).values():
            if isinstance(value, TextClause):
                called.update(re.findall(r"\bobol\.(\w+)\(", str(value)))
    return called


def test_every_function_pins_its_search_path(functions):
    paths = {function.name: function.settings.get("search_path") for function in functions}

    assert len(paths) > 40
    assert set(paths.values()) == {"pg_catalog, pg_temp"}, paths


def test_what_others_call_and_may_wait_for_a_lock_does_not_wait_for_ever(functions):
    """Nothing else has a timeout of its own: a helper runs under its caller's, and a read waits for no row."""
    timeouts = {function.name: function.settings.get("lock_timeout") for function in functions}

    assert timeouts == {
        function.name: LOCK_TIMEOUTS.get(function.name, "5s")
        if function.is_volatile and (function.is_definer or function.name in OF_THE_OWNER)
        else None
        for function in functions
    }


def test_nothing_else_is_set(functions):
    assert {name for function in functions for name in function.settings} == {"search_path", "lock_timeout"}


def test_the_owner_s_rights_are_for_what_others_call_and_for_no_helper(functions):
    """A helper that ran as the owner for whoever calls it would be one more door."""
    definers = {function.name for function in functions if function.is_definer}

    assert definers == (called_from_outside() | BY_HAND | REPLACED) - OF_THE_OWNER
