"""Keys of another system: they do all that our own do, and where there are none nobody looks for them."""

import hashlib
from uuid import UUID

import pytest

from service import keys, operator
from service.http.imported_keys import BELIEVED_S, ImportedKeys
from service.http.services import services_of
from service.problems import Problem
from service.repository import licenses, limits
from service.repository.imports import FoundKey

LICENSE = "/api/v1/license"
FIND = "SELECT * FROM obol.find_imported_key"


@pytest.fixture
def names(app, client, new_license, statements):
    """`names()`: the statements that the pool of the application has run, without their arguments; with the price
    book read already."""
    services_of(app).lease.beat()
    client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=new_license().headers)
    statements.clear()
    return lambda: [statement.split("(")[0] for statement in statements]


def test_an_imported_key_makes_paid_calls(client, new_imported, ask, send, state):
    license = new_imported("LIC-1234-5678", credits=10_000)

    assert client.get(LICENSE, headers={"x-api-key": license.raw_key}).get_json()["balance"] == 10_000
    assert client.post("/api/v1/deductions", json={"amount": 100}, headers=license.headers).status_code == 200
    assert ask(license).status_code == 200
    assert send(license, stream=True).status_code == 200
    hold = client.post("/api/v1/holds", json={"amount": 10}, headers=license.headers).get_json()
    settled = client.post(f"/api/v1/holds/{hold['id']}/settle", json={"amount": 10}, headers=license.headers)
    assert settled.status_code == 200
    entries = client.get(f"{LICENSE}/entries", headers=license.headers).get_json()["entries"]
    assert [entry["kind"] for entry in entries] == ["charge", "charge", "charge", "deduction", "grant"]
    assert client.get(f"{LICENSE}/usage?by=key", headers=license.headers).get_json()["total"]["calls"] > 0
    assert state(license)[0] < 10_000 - 110


def test_in_the_steady_state_a_call_costs_no_statement_more(client, new_imported, names):
    license = new_imported()
    for _ in range(3):
        client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)
    assert names() == [FIND, *["SELECT * FROM obol.deduct"] * 3]


def test_limits_revocation_and_rotation_are_those_of_any_key(client, owner, new_imported, problem):
    license, other = new_imported(), new_imported()
    (key,) = limits.list_keys(owner, license.id)
    limits.set_key(owner, license.id, key.key_id, limits={"credits_per_day": 5})

    def deduct(raw_key, amount=5):
        return client.post("/api/v1/deductions", json={"amount": amount}, headers={"x-api-key": raw_key})

    assert deduct(license.raw_key).status_code == 200
    assert deduct(license.raw_key, 1).get_json()["limit_of"] == "key"
    new = operator.rotate_key(owner, license.id, 3600)
    assert client.get(LICENSE, headers={"x-api-key": license.raw_key}).status_code == 200
    assert deduct(new.license_key).status_code == 200
    limits.revoke_key(owner, license.id, key.key_id)
    problem(deduct(license.raw_key, 1), "license_invalid")
    assert deduct(new.license_key).status_code == 200
    licenses.set_status(owner, other.id, "suspended")
    problem(deduct(other.raw_key), "license_inactive")


@pytest.mark.parametrize("are_any", [False, True])
def test_nothing_tells_an_unknown_key_from_one_that_is_none(client, new_imported, new_license, are_any, problem):
    if are_any:
        new_imported()
    stranger = keys.make(new_license().id).license_key
    told = set()
    for bad in (stranger, "LIC-1234-5679", "x", "obol_bad", "a b c d e f g h", "x" * 300, "sch\xe4tzchen"):
        document = problem(client.get(LICENSE, headers={"x-api-key": bad.encode("latin-1")}), "license_invalid")
        told.add((document["title"], document["detail"], frozenset(document)))
    assert len(told) == 1


JUNK = ["LIC-1234-5679", "x", "obol_bad_one", f"obol_{'0' * 32}_{'a' * 38}", "obol_admin_xxxxxxxx", "x" * 300]


def test_where_none_was_imported_nobody_looks_twice(client, names):
    for junk in JUNK * 3:
        client.get(LICENSE, headers={"x-api-key": junk})
    assert names() == [FIND]


def test_where_some_were_only_what_can_be_one_is_looked_up(client, new_imported, names):
    new_imported()
    for junk in JUNK:
        client.get(LICENSE, headers={"x-api-key": junk})
    assert names() == [FIND, FIND]


def test_an_import_is_noticed_within_seconds():
    now, rows, asked = [0.0], {}, []

    def find(digest):
        asked.append(digest)
        return FoundKey(rows.get(digest), bool(rows))

    known = ImportedKeys(find, lambda: now[0])
    digest = hashlib.sha256(b"LIC-1234-5678").digest()
    assert (known.find("LIC-1234-5678"), known.find("LIC-1234-5678"), len(asked)) == (None, None, 1)
    rows[digest] = UUID(int=7)
    assert known.find("LIC-1234-5678") is None
    now[0] = BELIEVED_S
    assert [known.find("LIC-1234-5678") for _ in range(3)] == [(UUID(int=7), digest)] * 3
    assert len(asked) == 2
    # Once there are some, an unknown one is looked for each time.
    assert (known.find("LIC-1234-5679"), known.find("LIC-1234-5679"), len(asked)) == (None, None, 4)


def test_so_many_keys_are_remembered(monkeypatch):
    monkeypatch.setattr("service.http.imported_keys._MOST_KNOWN", 2)
    asked = []
    known = ImportedKeys(lambda digest: asked.append(digest) or FoundKey(UUID(int=1), True))
    for key in ("LIC-0001", "LIC-0002", "LIC-0001", "LIC-0003", "LIC-0001", "LIC-0002"):
        assert known.find(key) is not None
    # The one that was not used for longest is forgotten.
    assert len(asked) == 4


def test_while_the_database_is_away_nobody_is_called_unknown(client, app, monkeypatch, problem):
    def away(digest):
        raise Problem("over_capacity", "The database could not be reached. Ask again.")

    monkeypatch.setattr(services_of(app).imported_keys, "_find", away)
    problem(client.get(LICENSE, headers={"x-api-key": "LIC-1234-5678"}), "over_capacity", "1")
    problem(client.get(LICENSE, headers={"x-api-key": "short"}), "license_invalid")


def test_the_key_is_in_no_log_and_no_statement(client, new_imported, statements, logged, ask):
    license = new_imported("LIC-SECRET-5678")
    ask(license)
    client.get(LICENSE, headers={"x-api-key": "LIC-SECRET-0000"})
    assert len(statements) >= 4
    assert any(license.key.digest.hex() in statement for statement in statements)
    assert "SECRET" not in f"{statements}{logged}"
