"""obol.import_license: a license of another system with its key and its credits, once a key."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from uuid import uuid4

import psycopg2
import pytest
from factories import run, wait_until

from service import keys, operator
from service.keys import KeyDigest
from service.problems import Problem
from service.repository import admin, grants, imports, ledger, licenses, limits
from service.repository.admin import Actor

PAST = datetime(2026, 1, 31, tzinfo=UTC)
DIGEST = hashlib.sha256(b"LIC-1234-5678").digest()
VALUES = {"credits": 500, "status": "suspended", "expires_at": PAST, "external_id": "customer 7", "name": "Ada"}
TABLES = ("licenses", "license_keys", "imported_keys", "external_ids", "grants", "ledger_entries", "admin_acts")


@pytest.fixture
def take(owner):
    """`take(digest, dry_run=…, …)`: the license and the result of an import."""
    return lambda digest=DIGEST, **values: imports.import_license(
        owner, KeyDigest(uuid4(), digest), **({"credits": 500} | values)
    )


@pytest.fixture
def rows(sql):
    """`rows()`: how many there are of each thing that an import makes."""
    return lambda: [sql(f"SELECT count(*) FROM obol.{table}")[0][0] for table in TABLES]


def test_a_license_is_as_it_was_said_to_be(owner, take):
    made = take(**VALUES)

    license = licenses.show(owner, made.license_id)
    assert made.result == "imported"
    assert (license.name, license.status, license.expires_at) == ("Ada", "suspended", PAST)
    assert (license.balance, license.held, license.external_id) == (500, 0, "customer 7")
    (grant,) = grants.list_of(owner, made.license_id, limit=10)
    assert (grant.amount, grant.reason, grant.reference, grant.expires_at) == (500, "import", "opening grant", None)
    (key,) = limits.list_keys(owner, made.license_id)
    assert (key.name, key.limits, key.expires_at) == ("imported", None, None)


def test_an_import_is_an_act_without_the_key(owner, take, sql):
    made = take(**VALUES)

    found = [act for act in admin.list_acts(owner) if act.license_id == made.license_id]
    assert [act.act for act in found] == ["import_license", "grant_credits"]
    assert found[0].detail["credits"] == 500
    assert found[0].actor.startswith("cli:")
    (text,) = sql("SELECT string_agg(a::text, '') FROM obol.admin_acts a")[0]
    assert DIGEST.hex() not in text


def test_the_same_again_changes_nothing_also_once_it_was_used(db, owner, take, rows):
    made = take(**VALUES)
    licenses.set_license(owner, made.license_id, status="active", expires_at="never", name="Ada L.")
    ledger.deduct(
        db,
        KeyDigest(made.license_id, DIGEST),
        uuid4(),
        amount=200,
        idempotency_key=None,
        fingerprint=b"",
        reference=None,
    )
    before = rows()

    assert take(**VALUES) == (made.license_id, "unchanged")
    assert take(**VALUES, dry_run=True) == (made.license_id, "unchanged")
    assert rows() == before
    assert licenses.show(owner, made.license_id).balance == 300


def test_an_answer_that_was_lost_is_asked_for_again(owner, rows):
    key = KeyDigest(uuid4(), DIGEST)
    first = imports.import_license(owner, key, credits=5)
    before = rows()

    assert imports.import_license(owner, key, credits=5) == first == (key.license_id, "imported")
    assert rows() == before


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("field", "value"),
    [("credits", 501), ("status", "active"), ("expires_at", None), ("external_id", "customer 8"), ("name", "Eve")],
)
def test_the_same_key_with_another_value_is_refused_by_name(take, rows, field, value, dry_run):
    take(**VALUES)
    before = rows()

    with pytest.raises(Problem) as caught:
        take(**VALUES | {field: value}, dry_run=dry_run)
    assert (caught.value.code, caught.value.extra) == ("already_exists", {"field": field})
    assert f"with another {field}." in caught.value.detail
    assert rows() == before


def test_all_that_differs_is_named(take):
    take(**VALUES)
    with pytest.raises(Problem) as caught:
        take(credits=1)
    assert "another credits and another status and another expires_at" in caught.value.detail


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_another_license_has_is_refused(owner, take, new_license, rows, dry_run):
    operator.create_license(owner, credits=0, external_id="customer 7")
    other = new_license()
    before = rows()

    for field, digest, values in (("external_id", DIGEST, VALUES), ("key", other.key.digest, {})):
        with pytest.raises(Problem) as caught:
            take(digest, **values, dry_run=dry_run)
        assert (caught.value.code, caught.value.extra) == ("already_exists", {"field": field})
    assert rows() == before


def test_a_dry_run_says_what_would_be_and_writes_nothing(take, rows):
    before = rows()

    assert take(**VALUES, dry_run=True) == (None, "imported")
    assert rows() == before
    assert take(**VALUES).result == "imported"


def test_without_credits_nothing_is_granted(owner, take):
    made = take(credits=0)
    assert licenses.show(owner, made.license_id).balance == 0
    assert grants.list_of(owner, made.license_id, limit=10) == []


def test_the_most_credits_that_there_can_be(owner, take):
    assert licenses.show(owner, take(credits=2**63 - 1).license_id).balance == 2**63 - 1


@pytest.mark.parametrize("credits", [-1, None])
def test_a_wrong_number_of_credits(take, rows, credits):
    before = rows()
    with pytest.raises(Problem) as caught:
        take(credits=credits)
    assert caught.value.code == "amount_invalid"
    assert rows() == before


def test_credits_need_the_scope_for_grants(db, new_token, rows):
    manages, reads = (Actor(keys.parse_token(new_token(scope)), "req_1") for scope in ("manage", "read"))
    before = rows()

    for actor, credits, scope in ((manages, 1, "grant"), (reads, 0, "manage"), (Actor(None, None), 0, None)):
        with pytest.raises(Problem) as caught:
            imports.import_license(db, KeyDigest(uuid4(), DIGEST), credits=credits, actor=actor)
        assert (caught.value.code, caught.value.extra.get("scope")) == ("admin_forbidden", scope)
    assert rows() == before
    assert imports.import_license(db, KeyDigest(uuid4(), DIGEST), credits=0, actor=manages).result == "imported"


@pytest.mark.parametrize("same", ["key", "external id"])
def test_who_comes_at_once_makes_one(owner, take, sql, same):
    digests = [DIGEST if same == "key" else bytes([number]) * 32 for number in range(8)]

    def one(digest):
        try:
            return take(digest, external_id="customer 7").result
        except Problem as problem:
            return problem.code

    with ThreadPoolExecutor(8) as pool:
        results = sorted(pool.map(one, digests))
    assert results == (["imported", *["unchanged"] * 7] if same == "key" else [*["already_exists"] * 7, "imported"])
    assert sql("SELECT count(*), sum(balance) FROM obol.licenses") == [(1, 500)]


@pytest.mark.parametrize("table", ["imported_keys", "external_ids"])
def test_who_came_between_is_found_by_the_next_try(urls, sql, take, waiting, new_license, table):
    """The one has looked and found nothing when the other commits: what it has done so far is taken back."""
    other = new_license()
    values = '{"credits": 500, "status": "active", "expires_at": null, "external_id": "customer 7", "name": ""}'
    digest = f"'\\x{DIGEST.hex()}'"
    key = f"INSERT INTO obol.license_keys (license_id, key_digest, created_at) VALUES ('{other.id}', {digest}, now())"
    meanwhile = {
        "imported_keys": f"INSERT INTO obol.imported_keys VALUES ({digest}, '{other.id}', '{values}', now()); {key}",
        "external_ids": f"INSERT INTO obol.external_ids VALUES ('customer 7', '{other.id}')",
    }
    with closing(psycopg2.connect(urls.owner)) as first, ThreadPoolExecutor(1) as pool:
        first.cursor().execute(meanwhile[table])
        call = pool.submit(take, external_id="customer 7")
        try:
            wait_until(lambda: waiting() == 1)
        finally:
            first.commit()
        if table == "imported_keys":
            assert call.result(10) == (other.id, "unchanged")
        else:
            assert call.exception(10).extra == {"field": "external_id"}
    assert sql("SELECT count(*) FROM obol.licenses") == [(1,)]


def test_an_imported_key_is_found_by_its_digest(db, take):
    assert imports.find_key(db, DIGEST) == (None, False)
    made = take()
    assert imports.find_key(db, DIGEST) == (made.license_id, True)
    assert imports.find_key(db, b"x" * 32) == (None, True)


def test_the_first_version_s_call_takes_an_imported_key(urls, new_imported, new_license):
    def deduct(raw_key, amount):
        return run(urls.owner, "SELECT obol.deduct_credits(%s, %s)", (raw_key, amount))[0][0]

    for raw_key in ("LIC-1234-5678", "obol_live_1234", "a'b\"c\\d;--e"):
        license = new_imported(raw_key, credits=100)
        assert (deduct(license.raw_key, 30), deduct(license.raw_key, 30)) == (70, 40)
        with pytest.raises(psycopg2.Error, match="INSUFFICIENT_CREDITS"):
            deduct(license.raw_key, 41)
    assert deduct(new_license(credits=100).raw_key, 30) == 70
    with pytest.raises(psycopg2.Error, match="INVALID_LICENSE"):
        deduct("LIC-1234-5679", 1)


def test_a_rotated_imported_key_overlaps_with_its_own_successor_and_ends(db, owner, new_imported):
    license = new_imported()
    new = operator.rotate_key(owner, license.id, 3600)

    for key in (license.key, keys.parse(new.license_key)):
        assert licenses.find(db, key).license_id == license.id
    operator.rotate_key(owner, license.id, 0)
    with pytest.raises(Problem) as caught:
        licenses.find(db, license.key)
    assert caught.value.code == "license_invalid"
    # It still says where to look, and that is no key.
    assert imports.find_key(db, license.key.digest).license_id == license.id
