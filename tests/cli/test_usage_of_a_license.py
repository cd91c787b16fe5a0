"""`obol entries`, `obol usage` and `obol receipt`."""

import csv
import io
import json
import sys
from uuid import uuid4

import pytest

from service import operator
from service.cli import usage as commands
from service.repository import holds, ledger, processes, usage
from service.repository.holds import HoldAmounts

PRICE = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 1_000_000)


@pytest.fixture
def license(db, new_license):
    """A grant of 100 and a deduction of 7."""
    license = new_license(credits=100)
    ledger.deduct(db, license.key, uuid4(), amount=7, reference="=job")
    return license


@pytest.fixture
def charge(db, license):
    """`charge(held, used)`: a charge for an answer; its hold."""

    def take(held, used):
        process_id, hold_id = uuid4(), uuid4()
        processes.heartbeat(db, process_id, 60)
        holds.open_for_process(
            db,
            license.key,
            hold_id,
            process_id=process_id,
            amounts=HoldAmounts(held, held),
            model="m",
            price=PRICE,
        )
        holds.settle(db, license.key, hold_id, amount=used, process_id=process_id, usage={"output": used})
        return hold_id

    return take


def test_the_statement_comes_newest_first_in_each_form(obol, license, charge):
    charge(10, 5)
    shown = obol("entries", license.id).out.splitlines()
    assert [line.split()[:1] for line in shown] == [["NO"], ["3"], ["2"], ["1"]]
    rows = list(csv.DictReader(io.StringIO(obol("entries", license.id, "--csv").out)))
    assert [(row["entry_no"], row["kind"], row["reference"]) for row in rows] == [
        ("3", "charge", ""), ("2", "deduction", "'=job"), ("1", "grant", "opening grant"),
    ]  # fmt: skip
    lines = obol("entries", license.id, "--json", "--kind", "deduction").out.splitlines()
    assert [json.loads(line)["amount"] for line in lines] == [-7]
    assert len(obol("entries", license.id, "--model", "m", "--csv").out.splitlines()) == 2
    lines = obol("entries", license.id, "--json", "--key", license.key_id).out.splitlines()
    assert [json.loads(line)["entry_no"] for line in lines] == [3, 2]
    assert obol("entries", license.id, "--from", "2999-01-01", "--json").out == ""
    refused = obol("entries", uuid4())
    assert refused.code == 1


def test_a_long_statement_has_one_line_of_headings(obol, license, monkeypatch):
    monkeypatch.setattr(usage, "BATCH", 1)
    shown = obol("entries", license.id).out.splitlines()
    assert [line.split()[0] for line in shown] == ["NO", "2", "1"]


@pytest.mark.parametrize("has_terminal", [True, False])
def test_progress_is_for_terminals(obol, license, monkeypatch, has_terminal):
    monkeypatch.setattr(commands, "LONG", 1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: has_terminal)

    ended = obol("entries", license.id, "--csv")
    assert len(ended.out.splitlines()) == 3
    assert ("Entries" in ended.err) == has_terminal


def test_usage_is_told_in_each_form(obol, license, charge):
    charge(10, 5)
    found = obol("usage", license.id, "--json").json
    assert [(row["model"], row["credits"]) for row in found["rows"]] == [(None, 7), ("m", 5)]
    assert {row["key_id"] for row in found["rows"]} == {str(license.key_id)}
    assert found["total"]["credits"] == 12
    assert obol("usage", license.id).out.splitlines()[-1].split()[:5] == ["total", "-", "-", "2", "12"]
    rows = list(csv.DictReader(io.StringIO(obol("usage", license.id, "--csv", "--by", "model").out)))
    assert [(row["day"], row["model"], row["output_tokens"]) for row in rows] == [("", "", "0"), ("", "m", "5")]
    assert obol("usage", license.id, "--by", "hour").code == 2


def test_a_receipt_adds_up(obol, owner, license, charge):
    hold_id = charge(10, 5)
    operator.refund(owner, license.id, hold_id, amount=2, reason="sorry")

    shown = obol("receipt", license.id, hold_id).out
    for line in (
        "Charged 5 credits; the balance was 88 after it.",
        "Model: m",
        "5000000 millionths of a credit, rounded up once: 5.",
        f"5 from grant {license.id}",
        "2 refunded with entry 4",
    ):
        assert line in shown
    assert obol("receipt", license.id, hold_id, "--json").json["charged"] == 5
    assert obol("receipt", license.id, uuid4()).code == 1


def test_a_receipt_says_what_was_not_paid_and_what_nobody_knows(obol, sql, license, charge):
    hold_id = charge(93, 100)
    assert "7 more could not be paid." in obol("receipt", license.id, hold_id).out
    sql("SELECT obol.bring_up_to_date(%s, true)", (str(license.id),))
    sql("UPDATE obol.allotments SET first_entry_no = 0")
    ((deduction,),) = sql("SELECT cause_id FROM obol.ledger_entries WHERE kind = 'deduction'")
    shown = obol("receipt", license.id, deduction).out
    assert "Taken before grants had lifetimes" in shown
    assert "Reference: =job" in shown
