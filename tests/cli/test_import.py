"""`obol license import`: what becomes of each line of a file, once, and how it ends."""

import hashlib
import io
import json
import os
import signal
import sys

import pytest
from factories import wait_until

from service import importfile, imports
from service.cli import imports as command
from service.importfile import MAX_LINE
from service.problems import Problem
from service.repository import licenses, limits

HEADER = "key,credits,status,expires_at,external_id,name\n"
GOOD = "LIC-0001-A,100,active,,c-1,Ada\nLIC-0002-B,0,suspended,2026-01-31 00:00:00+00,c-2,\n"
SHA256 = hashlib.sha256(b"LIC-0001-A").hexdigest()


@pytest.fixture
def file(tmp_path):
    """`file(text, name="licenses.csv")`: the path of a file with it."""

    def write(text, name="licenses.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def total(sql):
    """`total()`: how many licenses there are, and their credits."""
    return lambda: sql("SELECT count(*), COALESCE(sum(balance), 0) FROM obol.licenses")[0]


def counts(ended):
    return [ended.json[name] for name in ("imported", "unchanged", "refused")]


def test_a_file_is_imported_once(obol, file, owner, total):
    path = file(HEADER + GOOD)

    dry = obol("license", "import", path, "--dry-run")
    assert (dry.code, dry.out, dry.err) == (
        0, "imported 2, unchanged 0, refused 0\nNothing was written: this was a dry run.\n", ""
    )  # fmt: skip
    assert total() == (0, 0)
    first = obol("license", "import", path)
    assert (first.code, first.out, first.err) == (0, "imported 2, unchanged 0, refused 0\n", "")
    assert obol("license", "import", path).out == "imported 0, unchanged 2, refused 0\n"
    assert total() == (2, 100)
    other, ada = sorted(licenses.overview(owner), key=lambda row: row.name)
    assert (ada.name, ada.balance, ada.status, ada.external_id) == ("Ada", 100, "active", "c-1")
    assert (other.status, other.expires_at.isoformat()) == ("suspended", "2026-01-31T00:00:00+00:00")
    assert [key.name for key in limits.list_keys(owner, ada.license_id)] == ["imported"]


def test_what_is_refused_is_named_and_the_rest_is_imported(obol, file, total):
    bad = (
        "short,1,,,,\n"  # 4
        "LIC-0004-D,ten,,,,\n"
        "LIC-0005-E,1,inactive,,,\n"
        "LIC-0006-F,1,,tomorrow,,\n"
        "LIC-0007-G,1\n"
        "LIC-0001-A,100,active,,c-1,Ada\n"
        "LIC-0009-I,1,,,c-1,\n"
        '"LIC-0010-J,1,,,,\n'
        ",1,,,,\n"
        "\n"
        "LIC-0013-M,1,,,,\x07\n"
    )  # fmt: skip
    path = file(HEADER + GOOD + bad)

    ended = [obol("license", "import", path, *options) for options in (["--dry-run", "--json"], ["--json"], ["--json"])]
    assert [(end.code, *counts(end)) for end in ended] == [(1, 2, 0, 10), (1, 2, 0, 10), (1, 0, 2, 10)]
    # A dry run says what the real one says.
    assert ended[0].json["refusals"] == ended[1].json["refusals"] == ended[2].json["refusals"]
    assert ended[1].err.splitlines() == [
        "line 4: key: must have 8 to 256 visible ASCII characters, without spaces: clients send it in a header",
        "line 5: credits: must be a whole number from 0 to 9223372036854775807, written in digits",
        "line 6: status: must be active or suspended; what is not active is suspended",
        "line 7: expires_at: must be a time such as 2027-01-31T00:00:00Z; where there is no end leave it out",
        "line 8: it has 2 fields, and the first line names 6",
        "line 9: key: is that of line 2 again; leave one of them out",
        "line 10: external_id: is that of line 2 again; leave one of them out",
        "line 11: it cannot be read as CSV: a quote does not end on its line, or stands within a field",
        "line 12: key: is missing; give the key, or its SHA-256 as key_sha256",
        "line 14: name: must have 200 printable characters at most",
    ]
    assert ended[1].json["refusals"][0] == {
        "line": 4,
        "field": "key",
        "code": "validation_failed",
        "message": "must have 8 to 256 visible ASCII characters, without spaces: clients send it in a header",
    }
    assert total() == (2, 100)


def test_another_value_for_the_same_key_is_a_conflict(obol, file, total):
    obol("license", "import", file(HEADER + GOOD))

    ended = obol("license", "import", file(HEADER + GOOD.replace("A,100", "A,101")), "--json")
    (refusal,) = ended.json["refusals"]
    assert (ended.code, *counts(ended)) == (1, 0, 1, 1)
    assert (refusal["line"], refusal["field"], refusal["code"]) == (2, "credits", "already_exists")
    assert "with another credits. Change that license itself" in refusal["message"]
    assert total() == (2, 100)


def test_ndjson_and_digests_and_stdin(obol, file, owner, monkeypatch):
    lines = [
        {"key_sha256": SHA256.upper(), "credits": 7, "name": "Ada", "expires_at": None},
        {"key": "LIC-0002-B", "credits": 8, "external_id": "c-2"},
    ]
    text = "\n".join(map(json.dumps, lines))
    for format in ("ndjson", "jsonl", "txt"):
        assert obol("license", "import", file(text, f"x.{format}"), "--dry-run").code == 0

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert obol("license", "import", "-", "--format", "ndjson", "--json").json["imported"] == 2
    assert sorted(license.balance for license in licenses.overview(owner)) == [7, 8]
    # The digest is of the key itself.
    assert obol("license", "import", file("key,credits,name\nLIC-0001-A,7,Ada\n"), "--json").json["unchanged"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "It is empty."),
        (b"\n\n", "It is empty."),
        (b"LIC-SECRET-1,100\n", "Its first line names no column."),
        (b"license_key,credits\n", "It has a column 'license_key', which is not known: did you mean key?"),
        (b"key,credits,zzz\n", "It has a column 'zzz', which is not known: There are key,"),
        (b"key,key,credits\n", "It has two columns key."),
        (b"key,name\n", "It needs the columns credits, and key or key_sha256."),
        (b"credits\n", "It needs the columns credits, and key or key_sha256."),
        (b'"key,credits\n', "Its first line cannot be read: it cannot be read as CSV"),
        ("key,credits\n".encode("utf-16"), "Its first line cannot be read: it has a NUL byte"),
    ],
)
def test_a_file_that_is_none(obol, file, total, text, said):
    ended = obol("license", "import", file(text))
    assert ended.code == 2
    assert said in ended.err
    assert "SECRET" not in ended.err
    assert total() == (0, 0)


def refusals(text, format=None):
    lines = importfile.read(io.BytesIO(text), format)
    return [(line.number, line.field) for line in lines if isinstance(line, importfile.Refusal)]


def test_a_file_as_other_programs_write_it():
    text = b'\xef\xbb\xbfcredits , "key"\r\n1,"a,b""c-123"\r\n\r\n2,LIC-0002-B'
    assert list(importfile.read(io.BytesIO(text))) == [
        (2, hashlib.sha256(b'a,b"c-123').digest(), 1, "active", None, None, ""),
        (4, hashlib.sha256(b"LIC-0002-B").digest(), 2, "active", None, None, ""),
    ]


def test_lines_that_are_none():
    long = b"LIC-0002-B,1" + b"x" * (3 * MAX_LINE) + b"\n"
    text = b"key,credits\n" + long + b"LIC-\xff003-C,1\nLIC-0\x0004-D,1\nLIC-0005-E,1\n" + long[:-1]
    assert refusals(text) == [(2, None), (3, None), (4, None), (6, None)]


def test_lines_of_ndjson_that_are_none():
    lines = [
        {"key": "LIC-0001-A", "key_sha256": SHA256, "credits": 1},
        {"key_sha256": "5f", "credits": 1},
        {"key_sha256": 5, "credits": 1},
        {"key": 12345678, "credits": 1},
        {"key": "LIC-0001-A", "credits": 1.0},
        {"key": "LIC-0001-A", "credits": True},
        {"key": "LIC-0001-A", "credits": 2**63},
        {"key": "LIC-0001-A", "credits": 1, "license_key": "x"},
        {"key": "LIC-0001-A", "credits": 1, "expires_at": 5},
        {"key": "LIC-0001-A", "credits": 1, "expires_at": "0001-01-01T00:00:00+14:00"},
        {"key": "LIC-0001-A", "credits": 1, "name": 5},
        {"key": "LIC-0001-A", "credits": 1, "external_id": "x" * 201},
        {"key": f"obol_{'0' * 32}_{'a' * 38}", "credits": 1},
        {"key": "obol_admin_x", "credits": 1},
        [],
    ]
    text = "\n".join(map(json.dumps, lines)).encode() + b'\nnull\n{"key": NaN}\n{"key":"a","key":"b"}\n' + b"[" * 9999
    fields = [
        "key_sha256", "key_sha256", "key_sha256", "key", "credits", "credits", "credits", "license_key",
        "expires_at", "expires_at", "name", "external_id", "key", "key", None, None, None, None, None,
    ]  # fmt: skip
    assert refusals(text, "ndjson") == list(enumerate(fields, 1))


def test_many_refusals_are_all_on_stderr(obol, file, monkeypatch):
    monkeypatch.setattr(command, "_MOST_REFUSALS", 3)
    ended = obol("license", "import", file("key,credits\n" + "x,1\n" * 5), "--json")
    assert (len(ended.json["refusals"]), ended.json["refused"], len(ended.err.splitlines())) == (3, 5, 5)


def test_an_import_that_breaks_off_says_how_far_it_was(obol, file, monkeypatch, total):
    def lost(*arguments, **values):
        raise Problem("database_error", "The connection to the database was lost. Ask again.")

    path = file("key,credits\n" + "".join(f"LIC-{number:04}-X,1\n" for number in range(100)))
    monkeypatch.setattr(imports.imports, "import_license", lost)
    ended = obol("license", "import", path)
    assert (ended.code, total()) == (3, (0, 0))
    assert "it ended before the file did: imported 0, unchanged 0, refused 0" in ended.err
    monkeypatch.undo()
    assert obol("license", "import", path).out == "imported 100, unchanged 0, refused 0\n"


def test_a_killed_import_is_completed_by_the_next(obol, file, started, urls, total, verified):
    path = file("key,credits\n" + "".join(f"LIC-{number:06}-X,7\n" for number in range(3000)))
    process = started("license", "import", path, DATABASE_URL=urls.service, OBOL_MIGRATE_URL=urls.owner)
    wait_until(lambda: total()[0] > 20, 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)

    before = total()[0]
    ended = obol("license", "import", path, "--json")
    assert 20 < before < 3000
    assert sum(counts(ended)) == 3000
    assert counts(ended)[1] >= before
    assert total() == (3000, 21_000)
    verified()


def test_on_a_terminal_a_bar_tells_how_far_it_is(obol, file, monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(told, "isatty", lambda: True, raising=False)
    path = file(HEADER + GOOD + "short,1,,,,\n")
    monkeypatch.setattr(sys, "stderr", told)
    ended = obol("license", "import", path)
    assert ended.out == "imported 2, unchanged 0, refused 1\n"
    assert "100%" in told.getvalue()
    assert "\r\033[Kline 4: key: must have" in told.getvalue()


def test_without_a_length_there_is_no_bar(obol, tmp_path, monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(told, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", told)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"key,credits\nLIC-0001-A,1\n")
    with open(pipe, "rb") as reader, io.TextIOWrapper(reader) as stdin:  # noqa: PTH123
        os.close(writer)
        monkeypatch.setattr(sys, "stdin", stdin)
        assert obol("license", "import", "-").out == "imported 1, unchanged 0, refused 0\n"
    assert told.getvalue() == ""
