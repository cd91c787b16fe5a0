"""The `obol` command and the admin API do the same: neither has an act that the other lacks."""

import re

import click

from service.cli import cli
from service.http.auth import admin_auth

# Each command, and the call that does it. Several commands can be one call, and the other way round.
SAME = {
    "license create": "POST /api/v1/admin/licenses",
    "license import": "POST /api/v1/admin/licenses/import",
    "license list": "GET /api/v1/admin/licenses",
    "license show": "GET /api/v1/admin/licenses/{license_id}",
    "license set": "PATCH /api/v1/admin/licenses/{license_id}",
    "license suspend": "PATCH /api/v1/admin/licenses/{license_id}",
    "license resume": "PATCH /api/v1/admin/licenses/{license_id}",
    "grant": "POST /api/v1/admin/licenses/{license_id}/grants",
    "grants": "GET /api/v1/admin/licenses/{license_id}/grants",
    "void": "POST /api/v1/admin/licenses/{license_id}/grants/{grant_id}/void",
    "adjust": "POST /api/v1/admin/licenses/{license_id}/adjustments",
    "license rotate": "POST /api/v1/admin/licenses/{license_id}/rotate",
    "key create": "POST /api/v1/admin/licenses/{license_id}/keys",
    "key list": "GET /api/v1/admin/licenses/{license_id}/keys",
    "key set": "PATCH /api/v1/admin/licenses/{license_id}/keys/{key_id}",
    "key revoke": "DELETE /api/v1/admin/licenses/{license_id}/keys/{key_id}",
    "holds": "GET /api/v1/admin/holds",
    "refund": "POST /api/v1/admin/licenses/{license_id}/refunds",
    "prices show": "GET /api/v1/admin/prices",
    "prices set": "PUT /api/v1/admin/prices",
    "prices end": "PUT /api/v1/admin/prices",
    "prices import": "PUT /api/v1/admin/prices",
    "package set": "PUT /api/v1/admin/packages/{package_id}",
    # For each that a file has.
    "package import": "PUT /api/v1/admin/packages/{package_id}",
    "package list": "GET /api/v1/admin/packages",
    "package end": "DELETE /api/v1/admin/packages/{package_id}",
    "payments": "GET /api/v1/admin/payments",
    "token create": "POST /api/v1/admin/tokens",
    "token list": "GET /api/v1/admin/tokens",
    "token revoke": "DELETE /api/v1/admin/tokens/{token_id}",
    "audit list": "GET /api/v1/admin/audit",
    "overview": "GET /api/v1/admin/overview",
    "entries": "GET /api/v1/admin/licenses/{license_id}/entries",
    "usage": "GET /api/v1/admin/licenses/{license_id}/usage",
    "receipt": "GET /api/v1/admin/licenses/{license_id}/receipts/{cause_id}",
    "verify": "POST /api/v1/admin/verify",
    "webhook create": "POST /api/v1/admin/webhooks",
    "webhook list": "GET /api/v1/admin/webhooks",
    "webhook show": "GET /api/v1/admin/webhooks/{webhook_id}",
    "webhook rotate": "POST /api/v1/admin/webhooks/{webhook_id}/rotate",
    "webhook pause": "PATCH /api/v1/admin/webhooks/{webhook_id}",
    "webhook resume": "PATCH /api/v1/admin/webhooks/{webhook_id}",
    "webhook delete": "DELETE /api/v1/admin/webhooks/{webhook_id}",
    "webhook replay": "POST /api/v1/admin/webhooks/{webhook_id}/replay",
    "events": "GET /api/v1/admin/events",
}

# Only for a shell: they are processes, or need the owner's login.
# A head is kept elsewhere, and whoever takes it or compares it must not have to believe the service.
# An archive is files on the operator's disk, and only the owner's login may take entries out of the tables.
# Who knows the signing secret of Stripe can make credits, so the service never has it.
SHELL_ONLY = {"serve", "migrate", "shard", "sandbox", "audit head", "audit check", "archive", "stripe secret set"}

# Only for programs: nobody types what a program has sold.
# A hold is refunded as anything else is; its own address is for who has it from the list.
PROGRAMS_ONLY = {"POST /api/v1/deductions/batch", "POST /api/v1/admin/holds/{hold_id}/refund"}


def commands(group, *path):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join([*path, name])


def calls(app):
    for rule in app.url_map.iter_rules():
        if getattr(app.blueprints[rule.endpoint.rpartition(".")[0]], "auth", None) is admin_auth:
            path = re.sub("<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", str(rule))
            yield from (f"{method} {path}" for method in rule.methods - {"HEAD", "OPTIONS"})


def test_every_command_is_a_call_and_every_call_a_command(app):
    assert set(commands(cli)) == SAME.keys() | SHELL_ONLY
    assert set(calls(app)) == set(SAME.values()) | PROGRAMS_ONLY
