"""What the repository returns has the names that the database has, in its order: a NamedTuple is filled
by position, so one column moved would be one credit booked as another."""

import inspect
import re
from importlib import import_module
from pkgutil import iter_modules

import pytest
from sqlalchemy import TextClause

from service import repository
from service.repository import (
    admin,
    archive,
    audit,
    grants,
    holds,
    imports,
    ledger,
    licenses,
    limits,
    own_keys,
    payments,
    prices,
    processes,
    sharding,
    usage,
    webhooks,
)

# Each function and view whose rows the repository names, and what it names them with.
RESULTS = {
    "adjust_credits_v2": ledger.Adjustment,
    "book_stripe_event": payments.Booked,
    "check_admission": holds.Admission,
    "claim_delivery": webhooks.ClaimedDelivery,
    "create_key": limits.LicenseKey,
    "create_license_v2": licenses.CreatedLicense,
    "deduct": ledger.Deduction,
    "deduct_batch": ledger.BatchRow,
    "deduct_several": ledger.BatchRow,
    "deduct_v2": ledger.Deduction,
    "digest_acts": audit.Digest,
    "digest_entries": audit.Digest,
    "due_deliveries": webhooks.DueDelivery,
    "due_owed": payments.DueOwed,
    "due_holds": holds.DueHolds,
    "due_undelivered": webhooks.DueUndelivered,
    "find_imported_key": imports.FoundKey,
    "find_license": licenses.License,
    "grant_credits_v2": grants.ChangedGrant,
    "import_license": imports.ImportedLicense,
    "create_own_key": own_keys.CreatedKey,
    "list_acts": admin.Act,
    "end_package": payments.Package,
    "entry_span": usage.Span,
    "list_entries_v2": usage.Entry,
    "list_archive_files": archive.ArchivedFile,
    "list_archived": archive.Archived,
    "list_events": webhooks.Event,
    "list_grants": grants.Grant,
    "list_grants_of": grants.Grant,
    "list_heads": audit.Head,
    "list_holds": holds.ListedHold,
    "list_keys": limits.LicenseKey,
    "list_licenses": licenses.ListedLicense,
    "list_newest_licenses": licenses.ListedLicense,
    "list_all_payments": payments.Payment,
    "list_packages": payments.Package,
    "list_payments": payments.Payment,
    "list_own_keys": limits.LicenseKey,
    "list_prices": prices.PriceRow,
    "list_processes": processes.Process,
    "list_tokens": admin.Token,
    "list_verifications": ledger.PastVerification,
    "list_webhooks": webhooks.Webhook,
    "open_hold": holds.Admission,
    "open_payment": payments.Pending,
    "overview": admin.Day,
    "prepare_archive": archive.Numbers,
    "refund_v2": ledger.Refund,
    "refund_withheld": ledger.WithheldRefund,
    "release_hold": holds.ReleasedHold,
    "revoke_key": limits.LicenseKey,
    "revoke_own_key": limits.LicenseKey,
    "set_alerts": webhooks.Alerts,
    "set_key": limits.LicenseKey,
    "set_own_key": limits.LicenseKey,
    "set_license_v2": licenses.ListedLicense,
    "set_package": payments.Package,
    "set_packages": payments.PackageChange,
    "set_prices_v2": prices.PriceChange,
    "settle_hold": holds.SettledHold,
    "show_alerts": webhooks.Alerts,
    "show_archived": usage.ArchivedEntries,
    "show_balances": usage.DayBalance,
    "show_license": licenses.ListedLicense,
    "show_limits": limits.UsedLimit,
    "show_own_limits": limits.UsedLimit,
    "show_receipt": usage.Receipt,
    "show_sums": archive.Sums,
    "show_usage": usage.UsageRow,
    "sum_expiring": admin.Expiring,
    "verify": ledger.Finding,
    "verify_since": ledger.Finding,
    "verify_v2": ledger.Verification,
    "void_grant": grants.ChangedGrant,
}

# What is asked with, and no result.
ARGUMENTS = {
    admin.Actor,
    admin.Place,
    archive.Wanted,
    grants.Terms,
    holds.HoldAmounts,
    holds.Unpaid,
    ledger.BatchItem,
    ledger.DeductionItem,
    usage.Reader,
    usage.Filters,
    webhooks.Attempt,
}

# Put together of several results.
COMPOSED = {usage.EntriesPage, sharding.Plan}

# Of the catalogs.
ASKED_OF_CATALOGS = {sharding._Step, sharding._Grant}

# One column and nothing to name.
BARE = {"archive_lines", "due_archives", "due_changes", "due_expiring", "due_rollups_v2"}

# Named otherwise than its column.
RENAMED = {(prices.PriceRow, "model_pattern"): "pattern"}

COLUMNS = """
    SELECT array_agg(name ORDER BY position)::text[]
      FROM (SELECT a.name, a.position
              FROM pg_proc p, unnest(p.proargnames, p.proargmodes) WITH ORDINALITY AS a (name, mode, position)
             WHERE p.pronamespace = 'obol'::regnamespace AND p.proname = %(name)s AND a.mode IN ('t', 'o')
            UNION ALL
            SELECT a.attname, a.attnum
              FROM pg_attribute a
             WHERE a.attrelid = to_regclass('obol.' || %(name)s) AND a.attnum > 0) c
"""


def modules():
    return [import_module(f"{repository.__name__}.{module.name}") for module in iter_modules(repository.__path__)]


def statements():
    """(columns, name) of each `SELECT columns FROM obol.name` of the repository."""
    for module in modules():
        for value in vars(module).values():
            if isinstance(value, TextClause) and "obol." in str(value):
                # The one that asks for a right names the schema as a string.
                yield from re.findall(r"^SELECT (.+?) FROM obol\.(\w+)", str(value))


def columns(sql, selected, name):
    """The columns that a statement gives, in their order."""
    ((found,),) = sql(COLUMNS, {"name": name})
    # A function that returns one value has no columns.
    found = found or []
    return found if selected == "*" else [column for column in selected.split(", ") if column in found]


@pytest.mark.parametrize(("selected", "name"), sorted(set(statements())))
def test_fields_are_columns(sql, selected, name):
    found = columns(sql, selected, name)
    result = RESULTS.get(name)

    if name in BARE:
        assert len(found) == 1
    elif result is None:
        assert found == [], f"who names the columns of {name}?"
    else:
        assert [RENAMED.get((result, column), column) for column in found] == list(result._fields)


def test_every_statement_is_looked_at():
    texts = [value for module in modules() for value in vars(module).values() if isinstance(value, TextClause)]
    looked_at = [name for _, name in statements()]

    assert len(looked_at) == sum("FROM obol." in str(text) for text in texts)
    assert set(RESULTS) <= set(looked_at)


def test_every_named_tuple_is_the_result_of_something():
    named = {
        value
        for module in modules()
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, tuple) and value.__module__ == module.__name__
    }

    assert len(named) > 10
    assert named == set(RESULTS.values()) | ARGUMENTS | COMPOSED | ASKED_OF_CATALOGS
