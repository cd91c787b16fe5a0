"""What the benchmarks say of themselves, and that they see a wrong charge."""

import sys

import pytest
from factories import ROOT

sys.path.insert(0, str(ROOT))

from bench import measures, rows
from bench.measures import asked_with, wrong_charges
from bench.world import Load


def test_one_charge_too_many_and_one_too_few_do_not_cancel():
    before = {"a": 100, "b": 100, "c": 100}
    due = {"a": 20, "b": 20}

    assert wrong_charges(before, {"a": 80, "b": 80, "c": 100}, due) == []
    wrong = wrong_charges(before, {"a": 70, "b": 90, "c": 100}, due)
    assert wrong == ["a: 30 credits for 20", "b: 10 credits for 20"]
    assert wrong_charges(before, {"a": 80, "b": 80, "c": 99}, due) == ["c: 1 credits for 0"]


def test_streams_are_shared_out_among_keys_in_their_order():
    assert asked_with(5, 3) == [(0, 2), (1, 2), (2, 1)]
    assert asked_with(2, 3) == [(0, 1), (1, 1)]


def test_a_table_says_by_what_command_it_was_made(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", "--rounds", "2", "--write"])

    assert rows.command("bench.peers") == "python -m bench.peers --rounds 2"
    monkeypatch.setattr(sys, "argv", ["bench"])
    assert rows.command("bench") == "python -m bench"


@pytest.mark.parametrize("said", ["wrk debian/4.1.0-3 [epoll] Copyright\n\nUsage:\n", "wrk debian/4.1.0-3"])
def test_a_table_says_which_wrk_it_was(monkeypatch, said):
    class Ended:
        stdout = said

    monkeypatch.setattr(rows.subprocess, "run", lambda *_, **__: Ended)
    assert rows.wrk() == "wrk debian/4.1.0-3"
    assert "PostgreSQL 18.6, wrk debian/4.1.0-3; flask" in rows.machine("18.6", rows.wrk())


def test_the_row_of_deductions_says_of_how_many_licenses_it_is():
    class World:
        keys, folder = ["k"] * 50, ROOT

        def load(self, *_):
            return Load(1, 1, 1, 1)

        def pgbench(self, *_):
            return 1.0

    first = next(measures.throughput(World(), 1, 1))
    assert first.what == "deductions, 16 clients, 50 licenses (target: of 10000)"
