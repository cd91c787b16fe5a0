"""`obol archive` and `obol verify --archive`: what they say, what they refuse, what is left when they are killed."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from ageing import age
from archiving import Past, outline
from factories import ROOT

from service import archive, archivecheck
from service.archivefile import Folder
from service.repository import ledger


@pytest.fixture
def past(db, owner, new_license, sql):
    """A license with one of each thing behind it, 80 days ago."""
    past = Past(db, owner, new_license(credits=1000))
    age(sql, 80)
    return past


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "archive"
    path.mkdir()
    return path


@pytest.fixture
def month():
    """The latest month that may be asked for."""
    return next(
        name
        for name in (
            f"{year}-{number:02}" for year in range(datetime.now(UTC).year, 2000, -1) for number in range(12, 0, -1)
        )
        if _is_over(name)
    )


def _is_over(name):
    try:
        return archive.month_of(name, now=datetime.now(UTC))
    except ValueError:
        return None


def test_it_says_what_it_did(obol, past, folder, month):
    then = outline(past)

    done = obol("archive", "--before", month, "--to", folder)

    (file,) = folder.rglob("*.jsonl")
    entries = int(file.stem.partition("-")[2])
    assert done == (
        0, f"Archived {entries} entries of 1 licenses in 1 files, {file.stat().st_size:,} bytes.\n", ""
    )  # fmt: skip
    assert outline(past) == then
    assert obol("verify").out == "Clean: every balance is what its ledger says.\n"
    assert (
        obol("verify", "--archive", folder).out
        == "Clean: every balance is what its ledger says, in the archive and in the tables.\n"
    )
    assert obol("archive", "--before", month, "--to", folder).out == "Nothing to archive.\n"


def test_and_says_it_to_programs(obol, past, folder, month):
    done = obol("archive", "--before", month, "--to", folder, "--json").json
    (file,) = folder.rglob("*.jsonl")
    assert done == {
        "before": f"{month}-01T00:00:00Z",
        "licenses": 1,
        "entries": int(file.stem.partition("-")[2]),
        "files": 1,
        "bytes": file.stat().st_size,
        "kept": 0,
        "disagreeing": 0,
    }


def test_what_cannot_go_is_told(obol, past, folder, month, sql):
    past.generate(5, is_delivered=False)
    age(sql, 80)

    done = obol("archive", "--before", month, "--to", folder)
    assert done.code == 0
    assert "1 licenses keep older entries: a charge whose answer may not have arrived stays" in done.out
    assert obol("archive", "--before", month, "--to", folder, "--with-undelivered").out.startswith("Archived ")


@pytest.mark.tampers
def test_what_disagrees_is_left(obol, past, folder, month, sql):
    sql("UPDATE obol.ledger_entries SET amount = amount - 1 WHERE kind = 'deduction'")

    done = obol("archive", "--before", month, "--to", folder)

    assert done == (
        1, "Nothing to archive.\n1 licenses disagree with themselves and were left: `obol verify` says how.\n", ""
    )  # fmt: skip
    assert not list(folder.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("2026", "it must be a month such as 2027-01"),
        ("2026-13", "it must be a month such as 2027-01"),
        ("26-01", "it must be a month such as 2027-01"),
        ("2999-01", "at the latest: entries stay for 31 days, as idempotency keys do"),
    ],
)
def test_a_bad_month_is_refused_by_name(obol, folder, before, said):
    done = obol("archive", "--before", before, "--to", folder)
    assert (done.code, done.out) == (2, "")
    assert "'--before'" in done.err
    assert said in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("now", "latest"),
    [
        ("2027-03-31T23:59:59Z", "2027-02"),
        ("2027-04-01T00:00:00Z", "2027-03"),
        ("2027-03-03T23:00:00Z", "2027-01"),
        ("2027-01-31T12:00:00Z", "2026-12"),
    ],
)
def test_entries_stay_for_thirty_one_days(now, latest):
    now = datetime.fromisoformat(now)
    assert (now - archive.month_of(latest, now=now)).days >= 31
    year, month = map(int, latest.split("-"))
    next_month = f"{year + month // 12}-{month % 12 + 1:02}"
    with pytest.raises(ValueError, match=f"must be {latest} at the latest"):
        archive.month_of(next_month, now=now)


def test_a_bad_folder_is_refused_by_name(obol, past, folder, month, tmp_path):
    done = obol("archive", "--before", month, "--to", tmp_path / "nowhere")
    assert (done.code, done.out) == (2, "")
    assert "there is no such folder. Make it first" in " ".join(done.err.split())

    (tmp_path / "file").write_text("")
    assert obol("verify", "--archive", tmp_path / "file").code == 2

    # Where nothing can be written: root writes anywhere else.
    (folder / ".lock").mkdir()
    done = obol("archive", "--before", month, "--to", folder)
    assert (done.code, done.out) == (1, "")
    assert "nothing can be written here: Is a directory" in done.err


def test_since_is_of_the_tables_alone(obol, folder):
    done = obol("verify", "--since", "1h", "--archive", folder)
    assert done.code == 2
    assert "leave out --since" in done.err


@pytest.mark.tampers
def test_verify_names_what_is_wrong_with_a_file(obol, past, folder, month):
    obol("archive", "--before", month, "--to", folder)
    (file,) = folder.rglob("*.jsonl")
    file.unlink()

    found = obol("verify", "--archive", folder)
    assert found.code == 1
    assert found.out == f"{past.license.id}: NOT every archived file is there: {file}: No such file or directory\n"


def test_a_head_of_before_is_checked_with_the_archive(obol, past, folder, month, tmp_path):
    head = tmp_path / "head"
    head.write_text(obol("audit", "head").out)
    obol("archive", "--before", month, "--to", folder)

    without = obol("audit", "check", head)
    assert without.code == 1
    assert "are in the archive by now: --archive FOLDER reads them there" in without.out
    assert obol("audit", "check", head, "--archive", folder).code == 0
    head.write_text(obol("audit", "head").out)
    assert json.loads(head.read_text().splitlines()[2]).keys() == {"license_id", "entries", "archived", "sha256"}
    assert obol("audit", "check", head).code == 0


def test_a_statement_says_what_is_in_the_archive(obol, past, folder, month):
    assert obol("entries", past.license.id).err == ""
    obol("archive", "--before", month, "--to", folder)
    past.deduct(1)

    for form in ((), ("--csv",), ("--json",)):
        printed = obol("entries", past.license.id, *form)
        assert "older entries, until " in printed.err
        assert printed.err.endswith(", are in the archive.\n")
        assert len(printed.out.splitlines()) <= 4


# Killed

# A run of `obol archive` in which the n-th call of a function of the system is the last thing that it does.
KILLED = """
import os, signal, sys
from pathlib import Path
from service import archivefile, cli
from service.repository import archive
name, number, is_after = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after"
def lethal(call):
    def killed(*arguments, **values):
        global number
        number -= 1
        if number == 0 and not is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*arguments, **values)
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return killed
where = {"fsync": os, "replace": Path, "archive": archive, "prepare": archive, "mkdir": Path, "unlink": Path}[name]
setattr(where, name, lethal(getattr(where, name)))
archive.Wanted.__new__.__defaults__ = (5, False)
archive.MOST = 5
from service import archive as runs
runs.run.__kwdefaults__["most"] = 5
sys.argv = ["obol", *sys.argv[4:]]
cli.main()
"""


@pytest.fixture
def killed(urls, folder, month):
    """`killed(name, number, "before")`: run the archive, and kill it at that moment; whether it came to it."""

    def run(name, number, when):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, name, str(number), when, "archive", "--before", month, "--to", str(folder)],
            env={"DATABASE_URL": urls.service, "OBOL_MIGRATE_URL": urls.owner, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        return ended.returncode != 0

    return run


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "number"),
    [("mkdir", 1), ("mkdir", 2), ("prepare", 1), ("fsync", 1), ("fsync", 3), ("replace", 1), ("replace", 2),
     ("archive", 1), ("archive", 2)],
)  # fmt: skip
def test_a_killed_run_loses_nothing_and_is_gone_on_with(
    obol, past, folder, month, killed, owner, sql, name, number, when
):  # fmt: skip
    then = outline(past)
    booked = whole(sql, folder, past)

    assert killed(name, number, when)

    assert ledger.verify(owner) == []
    assert list(archivecheck.check(owner, Folder(str(folder)))) == []
    assert outline(past) == then
    # What changes meanwhile: the same entries may no longer be of one piece.
    past.deduct(1)
    assert whole(sql, folder, past)[: len(booked)] == booked
    ended = obol("archive", "--before", month, "--to", folder)
    assert ended.out.startswith(("Archived ", "Nothing to archive."))
    assert obol("verify", "--archive", folder).code == 0
    assert whole(sql, folder, past)[: len(booked)] == booked
    assert not list(folder.rglob("*.part"))
    assert sql("SELECT min(entry_no) > 10 FROM obol.ledger_entries") == [(True,)]


def whole(sql, folder, past):
    """All entries of the license, from files and tables, each once."""
    ((last,),) = sql("SELECT COALESCE(max(last_entry_no), 0) FROM obol.archived")
    found = [
        json.loads(line)[:4]
        for file in Folder(str(folder)).chain(past.license.id)
        if file.last_entry_no <= last
        for line in file.path.read_text().splitlines()
        if line.startswith("[")
    ]
    rows = sql("SELECT entry_no, kind, amount, balance_after FROM obol.ledger_entries ORDER BY 1")
    return found + [list(row) for row in rows]


def test_a_file_that_a_killed_run_left_makes_way(obol, past, folder, month, killed, owner, sql):
    """Between the file and the deletion somebody refunds one of its charges: now fewer entries may leave."""
    assert killed("archive", 2, "before")
    left = {file.name for file in folder.rglob("*.jsonl")}
    past.refund(past.last)

    done = obol("archive", "--before", month, "--to", folder)

    assert "1 licenses keep older entries" in done.out
    assert {file.name for file in folder.rglob("*.jsonl")} != left
    assert obol("verify", "--archive", folder).code == 0


def test_a_full_disk_leaves_everything_where_it_was(past, folder, owner, contents, monkeypatch):
    outline(past)
    then = contents()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.archivefile.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        archive.run(owner, Folder(str(folder)), before=datetime.now(UTC))

    assert contents() == then
    monkeypatch.undo()
    assert archive.run(owner, Folder(str(folder)), before=datetime.now(UTC)).files == 1
    assert list(archivecheck.check(owner, Folder(str(folder)))) == []


@pytest.fixture
def contents(sql):
    """`contents()`: the rows that a run would take."""
    return lambda: sql(
        "SELECT (SELECT count(*) FROM obol.ledger_entries), (SELECT count(*) FROM obol.holds),"
        " (SELECT count(*) FROM obol.idempotency_keys), (SELECT count(*) FROM obol.archived)"
    )
