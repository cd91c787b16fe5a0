"""`obol audit head` and `obol audit check`: what was tampered with or lost since a head was kept."""

import hashlib
import json
from uuid import uuid4

import pytest
from ended import Ended

from service import audit
from service.repository import audit as room
from service.repository import ledger


@pytest.fixture
def kept(obol, tmp_path):
    """`kept()`: the path of a head of now."""

    def keep(name="head"):
        taken = obol("audit", "head")
        assert (taken.code, taken.err) == (0, "")
        path = tmp_path / name
        path.write_text(taken.out)
        return path

    return keep


@pytest.fixture
def spent(new_license, db):
    """A license with a grant of 1000 and deductions of 1, 2 and 3."""
    license = new_license(credits=1000)
    for amount in (1, 2, 3):
        ledger.deduct(db, license.key, uuid4(), amount=amount)
    return license


def test_a_head_has_a_line_for_each_license(obol, kept, spent, new_license):
    other = new_license(credits=0)

    header, acts, *licenses, end = map(json.loads, kept().read_text().splitlines())

    assert (header["obol_audit_head"], header.keys()) == (1, {"obol_audit_head", "taken_at", "revision"})
    assert acts["acts"] == 3
    assert {line["license_id"]: line["entries"] for line in licenses} == {str(spent.id): 4, str(other.id): 0}
    assert len({line["sha256"] for line in [acts, *licenses]}) == 3
    assert end["lines"] == 4
    assert obol("audit", "head", "--json").out.splitlines()[1:-1] == [json.dumps(line) for line in (acts, *licenses)]


def test_an_empty_database_has_a_head(obol, kept):
    assert len(kept().read_text().splitlines()) == 3
    assert obol("audit", "check", kept()).code == 0


def test_what_has_come_since_is_no_difference(obol, kept, spent, new_license, db):
    head = kept()
    new_license()
    ledger.deduct(db, spent.key, uuid4(), amount=4)
    obol("grant", spent.id, 5)

    checked = obol("audit", "check", head)
    taken_at = json.loads(head.read_text().splitlines()[0])["taken_at"]
    assert checked == Ended(0, f"Clean: 1 licenses, 4 entries, 2 acts are as they were at {taken_at}.\n", "")
    assert obol("audit", "check", head, "--json").json == {
        "clean": True,
        "taken_at": taken_at,
        "checked": {"licenses": 1, "entries": 4, "acts": 2},
        "findings": [],
    }


CHANGED = "NOT entries are as they were: those up to 4 are not"


@pytest.mark.tampers
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE obol.ledger_entries SET created_at = created_at - interval '1 us' WHERE entry_no = 2", CHANGED),
        ("UPDATE obol.ledger_entries SET reference = 'x' WHERE entry_no = 4", CHANGED),
        ("UPDATE obol.ledger_entries SET cause_id = gen_random_uuid() WHERE entry_no = 3", CHANGED),
        (
            "UPDATE obol.ledger_entries SET amount = amount - 1 WHERE entry_no = 3;"
            "UPDATE obol.ledger_entries SET balance_after = balance_after - 1 WHERE entry_no >= 3;"
            "UPDATE obol.licenses SET balance = balance - 1",
            CHANGED,
        ),
        (
            "UPDATE obol.ledger_entries SET entry_no = 9 WHERE entry_no = 2;"
            "UPDATE obol.ledger_entries SET entry_no = 2 WHERE entry_no = 3;"
            "UPDATE obol.ledger_entries SET entry_no = 3 WHERE entry_no = 9",
            CHANGED,
        ),
        (
            "DELETE FROM obol.ledger_entries WHERE entry_no = 4;"
            "UPDATE obol.licenses SET balance = balance + 3, entry_count = 3",
            "NOT every entry is there: 3 of 4 are; the license counts 3",
        ),
        ("INSERT INTO obol.audit_starts SELECT license_id, 4 FROM obol.licenses", CHANGED),
    ],
)
def test_an_entry_that_was_tampered_with_or_lost_is_found(obol, kept, spent, sql, statement, said):
    head = kept()
    sql(statement)

    checked = obol("audit", "check", head)

    assert checked == Ended(1, f"{spent.id}: {said}\n", "")
    as_json = obol("audit", "check", head, "--json").json
    assert as_json["clean"] is False
    assert [finding["license_id"] for finding in as_json["findings"]] == [str(spent.id)]


@pytest.mark.tampers
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE obol.admin_acts SET actor = '' WHERE act_no = {first}", "acts are as they were: those up to {last}"),
        ("UPDATE obol.admin_acts SET act_no = 0 WHERE act_no = {first}", "every act is there: 1 of 2 are"),
        ("DELETE FROM obol.admin_acts WHERE act_no = {last}", "every act is there: 1 of 2 are"),
    ],
)
def test_an_act_that_was_tampered_with_or_lost_is_found(obol, kept, spent, sql, statement, said):
    head = kept()
    # Not 1 and 2 for certain: what a transaction that failed had taken is taken.
    first, last = sql("SELECT min(act_no), max(act_no) FROM obol.admin_acts")[0]
    sql(statement.format(first=first, last=last))

    checked = obol("audit", "check", head)
    assert (checked.code, checked.out.startswith(f"audit trail: NOT {said.format(last=last)}")) == (1, True)


@pytest.mark.tampers
def test_a_lost_license_is_found(obol, kept, spent, sql):
    head = kept()
    sql("SET session_replication_role = replica; DELETE FROM obol.licenses")

    assert obol("audit", "check", head).out == f"{spent.id}: NOT every license is there: it had 4 entries\n"


@pytest.mark.tampers
def test_no_head_is_made_of_a_ledger_that_lacks_entries(obol, spent, sql):
    sql("DELETE FROM obol.ledger_entries WHERE entry_no = 4")

    refused = obol("audit", "head")
    assert refused.code == 1
    assert f"license {spent.id} has 3 of 4 entries" in refused.err
    assert "lines" not in refused.out


def rewritten(lines):
    """Lines with the last one that belongs to them."""
    text = "".join(f"{line}\n" for line in lines)
    return [*lines, json.dumps({"lines": len(lines), "sha256": hashlib.sha256(text.encode()).hexdigest()})]


def replaced(number, **values):
    """A head, one of whose lines says something else, to the end of which somebody has seen."""

    def change(lines):
        lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | values)
        return rewritten(lines[:-1])

    return change


BROKEN = {
    "nothing": (lambda lines: [], "line 1: the file ends here"),
    "cut off": (
        lambda lines: lines[:-1],
        "line 4: the file ends here, without the last line of a head: it was cut off",
    ),
    "cut off in a line": (lambda lines: [*lines[:2], lines[2][:30]], "line 3: it is no JSON object"),
    "no object": (lambda lines: ["[]", *lines[1:]], "line 1: it is no JSON object"),
    "no text": (lambda lines: ["\udcff"], "line 1: it is no JSON object"),
    "nested too deeply": (lambda lines: ["[" * 100_000], "line 1: it is no JSON object"),
    "another file": (lambda lines: ["{}", *lines[1:]], "line 1: a head begins with obol_audit_head"),
    "a later version": (replaced(1, obol_audit_head=2), "line 1: the head is of version 2, and this Obol knows 1"),
    "a time that is none": (replaced(1, taken_at=5), "line 1: a head begins with"),
    "a line gone": (lambda lines: [*lines[:2], *lines[3:]], "line 3: the lines before it are not those that were"),
    "a line changed": (
        lambda lines: [*lines[:2], lines[2].replace('"entries": 4', '"entries": 3'), lines[3]],
        "line 4: the lines before it are not those that were written",
    ),
    "two heads": (lambda lines: [*lines, *lines], "line 5: the line before it is the last one of a head"),
    "a license twice": (
        lambda lines: rewritten([*lines[:3], lines[2]]),
        "line 4: the license was there before",
    ),
    "a key more": (replaced(3, more=1), "line 3: it must have entries, license_id, sha256"),
    "acts that are no number": (replaced(2, acts=True), "line 2: acts must be a whole number from 0"),
    "more than there can be": (replaced(3, entries=2**63), "line 3: entries must be a whole number"),
    "fewer than none": (replaced(3, entries=-1), "line 3: entries must be a whole number"),
    "a digest that is short": (replaced(3, sha256="ab"), "line 3: sha256 must have 64 hexadecimal digits"),
    "a digest that is none": (replaced(3, sha256="x" * 64), "line 3: sha256 must have 64 hexadecimal digits"),
    "a digest that is no text": (replaced(3, sha256=[]), "line 3: sha256 must have 64 hexadecimal digits"),
    "an id that is none": (replaced(3, license_id="x"), "line 3: license_id must be the id of a license"),
    "an id that is no text": (replaced(3, license_id=5), "line 3: license_id must be the id of a license"),
    "an id that is null": (replaced(3, license_id=None), "line 3: license_id must be the id of a license"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_no_head_is_refused_with_the_line(obol, kept, spent, what):
    change, said = BROKEN[what]
    head = kept()
    head.write_bytes(
        "".join(f"{line}\n" for line in change(head.read_text().splitlines())).encode(errors="surrogateescape")
    )

    refused = obol("audit", "check", head)

    assert (refused.code, refused.out) == (2, "")
    assert f"{head}, {said}" in refused.err


def test_a_file_that_is_not_there_is_refused(obol, tmp_path):
    assert obol("audit", "check", tmp_path / "none").code == 2


def test_a_head_whose_lines_end_otherwise_is_the_same(obol, kept, spent):
    head = kept()
    head.write_bytes(head.read_bytes().replace(b"\n", b"\r\n"))

    assert obol("audit", "check", head).code == 0


def test_long_licenses_are_read_piece_by_piece(owner, spent, db, sql, monkeypatch):
    """Two thousand entries and more, in blocks that begin anew with each thousand; and acts with gaps."""
    for _ in range(3):
        sql("SELECT obol.deduct(%s, %s, gen_random_uuid(), 0 + 1, NULL, '', NULL)", (str(spent.id), spent.key.digest))
    sql(
        "INSERT INTO obol.admin_acts (act_no, acted_at, actor, act) SELECT n, now(), 'cli:x', 'x'"
        " FROM generate_series(5000, 9000, 2000) n"
    )
    whole = list(audit.take(owner))
    told = []
    monkeypatch.setattr(room, "BLOCKS", 1)
    monkeypatch.setattr(room, "PAGE", 1)

    pieces = list(audit.take(owner, told.append))

    assert pieces[1:-1] == whole[1:-1]
    assert sum(told) == 7 + 2 + 3
    assert len(told) == 5
    head = audit.read(line.encode() for line in whole)
    assert (list(audit.compare(owner, head)), head.acts.through) == ([], 9000)
