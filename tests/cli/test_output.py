"""What the commands print, and where it cannot be printed: full disks, pipes that nobody reads, terminals."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from ended import OBOL, SOME_ID

from service import cli
from service.cli.common import harmless, table
from service.repository import ledger

HOSTILE = "\x1b]0;owned\x07\r\u202e\x9b2J"


@pytest.mark.parametrize("path", [(), ("license",), ("license", "rotate"), ("prices", "end"), ("serve",), ("holds",)])
def test_h_is_for_help_everywhere(bare, path):
    assert bare(*path, "-h") == bare(*path, "--help")
    assert bare(*path, "-h").out.startswith("Usage: ")


@pytest.mark.parametrize(
    ("typed", "there_is"),
    [
        (("license", "grant", SOME_ID, 5), "There is `obol grant`."),
        (("create",), "There is `obol license create`."),
        (("show",), "There is `obol license show`. There is `obol prices show`."),
        (("licence",), "Did you mean 'license'?"),
    ],
)
def test_a_command_that_is_elsewhere_is_pointed_to(bare, typed, there_is):
    refused = bare(*typed)

    assert (refused.code, there_is in refused.err) == (2, True)
    assert there_is in bare(*typed, "--json").json["error"]


@pytest.mark.parametrize("number", ["0", "many", "1.5", "1_000", "²", str(2**63), "9" * 5000])
def test_a_number_that_is_none_is_told_what_it_must_be(bare, number):
    refused = bare("grant", SOME_ID, number)

    assert refused.code == 2
    assert f"it must be a whole number from 1 to {2**63 - 1}, written in digits." in refused.err


def test_what_would_steer_a_terminal_is_shown_and_not_done(obol, new_license, sql, db):
    license = new_license(name=f"{HOSTILE}\nforged")
    ledger.deduct(db, license.key, uuid4(), amount=1)

    for shown in (obol("license", "list").out, obol("license", "show", license.id).out):
        assert len(shown.splitlines()) == 2
        assert shown.replace("\n", "").isprintable()
        assert r"\x1b]0;owned\x07\r\u202e\x9b2J\nforged" in shown
    assert obol("license", "show", license.id, "--json").json["name"] == f"{HOSTILE}\nforged"
    assert not {"\x1b", "\r"} & set(obol(HOSTILE).err)


def test_text_and_tables_are_harmless():
    assert harmless("Ada\tLovelace, Ωμέγα 漢字\n\x00") == "Ada\\tLovelace, Ωμέγα 漢字\n\\x00"
    assert table(("A", "NUMBER"), [("long text", 7), (None, None)]).splitlines() == [
        "A          NUMBER",
        "long text       7",
        "-               -",
    ]


FULL = Path("/dev/full")
no_full_disk = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@no_full_disk
def test_a_full_disk_is_said_in_one_line(urls):
    with FULL.open("w") as full:
        ended = subprocess.run(
            [OBOL, "license", "list"], env={"DATABASE_URL": urls.owner}, stdout=full, stderr=subprocess.PIPE, text=True
        )

    assert (ended.returncode, ended.stderr) == (1, "obol: the output: No space left on device\n")


@no_full_disk
def test_where_not_even_that_can_be_said_the_exit_code_says_it(urls):
    with FULL.open("w") as full:
        for command, code in ((("license", "list"), 1), (("license", "show"), 2), (("verify", "--json", "x"), 2)):
            ended = subprocess.run([OBOL, *command], env={"DATABASE_URL": urls.owner}, stdout=full, stderr=full)
            assert ended.returncode == code


def test_a_pipe_that_nobody_reads_ends_it_without_a_word(urls):
    reading, writing = os.pipe()
    os.close(reading)
    command = [OBOL, "license", "list"]
    ended = subprocess.run(command, env={"DATABASE_URL": urls.owner}, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (1, b"")


@no_full_disk
@pytest.mark.parametrize(("typed", "code"), [("--version", 1), ("nonsense", 2)])
def test_nothing_is_left_to_be_written_at_the_very_end(monkeypatch, typed, code):
    """The same in this process."""
    streams = FULL.open("w"), FULL.open("w")
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["obol", typed])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    monkeypatch.undo()

    assert ended.value.code == code
    for stream in streams:
        stream.close()
