"""`obol license`: create, list, show, set, suspend, resume and rotate."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from ended import KEY, LARGEST

from service import keys
from service.problems import Problem
from service.repository import ledger, licenses


def test_create_prints_the_key_once_and_the_key_works(obol, db):
    made = obol("license", "create", "--credits", 500, "--name", "a customer")

    license = licenses.find(db, keys.parse(made.key))
    assert (made.code, made.err) == (0, "")
    assert "shown only now" in made.out
    assert str(license.license_id) in made.out
    assert (license.balance, license.name, license.expires_at) == (500, "a customer", None)


def test_create_as_json(obol, db):
    made = obol("license", "create", "--credits", 500, "--json")

    assert set(made.json) == {"license_id", "license_key", "key_id", "balance"}
    assert made.json["balance"] == 500
    assert licenses.find(db, keys.parse(made.json["license_key"])).license_id == UUID(made.json["license_id"])


@pytest.mark.parametrize("amount", [0, 1, LARGEST])
def test_create_with_any_credits_that_fit(obol, amount):
    assert obol("license", "create", "--credits", amount, "--json").json["balance"] == amount


@pytest.mark.parametrize("amount", ["-1", str(LARGEST + 1), "many", "1.5", ""])
def test_create_names_the_option_that_is_wrong(obol, sql, amount):
    refused = obol("license", "create", "--credits", amount)

    assert (refused.code, refused.out) == (2, "")
    assert "'--credits'" in refused.err
    assert sql("SELECT count(*) FROM obol.licenses") == [(0,)]


def test_create_needs_credits(obol):
    refused = obol("license", "create")

    assert refused.code == 2
    assert "Missing option '--credits'" in refused.err


@pytest.mark.parametrize(
    ("given", "expires_at"),
    [
        ("2020-01-31T12:00:00Z", datetime(2020, 1, 31, 12, tzinfo=UTC)),
        ("2999-01-31T12:00:00+02:00", datetime(2999, 1, 31, 10, tzinfo=UTC)),
        ("2999-01-31T12:00:00", datetime(2999, 1, 31, 12, tzinfo=UTC)),
        ("2999-01-31", datetime(2999, 1, 31, tzinfo=UTC)),
    ],
)
def test_create_with_an_expiry_also_in_the_past(obol, db, given, expires_at):
    made = obol("license", "create", "--credits", 1, "--expires", given)

    license = licenses.find(db, keys.parse(made.key))
    assert license.expires_at == expires_at
    assert license.status == ("expired" if expires_at.year == 2020 else "active")


@pytest.mark.parametrize("given", ["tomorrow", "", "2027-13-01", "0001-01-01T00:00:00+14:00"])
def test_create_refuses_what_is_no_time(obol, given):
    refused = obol("license", "create", "--credits", 1, "--expires", given)

    assert refused.code == 2
    assert "'--expires'" in refused.err
    assert "2027-01-31T00:00:00Z" in refused.err


def test_create_again_with_its_idempotency_key_makes_nothing_and_shows_no_key(obol, sql):
    create = ("license", "create", "--credits", 5, "--name", "n", "--expires", "2999-01-01", "--idempotency-key", "k")
    first = obol(*create, "--json").json
    again = obol(*create, "--json").json
    as_text = obol(*create)

    assert KEY.fullmatch(first["license_key"])
    assert again == first | {"license_key": None}
    assert not KEY.search(as_text.out)
    assert f"obol license rotate {first['license_id']}" in as_text.out
    assert sql("SELECT count(*) FROM obol.licenses") == [(1,)]


@pytest.mark.parametrize("other", [("--credits", 6), ("--name", "m"), ("--expires", "2999-01-02")])
def test_create_with_a_used_idempotency_key_and_other_values_is_refused(obol, other):
    create = ("license", "create", "--credits", 5, "--idempotency-key", "k")
    obol(*create)

    refused = obol(*create, *other)
    assert (refused.code, refused.out) == (1, "")
    assert "Use a new key" in refused.err
    assert obol(*create, *other, "--json").json["code"] == "idempotency_key_reused"


def test_list_of_no_licenses_says_how_to_make_one(obol):
    assert "obol license create --credits" in obol("license", "list").out
    assert obol("license", "list", "--json").json == []


def test_list_and_show(obol, new_license):
    one = new_license(credits=10, name="one")
    other = new_license(credits=20, name="other", expires_at=datetime(2020, 1, 31, tzinfo=UTC))

    listed = obol("license", "list", "--json").json
    untold = {"alerts": None, "email": None, "own_keys": 0}
    shown = [obol("license", "show", license.id, "--json").json for license in (one, other)]
    assert [row | untold for row in listed] == shown
    assert listed[1] == {
        "license_id": str(other.id),
        "name": "other",
        "status": "expired",
        "expires_at": "2020-01-31T00:00:00Z",
        "balance": 20,
        "held": 0,
        "available": 20,
        "external_id": None,
        "created_at": listed[1]["created_at"],
        "limits": None,
    }
    assert listed[0]["expires_at"] is None
    heading, *rows = obol("license", "list").out.splitlines()
    assert heading.split() == ["LICENSE", "STATUS", "EXPIRES", "BALANCE", "HELD", "NAME"]
    assert [row.split() for row in rows] == [
        [str(one.id), "active", "-", "10", "0", "one"],
        [str(other.id), "expired", "2020-01-31T00:00:00Z", "20", "0", "other"],
    ]
    # Numbers end where their headings end, text begins where they begin.
    assert {heading.index("BALANCE") + 7} == {row.index("     0  ") for row in rows}
    assert {heading.index("NAME")} == {row.index(name) for row, name in zip(rows, ("one", "other"), strict=True)}
    assert obol("license", "show", one.id).out.splitlines()[1].split() == rows[0].split()


def test_list_what_is_asked_for(obol, new_license):
    one = new_license(name="Ada of Kent")
    other = new_license(name="Grace", expires_at=datetime(2020, 1, 31, tzinfo=UTC))

    def listed(*options):
        return [row["license_id"] for row in obol("license", "list", *options, "--json").json]

    assert listed("--status", "expired") == [str(other.id)]
    assert listed("--query", "ADA") == listed("--query", str(one.id)[:8]) == [str(one.id)]
    assert listed("--query", "a") == [str(one.id), str(other.id)]
    assert listed("--status", "active", "--query", "Grace") == []
    assert obol("license", "list", "--status", "suspended").out == "No license is like that.\n"


def test_suspend_and_resume(obol, new_license, db):
    license = new_license()

    assert obol("license", "suspend", license.id, "--json").json["status"] == "suspended"
    with pytest.raises(Problem, match="license_inactive"):
        ledger.deduct(db, license.key, uuid4(), amount=1)
    assert f"{license.id}  suspended" in obol("license", "suspend", license.id).out
    assert obol("license", "resume", license.id, "--json").json["status"] == "active"
    assert ledger.deduct(db, license.key, uuid4(), amount=1).balance == 999


def test_set_renews_and_renames(obol, new_license):
    license = new_license(name="before", expires_at=datetime(2020, 1, 31, tzinfo=UTC))

    renewed = obol("license", "set", license.id, "--expires", "2999-01-31", "--json").json
    assert (renewed["status"], renewed["expires_at"], renewed["name"]) == ("active", "2999-01-31T00:00:00Z", "before")
    _, row = obol("license", "set", license.id, "--name", "after").out.splitlines()
    assert row.split() == [str(license.id), "active", "2999-01-31T00:00:00Z", "1000", "0", "after"]
    assert obol("license", "set", license.id, "--expires", "never", "--json").json["expires_at"] is None


def test_set_takes_an_end_that_is_past_only_when_it_is_meant(obol, new_license):
    license = new_license()
    past = ("license", "set", license.id, "--expires", "2020-01-31")

    refused = obol(*past)
    assert (refused.code, refused.out) == (1, "")
    assert "--allow-past" in refused.err
    assert obol("license", "show", license.id, "--json").json["status"] == "active"

    assert obol(*past, "--allow-past", "--json").json["status"] == "expired"


def test_set_wants_to_know_what(obol, new_license):
    license = new_license()

    for options in ((), ("--allow-past",)):
        refused = obol("license", "set", license.id, *options)
        assert (refused.code, "--name, --expires" in refused.err) == (2, True)
    refused = obol("license", "set", license.id, "--expires", "tomorrow")
    assert (refused.code, "'--expires'" in refused.err) == (2, True)


def test_rotate_gives_the_older_keys_a_day(obol, new_license, db):
    license = new_license()
    rotated = obol("license", "rotate", license.id, "--json").json

    left = datetime.fromisoformat(rotated["older_keys_end_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(days=1)
    assert licenses.find(db, license.key).license_id == license.id


def test_rotate_now_ends_the_older_keys(obol, new_license, db):
    license = new_license()
    for contradiction in ("60", "0"):
        refused = obol("license", "rotate", license.id, "--now", "--overlap-s", contradiction)
        assert (refused.code, refused.out, "--overlap-s" in refused.err) == (2, "", True)
    assert licenses.find(db, license.key).license_id == license.id
    rotated = obol("license", "rotate", license.id, "--now")

    assert "shown only now" in rotated.out
    assert licenses.find(db, keys.parse(rotated.key)).license_id == license.id
    with pytest.raises(Problem, match="license_invalid"):
        licenses.find(db, license.key)


def test_rotate_with_an_overlap_leaves_the_older_keys_for_a_while(obol, new_license, db):
    license = new_license()
    rotated = obol("license", "rotate", license.id, "--overlap-s", 60, "--json").json

    assert set(rotated) == {"license_id", "license_key", "key_id", "older_keys_end_at"}
    assert datetime.fromisoformat(rotated["older_keys_end_at"]) > datetime.now(UTC)
    for key in (license.key, keys.parse(rotated["license_key"])):
        assert licenses.find(db, key).license_id == license.id


def test_a_holder_is_allowed_keys(obol, new_license):
    license = new_license()
    assert obol("license", "set", license.id, "--own-keys", "3", "--json").json["own_keys"] == 3
    assert obol("license", "show", license.id, "--json").json["own_keys"] == 3
    assert "Its holder may have made 3 good keys at once." in obol("license", "show", license.id).out
    assert obol("license", "set", license.id, "--name", "Ada", "--json").json["own_keys"] == 3
    assert obol("license", "set", license.id, "--own-keys", "0", "--json").json["own_keys"] == 0
    assert obol("license", "set", license.id, "--own-keys", "101").code == 2
