"""The `obol` command: what it prints, what it changes, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen
from uuid import UUID, uuid4

import pytest
from factories import free_port, wait_until

from service import cli, keys
from service.cli import serving
from service.pricing import HoldSize
from service.problems import Problem
from service.repository import credits, holds, licenses, processes

OBOL = Path(sys.executable).parent / "obol"
KEY = re.compile(r"obol_[0-9a-f]{32}_[0-9A-Za-z]{38}")
LARGEST = 2**63 - 1
SOME_ID = UUID("11111111-2222-4333-8444-555555555555")
NOWHERE = "postgresql://obol:secret-password@127.0.0.1:1/obol"


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def key(self):
        (key,) = KEY.findall(self.out)
        return key


@pytest.fixture
def bare(monkeypatch, capsys):
    """`bare(*arguments, **environment)`: the command in this process, with nothing else set."""
    before = dict(os.environ)

    def run(*arguments, **environment):
        os.environ.update(environment)
        monkeypatch.setattr(sys, "argv", ["obol", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        os.environ.clear()
        os.environ.update(before)
        return Ended(ended.value.code or 0, *printed)

    yield run
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def obol(bare, urls):
    """`obol(*arguments, **environment)`: the command against the test's database."""
    return lambda *arguments, **environment: bare(
        *arguments, **{"DATABASE_URL": urls.service, "OBOL_MIGRATE_URL": urls.owner} | environment
    )


@pytest.fixture
def spend(db):
    """`spend(license, amount)`: a keyless generation, charged and never noted as delivered; its hold."""

    def generate(license, amount):
        process_id, hold_id = uuid4(), uuid4()
        price = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 1_000_000)
        processes.heartbeat(db, process_id, 30)
        size = HoldSize(amount, amount)
        holds.open_for_process(db, license.key, hold_id, process_id, size, "a-model", price, None, b"fingerprint")
        holds.settle(db, license.key, hold_id, amount, process_id, {"input": amount})
        return hold_id

    return generate


# license create


def test_create_prints_the_key_once_and_the_key_works(obol, db):
    made = obol("license", "create", "--credits", 500, "--name", "a customer")

    license = licenses.find(db, keys.parse(made.key))
    assert (made.code, made.err) == (0, "")
    assert "shown only now" in made.out
    assert str(license.license_id) in made.out
    assert (license.balance, license.name, license.expires_at) == (500, "a customer", None)


def test_create_as_json(obol, db):
    made = obol("license", "create", "--credits", 500, "--json")

    assert set(made.json) == {"license_id", "license_key", "balance"}
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


@pytest.mark.parametrize("command", [("license", "create", "--credits", 5), ("grant", SOME_ID, 5)])
def test_an_empty_idempotency_key_is_refused(obol, command):
    """`--idempotency-key "$UNSET"` must not quietly make a command that is not safe to repeat."""
    refused = obol(*command, "--idempotency-key", "")

    assert refused.code == 2
    assert "--idempotency-key" in refused.err


def test_what_is_not_unicode_is_refused_in_one_line(obol):
    for option in ("--name", "--idempotency-key"):
        refused = obol("license", "create", "--credits", 5, option, os.fsdecode(b"\xff"))
        assert (refused.code, option in refused.err) == (2, True)


# license list, show, suspend, resume, rotate


def test_list_of_no_licenses_says_how_to_make_one(obol):
    assert "obol license create --credits" in obol("license", "list").out
    assert obol("license", "list", "--json").json == []


def test_list_and_show(obol, new_license):
    one = new_license(credits=10, name="one")
    other = new_license(credits=20, name="other", expires_at=datetime(2020, 1, 31, tzinfo=UTC))

    listed = obol("license", "list", "--json").json
    assert listed == [obol("license", "show", license.id, "--json").json for license in (one, other)]
    assert listed[1] == {
        "license_id": str(other.id),
        "name": "other",
        "status": "expired",
        "expires_at": "2020-01-31T00:00:00Z",
        "balance": 20,
        "held": 0,
        "available": 20,
    }
    assert listed[0]["expires_at"] is None
    assert obol("license", "list").out.splitlines() == [
        f"{one.id}  active, balance 10, held 0  one",
        f"{other.id}  expired, until 2020-01-31T00:00:00Z, balance 20, held 0  other",
    ]
    assert obol("license", "show", one.id).out == f"{one.id}  active, balance 10, held 0  one\n"


def test_suspend_and_resume(obol, new_license, db):
    license = new_license()

    assert obol("license", "suspend", license.id, "--json").json["status"] == "suspended"
    with pytest.raises(Problem, match="license_inactive"):
        credits.deduct(db, license.key, uuid4(), 1, None, b"", None)
    assert obol("license", "suspend", license.id).out.startswith(f"{license.id}  suspended,")
    assert obol("license", "resume", license.id, "--json").json["status"] == "active"
    assert credits.deduct(db, license.key, uuid4(), 1, None, b"", None).balance == 999


def test_rotate_ends_the_older_keys(obol, new_license, db):
    license = new_license()
    rotated = obol("license", "rotate", license.id)

    assert "shown only now" in rotated.out
    assert licenses.find(db, keys.parse(rotated.key)).license_id == license.id
    with pytest.raises(Problem, match="license_invalid"):
        licenses.find(db, license.key)


def test_rotate_with_an_overlap_leaves_the_older_keys_for_a_while(obol, new_license, db):
    license = new_license()
    rotated = obol("license", "rotate", license.id, "--overlap-s", 60, "--json").json

    assert set(rotated) == {"license_id", "license_key", "older_keys_end_at"}
    assert datetime.fromisoformat(rotated["older_keys_end_at"]) > datetime.now(UTC)
    for key in (license.key, keys.parse(rotated["license_key"])):
        assert licenses.find(db, key).license_id == license.id


UNKNOWN_LICENSE = [
    ("license", "show", SOME_ID),
    ("license", "suspend", SOME_ID),
    ("license", "resume", SOME_ID),
    ("license", "rotate", SOME_ID),
    ("grant", SOME_ID, 5),
]


@pytest.mark.parametrize("command", UNKNOWN_LICENSE)
def test_an_unknown_license_is_named(obol, command):
    refused = obol(*command)

    assert (refused.code, refused.out) == (1, "")
    assert str(SOME_ID) in refused.err
    assert obol(*command, "--json").json["code"] == "license_invalid"
    assert not KEY.search(refused.err)


@pytest.mark.parametrize("command", [("license", "show"), ("license", "rotate"), ("grant",), ("refund",)])
def test_what_is_no_license_id_is_wrong_usage(obol, new_license, command):
    raw_key = new_license().raw_key
    refused = obol(*command, "not-an-id", "1")

    assert (refused.code, refused.out) == (2, "")
    # Pasting the key in place of the id is the likely mistake; the error must not keep it.
    assert raw_key not in obol(*command, raw_key, "1").err


# grant, refund, holds


def test_grant(obol, new_license, sql):
    license = new_license(credits=10)

    assert "the balance is 15" in obol("grant", license.id, 5, "--reference", "invoice 7").out
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE entry_no = 2") == [(5, "invoice 7")]
    granted = obol("grant", license.id, 5, "--json").json
    assert (UUID(granted["id"]).version, granted["amount"], granted["balance"]) == (4, 5, 20)


def test_grant_again_with_its_idempotency_key_grants_once(obol, new_license, owner):
    license = new_license(credits=10)
    grant = ("grant", license.id, 5, "--idempotency-key", "k")

    assert obol(*grant, "--json").json == obol(*grant, "--json").json
    assert licenses.show(owner, license.id).balance == 15
    refused = obol("grant", license.id, 6, "--idempotency-key", "k")
    assert (refused.code, "Use a new key" in refused.err) == (1, True)


@pytest.mark.parametrize("amount", ["0", "-1", str(LARGEST + 1), "many"])
def test_grant_of_what_is_no_amount(obol, new_license, amount):
    license = new_license(credits=10)

    assert obol("grant", license.id, "--", amount).code == 2
    assert obol("license", "show", license.id, "--json").json["balance"] == 10


def test_grant_beyond_the_largest_balance(obol, new_license):
    license = new_license(credits=LARGEST)
    refused = obol("grant", license.id, 1)

    assert refused.code == 1
    assert str(LARGEST) in refused.err


def test_undelivered_charges_are_listed_with_the_command_that_refunds_them(obol, new_license, spend):
    license = new_license(credits=100)
    hold_id = spend(license, 30)

    (listed,) = obol("holds", "--undelivered", "--json").json
    settled_at = listed.pop("settled_at")
    assert datetime.fromisoformat(settled_at) <= datetime.now(UTC)
    assert listed == {"license_id": str(license.id), "hold_id": str(hold_id), "charge": 30, "model": "a-model"}
    refund = f"obol refund {license.id} {hold_id}"
    assert obol("holds", "--undelivered").out == f"{settled_at}  30 credits  {refund}\n"

    assert "the balance is 100" in obol(*refund.split()[1:]).out


def test_no_undelivered_charges(obol):
    assert obol("holds", "--undelivered").out == "None: every charged answer was delivered.\n"
    assert obol("holds", "--undelivered", "--json").json == []


def test_a_refunded_charge_is_no_longer_listed(obol, new_license, spend):
    license = new_license(credits=100)
    obol("refund", license.id, spend(license, 30))

    assert obol("holds", "--undelivered", "--json").json == []


def test_refund_gives_back_once(obol, db, new_license, sql):
    license = new_license(credits=100)
    deduction_id = uuid4()
    credits.deduct(db, license.key, deduction_id, 40, None, b"", None)

    refund = ("refund", license.id, deduction_id, "--reference", "broken", "--json")
    first = obol(*refund)
    assert first.json == {"id": str(deduction_id), "amount": 40, "balance": 100}
    assert obol(*refund) == first
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE kind = 'refund'") == [(40, "broken")]


def test_refund_of_what_was_never_charged(obol, new_license):
    license, hold_id = new_license(), uuid4()
    refused = obol("refund", license.id, hold_id)

    assert (refused.code, str(hold_id) in refused.err) == (1, True)
    assert obol("refund", license.id, hold_id, "--json").json["code"] == "hold_not_found"


# verify


def test_verify_of_a_clean_ledger(obol, new_license):
    new_license()

    assert obol("verify") == Ended(0, "Clean: every balance is what its ledger says.\n", "")
    assert obol("verify", "--json").json == {"clean": True, "findings": []}


@pytest.mark.tampers
def test_verify_names_each_row_that_disagrees(obol, new_license, sql):
    license, other = new_license(credits=10), new_license(credits=10)
    sql("UPDATE obol.licenses SET balance = 11 WHERE license_id = %s", (str(license.id),))

    found = obol("verify")
    assert found.code == 1
    assert found.out == f"{license.id}: NOT balance is the sum of the entries: balance 11, entries sum to 10\n"
    assert str(other.id) not in found.out

    as_json = obol("verify", "--json")
    assert as_json.code == 1
    assert as_json.json == {
        "clean": False,
        "findings": [
            {
                "license_id": str(license.id),
                "rule": "balance is the sum of the entries",
                "detail": "balance 11, entries sum to 10",
            }
        ],
    }


# migrate


def test_migrate_an_empty_database_and_again(bare, empty_database):
    environment = {"DATABASE_URL": empty_database.service, "OBOL_MIGRATE_URL": empty_database.owner}
    for _ in range(2):
        assert bare("migrate", **environment) == Ended(0, "The database is at head.\n", "")
    assert bare("verify", **environment).code == 0


def test_migrate_without_an_owner_s_url_uses_database_url(bare, empty_database):
    assert bare("migrate", DATABASE_URL=empty_database.owner).code == 0


def test_migrate_to_an_unknown_revision(obol):
    refused = obol("migrate", "--revision", "nonsense")

    assert (refused.code, refused.out) == (2, "")
    assert "nonsense" in refused.err


@pytest.mark.parametrize("command", [("verify",), ("license", "list"), ("license", "create", "--credits", "1")])
def test_a_database_without_migrations_says_to_migrate(bare, empty_database, command):
    refused = bare(*command, DATABASE_URL=empty_database.owner)

    assert refused.code != 0
    assert "obol migrate" in refused.err


# the environment


COMMANDS = [
    ("migrate",),
    ("verify",),
    ("holds", "--undelivered"),
    ("license", "list"),
    ("license", "create", "--credits", "1"),
    ("license", "show", SOME_ID),
    ("license", "suspend", SOME_ID),
    ("license", "resume", SOME_ID),
    ("license", "rotate", SOME_ID),
    ("grant", SOME_ID, "1"),
    ("refund", SOME_ID, SOME_ID),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(map(str, command[:2])))
def test_without_a_database_url_each_command_names_it(bare, command):
    refused = bare(*command)

    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("obol: DATABASE_URL is not set")
    assert "OBOL_DEV=1" in refused.err
    assert not KEY.search(refused.err)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(map(str, command[:2])))
def test_a_database_that_is_down_ends_each_command_with_3(bare, command):
    refused = bare(*command, DATABASE_URL=NOWHERE)

    assert (refused.code, refused.out) == (3, "")
    assert refused.err == "obol: The database could not be reached. Ask again.\n"


def test_a_database_that_is_down_as_json(bare):
    refused = bare("license", "list", "--json", DATABASE_URL=NOWHERE)

    assert (refused.code, refused.err) == (3, "")
    assert refused.json == {"error": "The database could not be reached. Ask again.", "code": "over_capacity"}


def test_an_unknown_setting_names_the_nearest_one(obol):
    refused = obol("verify", OBOL_LEASES_S="2")

    assert refused.code == 2
    assert refused.err == "obol: OBOL_LEASES_S is not a setting of Obol. Did you mean OBOL_LEASE_S?\n"
    assert obol("verify", "--json", OBOL_LEASES_S="2").json["code"] is None


def test_a_wrong_setting_is_named_without_its_value(bare):
    refused = bare("verify", DATABASE_URL="mysql://obol:secret-password@127.0.0.1/obol")

    assert refused.code == 2
    assert "DATABASE_URL is not valid" in refused.err
    assert "secret-password" not in refused.err


def test_usage(bare):
    assert bare("--help").code == 0
    assert bare("--version").out.startswith("obol, version ")
    assert bare("nonsense").code == 2
    assert "--undelivered" in bare("holds").err


def test_wrong_usage_is_json_too_when_asked(bare):
    refused = bare("grant", "not-an-id", "1", "--json")

    assert refused.code == 2
    assert "it is no id" in refused.json["error"]


# the demo license of `make run`


def test_the_demo_license_is_made_once(urls, config, capsys, db):
    serving._demo_license(config)
    printed = capsys.readouterr().out
    key, in_curl = KEY.findall(printed)
    serving._demo_license(config)

    assert key == in_curl
    assert not printed[: printed.index(key)].count("obol_")
    assert licenses.find(db, keys.parse(key)).balance == serving.DEMO_CREDITS
    assert f"http://127.0.0.1:{config.port}/api/v1/generate" in printed
    assert not KEY.search(capsys.readouterr().out)


# as a program


def program(*arguments, **environment):
    """The installed command, in a process of its own."""
    ended = subprocess.run(
        [OBOL, *map(str, arguments)],
        capture_output=True,
        env={"PATH": os.environ["PATH"]} | environment,
        cwd="/",
        timeout=60,
        text=True,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_the_installed_command(urls):
    made = program("license", "create", "--credits", 5, "--json", DATABASE_URL=urls.owner)

    assert (made.code, made.err, made.json["balance"]) == (0, "", 5)
    assert program("verify").code == 2
    assert program("verify", DATABASE_URL=NOWHERE).code == 3


@pytest.fixture
def started():
    """`started(*arguments, **environment)`: the command as a running process, ended with the test."""
    processes = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            [OBOL, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd="/",
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


def answers(url):
    try:
        with urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.mark.parametrize("options", [(), ("--demo",)])
def test_serve(started, environ, new_license, options):
    license = new_license()
    port = free_port()
    process = started("serve", *options, "--workers", 1, **environ, PORT=str(port))
    wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 30, "readyz")

    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=20)[0]
    assert process.returncode == 0
    # The project's own configuration is in force, from whatever folder.
    assert f"Listening at: http://127.0.0.1:{port} " in printed
    assert "Using worker: gthread" in printed
    assert license.raw_key not in printed
    assert ("Licenses are there already" in printed) == bool(options)


def test_serve_demo_migrates_and_makes_the_license(started, environ, empty_database):
    port = free_port()
    environ |= {"DATABASE_URL": empty_database.service, "OBOL_MIGRATE_URL": empty_database.owner}
    process = started("serve", "--demo", "--workers", "1", **environ, PORT=str(port))
    wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 30, "readyz")
    process.send_signal(signal.SIGINT)

    assert len(KEY.findall(process.communicate(timeout=20)[0])) == 2
    assert process.returncode == 0


@pytest.mark.parametrize("missing", ["DATABASE_URL", "ANTHROPIC_API_KEY"])
def test_serve_names_what_is_missing(environ, missing):
    refused = program("serve", **{name: value for name, value in environ.items() if name != missing})

    assert refused.code == cli.WRONG_USAGE
    assert f"obol: {missing} is not set" in refused.err


def test_sandbox(started):
    port = free_port()
    process = started("sandbox", "--port", port)
    assert process.stdout.readline() == (
        f"The sandbox, not a model, answers at http://127.0.0.1:{port} (ANTHROPIC_BASE_URL).\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")

    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == 130


def test_sandbox_on_a_port_that_is_taken(bare):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = bare("sandbox", "--port", port)

    assert refused.code == 2
    assert refused.err.startswith(f"obol: port {port} cannot be used")
    assert "--port" in refused.err


def test_ctrl_c_in_a_command(bare, monkeypatch, environ):
    def interrupted(database):
        raise KeyboardInterrupt

    monkeypatch.setattr(credits, "verify", interrupted)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert bare("verify").code == 130
