"""`obol package`, `obol payments` and `obol stripe secret set`."""

from io import StringIO
from uuid import uuid4

import pytest
from factories import ROOT

from service import money
from service.repository import payments

EXAMPLE = ROOT / "docs" / "packages.example.toml"


def test_a_package_is_set_listed_and_ended(obol):
    assert "obol package set" in obol("package", "list").out
    said = obol(
        *("package", "set", "starter", "--name", "Starter", "--price", "10.00", "--currency", "EUR"),
        *("--credits", "100000", "--lifetime-days", "30"),
    )
    assert said.out == "starter: 100000 credits for 10.00 EUR.\n"
    (row,) = obol("package", "list", "--json").json
    assert row == {
        "id": "starter", "active": True, "name": "Starter", "price": 1000, "currency": "eur", "credits": 100000,
        "lifetime_days": 30,
    }  # fmt: skip
    assert obol("package", "end", "starter").out == "starter is sold no more.\n"
    assert "ended" in obol("package", "list").out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--price", "10.001", "--currency", "eur"), "10.00 EUR"),
        (("--price", "10.0", "--currency", "jpy"), "10 JPY"),
        (("--price", "-1", "--currency", "eur"), "10.00 EUR"),
        (("--price", "1", "--currency", "euro"), "a code such as eur"),
    ],
)
def test_a_price_that_is_none_is_refused(obol, more, words):
    ended = obol("package", "set", "a", "--name", "A", "--credits", "1", *more)
    assert (ended.code, words in ended.err) == (2, True)


def test_the_packages_of_a_file_are_shown_and_then_set(obol, tmp_path):
    would = obol("package", "import", EXAMPLE, "--dry-run", "--json").json
    assert obol("package", "list", "--json").json == []
    said = obol("package", "import", EXAMPLE, "--dry-run").out.splitlines()
    assert said[0] == "starter: not sold -> Starter, 100000 credits for 10.00 EUR, for 365 days"
    assert said[-1] == "Nothing was written: this was a dry run."
    done = obol("package", "import", EXAMPLE, "--json").json
    assert (would["dry_run"], done["dry_run"], would["changes"]) == (True, False, done["changes"])
    assert [change["after"] for change in done["changes"]] == obol("package", "list", "--json").json
    assert obol("package", "import", EXAMPLE).out == "Nothing changes: the packages say so already.\n"
    path = tmp_path / "packages.toml"
    path.write_text(
        'not_sold = ["team"]\n[[package]]\nid = "starter"\nname = "S"\nprice = 12.5\ncurrency = "eur"\ncredits = 9\n'
    )
    assert obol("package", "import", path).out.splitlines() == [
        "starter: Starter, 100000 credits for 10.00 EUR, for 365 days -> S, 9 credits for 12.50 EUR",
        "team: Team, 1200000 credits for 100.00 EUR, for 365 days -> not sold",
    ]


def test_a_file_that_is_wrong_sets_nothing(obol, tmp_path):
    path = tmp_path / "packages.toml"
    good = '[[package]]\nid = "a"\nname = "A"\nprice = 10\ncurrency = "eur"\ncredits = 9\n'
    for content, code, said in (
        (good + good.replace("9", "0").replace('"a"', '"b"'), 2, "the package b: credits must be a whole number"),
        ('not_sold = ["none"]\n' + good, 1, "There is no package none"),
    ):
        path.write_text(content)
        ended = obol("package", "import", path)
        assert (ended.code, said in ended.err) == (code, True)
    assert obol("package", "list", "--json").json == []


def test_a_package_id_that_is_none_or_unknown(obol):
    assert obol("package", "end", "A B").code == 2
    assert obol("package", "end", "none").code == 1


def test_the_payments_of_a_license(obol, owner, db, new_license):
    license = new_license()
    assert obol("payments", str(license.id)).out == "No payments.\n"
    payments.set_package(owner, "pack", name="Pack", price=1000, currency="eur", credits=500)
    payment_id = uuid4()
    payments.begin(db, license.key, payment_id, package_id="pack", success_url="https://o/", cancel_url="https://o/")
    assert "10.00 EUR" in obol("payments", str(license.id)).out
    (row,) = obol("payments", str(license.id), "--json").json
    assert (row["id"], row["state"], row["owed"]) == (str(payment_id), "pending", 0)
    assert obol("payments", "--json").json == [row]
    assert str(license.id) in obol("payments").out
    assert obol("payments", "--owed").out == "No payments.\n"
    assert obol("payments", str(license.id), "--owed").code == 2


@pytest.fixture
def typed(monkeypatch):
    """`typed("…")`: what comes from the terminal next."""
    return lambda text: monkeypatch.setattr("sys.stdin", StringIO(text))


@pytest.mark.filterwarnings("ignore::getpass.GetPassWarning")
def test_the_signing_secret_is_read_and_never_shown(obol, sql, typed):
    typed("whsec_0123456789abcdef\n")
    ended = obol("stripe", "secret", "set")
    assert (ended.code, "0123456789" in ended.out + ended.err) == (0, False)
    typed("whsec_another_0123456789\n")
    assert obol("stripe", "secret", "set", "--json").json == {"good": 2}
    assert sql("SELECT count(*) FROM obol.admin_acts WHERE detail::text LIKE '%whsec%'") == [(0,)]
    typed("sk_live_0123456789abcdef\n")
    assert obol("stripe", "secret", "set").code == 2


@pytest.mark.parametrize(
    ("said", "currency", "amount"),
    [("10", "eur", 1000), ("10.5", "eur", 1050), ("0.01", "usd", 1), ("500", "jpy", 500), ("1.234", "kwd", 1234)],
)
def test_money_is_kept_in_the_smallest_unit(said, currency, amount):
    assert money.parse(said, currency) == amount
    assert money.parse(money.show(amount, currency).split()[0], currency) == amount


@pytest.mark.parametrize("said", ["", "0", "1e3", "1,00", "1.", " 1", "1000000", "٣"])
def test_what_is_no_price(said):
    with pytest.raises(ValueError, match=r"10\.00 EUR"):
        money.parse(said, "eur")
