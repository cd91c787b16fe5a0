"""`obol prices`: what it prints, what it changes, and how it ends."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from ended import NOWHERE
from factories import ROOT

from service.gateway.price_book import find_price
from service.pricing import CLASSES
from service.repository import prices

EXAMPLE = ROOT / "docs" / "prices.example.toml"

FIGURES = dict(zip(CLASSES, (1, 2, 3, 4, 5), strict=True))
OPTIONS = [part for name, figure in FIGURES.items() for part in (f"--{name.replace('_', '-')}", str(figure))]
WORDS = "input 1, output 2, cache_write_5m 3, cache_write_1h 4, cache_read 5"
TIER = {"above_input_tokens": 100} | dict.fromkeys(CLASSES, 7)
SHIPPED = dict.fromkeys(CLASSES, 1_000_000)
SHIPPED_WORDS = ", ".join(f"{name} 1000000" for name in CLASSES)
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
SOON_WORDS = SOON.isoformat().replace("+00:00", "Z")


@pytest.fixture
def price(owner):
    """`price(model)`: what it costs from now on."""
    return lambda model: find_price(prices.book(owner), model, datetime.now(UTC) + timedelta(seconds=1))


@pytest.fixture
def file(tmp_path):
    """`file(text)`: the path of a file with it."""

    def write(text):
        path = tmp_path / "prices.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


# show


def test_show_the_shipped_prices(obol):
    document = {"model": "*", "effective_from": "2026-01-01T00:00:00Z", **SHIPPED, "tiers": []}

    heading, row = obol("prices", "show").out.splitlines()
    assert heading.split(maxsplit=5)[:5] == ["MODEL", "FROM", "ABOVE", "INPUT", "OUTPUT"]
    assert row.split() == ["*", "2026-01-01T00:00:00Z", "-", *["1000000"] * 5]
    assert obol("prices", "show", "--json").json == [document]


def test_show_what_is_in_force_and_to_come_and_with_all_the_history(obol, owner, price):
    prices.set_prices(owner, [("m", None, FIGURES)])
    prices.set_prices(owner, [("m", None, FIGURES | {"tiers": [TIER]}), ("m", SOON, None), ("*", None, None)])

    shown = obol("prices", "show", "--json").json
    assert [(row["model"], row["input"], row["tiers"]) for row in shown] == [
        ("*", None, []),
        ("m", 1, [TIER]),
        ("m", None, []),
    ]
    assert shown[2]["effective_from"] == SOON_WORDS
    *_, in_force, tier, to_come = (row.split() for row in obol("prices", "show").out.splitlines())
    assert in_force[2:] == ["-", "1", "2", "3", "4", "5"]
    assert tier == [*in_force[:2], "100", "input", "tokens", *"77777"]
    assert to_come == ["m", SOON_WORDS, "not", "sold", *"-----"]
    assert [(row["model"], row["input"]) for row in obol("prices", "show", "--all", "--json").json] == [
        ("*", 1_000_000),
        ("*", None),
        ("m", 1),
        ("m", 1),
        ("m", None),
    ]


def test_show_without_prices(obol, sql):
    sql("DELETE FROM obol.prices")

    assert obol("prices", "show").out == "No prices: every model is refused.\n"
    assert obol("prices", "show", "--json").json == []


# set, end


def test_set_from_now_on(obol, price):
    done = obol("prices", "set", "claude-x*", *OPTIONS)

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("claude-x*  from 20")
    assert done.out.endswith(f"Z: no price of its own -> {WORDS}\n")
    assert price("claude-x-1") == FIGURES
    assert price("claude-y") == SHIPPED


def test_set_again_changes_nothing(obol):
    obol("prices", "set", "m", *OPTIONS)

    assert obol("prices", "set", "m", *OPTIONS) == (0, "Nothing changes: the price book says so already.\n", "")
    assert obol("prices", "set", "m", *OPTIONS, "--json").json == {"dry_run": False, "changes": []}


def test_set_for_later(obol, price):
    done = obol("prices", "set", "*", *OPTIONS, "--effective-from", SOON.isoformat(), "--json")

    change = {"model": "*", "effective_from": SOON_WORDS, "before": SHIPPED, "after": FIGURES}
    assert done.json == {"dry_run": False, "changes": [change]}
    assert price("m") == SHIPPED


def test_set_for_the_past_is_refused(obol, price):
    refused = obol("prices", "set", "m", *OPTIONS, "--effective-from", "2026-02-01")

    assert (refused.code, refused.out) == (1, "")
    assert "The price of m cannot begin at 2026-02-01" in refused.err
    assert obol("prices", "set", "m", *OPTIONS, "--effective-from", "2026-02-01", "--json").json["code"] == (
        "amount_invalid"
    )
    assert price("m") == SHIPPED


@pytest.mark.parametrize("model", ["", "a*b", "m" * 201, os.fsdecode(b"\xff")])
def test_what_names_no_model_is_wrong_usage(obol, price, model):
    for command in (("set", model, *OPTIONS), ("end", model)):
        refused = obol("prices", *command)
        assert (refused.code, refused.out) == (2, "")
        assert "'MODEL'" in refused.err
    assert price("m") == SHIPPED


@pytest.mark.parametrize("figure", ["-1", "1.5", "many", str(10**12 + 1)])
def test_set_names_the_figure_that_is_wrong(obol, figure):
    refused = obol("prices", "set", "m", *OPTIONS, "--cache-read", figure)

    assert refused.code == 2
    assert "'--cache-read'" in refused.err


@pytest.mark.parametrize("name", CLASSES)
def test_set_needs_every_figure(obol, name):
    option = f"--{name.replace('_', '-')}"
    at = OPTIONS.index(option)
    refused = obol("prices", "set", "m", *OPTIONS[:at], *OPTIONS[at + 2 :])

    assert refused.code == 2
    assert f"Missing option '{option}'" in refused.err


def test_end_refuses_what_nothing_else_names(obol, price):
    obol("prices", "set", "m", *OPTIONS)
    done = obol("prices", "end", "*")

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f": {SHIPPED_WORDS} -> not sold\n")
    assert (price("anything"), price("m")) == (None, FIGURES)
    assert obol("prices", "end", "m", "--effective-from", SOON.isoformat(), "--json").json["changes"] == [
        {"model": "m", "effective_from": SOON_WORDS, "before": FIGURES, "after": None}
    ]
    assert price("m") == FIGURES


def test_end_of_what_has_no_price_says_so(obol, price, sql):
    obol("prices", "set", "claude-x", *OPTIONS)
    refused = obol("prices", "end", "claud-x")

    assert (refused.code, refused.out) == (1, "")
    assert "claud-x has no price of its own" in refused.err
    assert "Did you mean claude-x?" in refused.err
    assert "Did you mean" not in obol("prices", "end", "nothing-like-it").err
    assert sql("SELECT count(*) FROM obol.prices") == [(2,)]
    assert obol("prices", "end", "claude-old*", "--unpriced").code == 0
    assert (price("claude-old-1"), price("another")) == (None, SHIPPED)


# import


def test_import_the_shipped_example_twice(obol, price):
    would = obol("prices", "import", EXAMPLE, "--dry-run", "--json").json
    assert price("claude-opus-5-5") == SHIPPED

    done = obol("prices", "import", EXAMPLE, "--json").json
    assert price("claude-opus-5-5")["output"] == 24_000_000
    assert price("claude-haiku-4-5-20251001")["cache_read"] == 120_000
    assert price("claude-haiku-5-5")["tiers"][0]["output"] == 3_000_000
    assert price("a-model") is None
    assert (would["dry_run"], done["dry_run"]) == (True, False)
    assert [(c["model"], c["before"], c["after"]) for c in would["changes"]] == [
        (c["model"], c["before"], c["after"]) for c in done["changes"]
    ]
    assert obol("prices", "import", EXAMPLE) == (0, "Nothing changes: the price book says so already.\n", "")


def test_a_dry_run_says_so(obol, file, price):
    path = file("[[price]]\nmodel = 'm'\n" + "\n".join(f"{name} = {figure}" for name, figure in FIGURES.items()))

    change, end = obol("prices", "import", path, "--dry-run").out.splitlines()
    assert change.endswith(f"no price of its own -> {WORDS}")
    assert end == "Nothing was written: this was a dry run."
    assert price("m") == SHIPPED
    assert "dry run" not in obol("prices", "import", path).out
    assert price("m") == FIGURES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]]\nmodel = 'm'\ninput = 1", "the price of m: output is missing"),
        ("", "it has no price"),
        ("model", "It is not TOML"),
        (b"# \xff", "It is not UTF-8"),
        ("price = " + "[" * 5000 + "]" * 5000, "It is nested too deeply."),
    ],
)
def test_a_file_that_is_wrong_is_wrong_usage(obol, file, sql, text, said):
    refused = obol("prices", "import", file(text))

    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    as_json = obol("prices", "import", file(text), "--json")
    assert (as_json.code, said in as_json.json["error"]) == (2, True)
    assert sql("SELECT count(*) FROM obol.prices") == [(1,)]


def test_a_file_that_is_not_there(obol, tmp_path):
    refused = obol("prices", "import", tmp_path / "none.toml")

    assert refused.code == 2
    assert "none.toml" in refused.err


def test_a_file_that_cannot_be_read_to_its_end(obol):
    refused = obol("prices", "import", "/proc/self/mem")

    assert (refused.code, refused.out) == (2, "")
    assert "It cannot be read: " in refused.err


def test_a_file_of_the_past_is_refused_whole(obol, file, price):
    refused = obol("prices", "import", file("effective_from = 2026-02-01\n" + EXAMPLE.read_text()))

    assert (refused.code, refused.out) == (1, "")
    assert "which is past" in refused.err
    assert price("claude-opus-5-5") == SHIPPED


# the environment

COMMANDS = [("show",), ("set", "m", *OPTIONS), ("end", "m"), ("import", EXAMPLE)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_database_that_is_down_ends_each_command_with_3(obol, command):
    refused = obol("prices", *command, DATABASE_URL=NOWHERE, OBOL_MIGRATE_URL=NOWHERE)

    assert (refused.code, refused.out) == (3, "")
    assert refused.err.startswith("obol: The database could not be reached. Ask again. (connection to server at ")
    assert "Connection refused" in refused.err
    assert "secret-password" not in refused.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_database_without_migrations_says_to_migrate(obol, empty_database, command):
    refused = obol("prices", *command, OBOL_MIGRATE_URL=empty_database.owner)

    assert refused.code == 3
    assert "obol migrate" in refused.err
