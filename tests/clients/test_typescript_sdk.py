"""The official TypeScript SDK, driven by typescript.test.mjs."""

import json
from datetime import UTC, datetime

import node
import pytest
from asking import cost_of

from service.repository import licenses


@pytest.fixture
def environment(served, license, owner, new_license):
    suspended = new_license()
    licenses.set_status(owner, suspended.id, "suspended")
    return {
        "OBOL_URL": served.url,
        "OBOL_KEY": license.raw_key,
        "OBOL_POOR_KEY": new_license(credits=20).raw_key,
        "OBOL_SUSPENDED_KEY": suspended.raw_key,
        "OBOL_EXPIRED_KEY": new_license(expires_at=datetime(2020, 1, 1, tzinfo=UTC)).raw_key,
    }


def test_everything_that_the_sdk_is_asked_in_typescript(environment, license, books, upstream):
    code, said = node.run("--test", "--test-reporter=spec", "typescript.test.mjs", **environment)

    assert code == 0, said
    assert "ℹ fail 0" in said
    # Over all of it: each answer that the upstream has charged for was charged once, and nothing else.
    balance, held, charges = books(license)
    assert sorted(charges) == sorted(cost_of(usage) for usage in upstream.used)
    assert (balance, held) == (100_000 - sum(charges), 0)


def test_a_failure_is_told(environment):
    """A script that cannot fail would prove nothing: here there are too few credits for it."""
    poor = environment | {"OBOL_KEY": environment["OBOL_POOR_KEY"]}
    code, said = node.run("--test", "--test-name-pattern=charged to the token", "typescript.test.mjs", **poor)

    assert code == 1
    assert "PaymentRequiredError" in said


def test_the_lock_names_no_registry_and_has_a_hash_for_each_package():
    lock = json.loads((node.HERE / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert "node_modules/@anthropic-ai/sdk" in packages
    assert [name for name, package in packages.items() if not package.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []
    # Exact versions, as in the locks of Python.
    wanted = json.loads((node.HERE / "package.json").read_text())["devDependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
