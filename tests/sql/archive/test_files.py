"""`obol verify --archive`: a file that is missing, another one, or not as it was written is named, and so is what the
database says of files otherwise than they do."""

import hashlib
import json
import shutil
from datetime import UTC, datetime

import pytest

from service import archive, archivecheck
from service.archivefile import ArchiveError, Folder
from service.repository import ledger

pytestmark = pytest.mark.tampers


@pytest.fixture
def files(past, ages, archived, folder, clean):
    """Three files and more of a license, in the order of their entries; one more could go."""
    for _ in range(10):
        past.deduct(1)
    ages(40)
    past.deduct(1)
    ages(40)
    past.deduct(1)
    archived(days=60, most=4)
    clean()
    stored = folder.stored(past.license.id)
    assert len(stored) >= 3
    return stored


@pytest.fixture
def found(owner, folder):
    """`found()`: what is wrong with the archive, as pairs of a rule and its detail."""
    return lambda: [(finding.rule, finding.detail) for finding in archivecheck.check(owner, folder)]


@pytest.fixture
def rewrite(sql, past):
    """`rewrite(file, change)`: a file that somebody changed, and all that the database says of its bytes."""

    def write(file, change):
        file.path.write_bytes(change(file.path.read_bytes()))
        digest, chained = hashlib.sha256(file.path.read_bytes()).digest(), b""
        sql("UPDATE obol.archived_files SET file_digest = %s WHERE last_entry_no = %s", (digest, file.last_entry_no))
        for (one,) in sql("SELECT file_digest FROM obol.archived_files ORDER BY last_entry_no"):
            chained = hashlib.sha256(chained + bytes(one)).digest()
        sql("UPDATE obol.archived SET digest = %s", (chained,))

    return write


def test_a_missing_file_is_named(files, found):
    files[1].path.unlink()
    assert found() == [(archivecheck.THERE, f"{files[1].path}: No such file or directory")]


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_changed_file_is_named(files, found, place):
    path = files[place].path
    data = path.read_bytes()
    path.write_bytes(data[:-2] + b"9\n")

    assert [rule for rule, _ in found()] == [archivecheck.AS_WRITTEN]
    assert found()[0][1].startswith(f"{path}: its SHA-256 is not ")


def test_a_file_that_was_cut_off_is_named(files, found):
    data = files[0].path.read_bytes()
    files[0].path.write_bytes(data[: len(data) // 2])
    assert [rule for rule, _ in found()] == [archivecheck.AS_WRITTEN]


def test_swapped_files_are_named(files, found):
    first, second = files[0].path, files[1].path
    other = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(other)

    assert [detail.partition(":")[0] for _, detail in found()] == [str(first), str(second)]


def test_all_of_them_may_be_elsewhere(files, found, folder):
    shutil.rmtree(folder.path / str(files[0].path.parent.parent.name))
    assert [rule for rule, _ in found()] == [archivecheck.THERE] * len(files)


def test_a_file_of_a_run_that_did_not_end_is_passed_over(files, found, folder):
    last = files[-1]
    last.path.with_name(f"{last.last_entry_no + 1}-{last.last_entry_no + 2}.jsonl").write_bytes(b"anything")
    assert found() == []


def _changed(*keys, to):
    """A change of one value of the first document that has it."""

    def change(data):
        lines = [json.loads(line) for line in data.splitlines()]
        for line in lines:
            if isinstance(line, list) == isinstance(keys[0], int) and (
                (isinstance(keys[0], int) and line[1] == keys[1]) or (not isinstance(keys[0], int) and keys[0] in line)
            ):
                line[keys[0]] = to(line[keys[0]]) if callable(to) else to
                break
        else:
            raise AssertionError("nothing to change")
        return "".join(f"{json.dumps(line)}\n" for line in lines).encode()

    return change


CHANGES = {
    "a balance": (_changed(3, "charge", to=lambda n: n + 1), "the balance is"),
    "a charge": (_changed(10, "charge", to={"output": 1_000_000}), "the charge is not its price times its usage"),
    "a charge's model": (_changed(8, "charge", to="another"), "its hold says something else"),
    "a number": (_changed(0, "charge", to=1), "it is not what `obol archive` writes"),
    "a hold": (_changed("hold_id", to="x"), "it is not what `obol archive` writes"),
    "a header": (_changed("license_id", to="x"), "it is not what `obol archive` writes"),
    "a count": (_changed("holds", to=7), "it is not what `obol archive` writes"),
    "no JSON": (lambda data: data.replace(b"[", b"{", 1), "it is not what `obol archive` writes"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_disagrees_with_itself_is_named(files, found, rewrite, what):
    change, detail = CHANGES[what]
    file = next(
        file for file in files if b'"charge"' in file.path.read_bytes() and b'"hold_id"' in file.path.read_bytes()
    )

    rewrite(file, change)

    assert [(rule, told.partition(": ")[0]) for rule, told in found()] == [(archivecheck.AGREES, str(file.path))]
    assert detail in found()[0][1]


def test_more_given_back_than_taken_is_named(files, found, rewrite):
    file = next(file for file in files if b'"refund"' in file.path.read_bytes())

    def change(data):
        lines = [json.loads(line) for line in data.splitlines()]
        entries = [line for line in lines if isinstance(line, list)]
        place = next(n for n, entry in enumerate(entries) if entry[1] == "refund")
        entries[place][2] += 1000
        for entry in entries[place:]:
            entry[3] += 1000
        return "".join(f"{json.dumps(line)}\n" for line in lines).encode()

    rewrite(file, change)

    assert any("more was given back than was taken" in detail for _, detail in found())


def test_what_the_database_keeps_otherwise_is_named(files, found, sql, owner):
    sql("UPDATE obol.archived_usage SET output_tokens = output_tokens + 1 WHERE model = 'm'")
    sql("UPDATE obol.usage_rollups SET output_tokens = output_tokens + 1 WHERE model = 'm'")
    sql("UPDATE obol.archived_days SET granted = granted + 1, adjusted = adjusted - 1")
    sql("UPDATE obol.grants SET archived_drawn = archived_drawn + 1 WHERE archived_drawn > 0")

    told = [detail for rule, detail in found() if rule == archivecheck.SUMS]
    beginnings = ("the sums of the days 2", "the usage of ('2", "the sums of the grants ")
    assert len(told) == len(beginnings)
    assert all(detail.startswith(beginning) for detail, beginning in zip(told, beginnings, strict=True))


def test_files_that_do_not_follow_each_other(files, found, sql):
    sql("UPDATE obol.archived_files SET first_entry_no = first_entry_no - 1 WHERE first_entry_no = %s",
        (files[1].first_entry_no,))  # fmt: skip
    assert {rule for rule, _ in found()} == {archivecheck.GOES_ON, archivecheck.THERE}


def test_tables_that_begin_elsewhere(files, found, sql):
    sql("UPDATE obol.archived SET balance = balance + 1")
    assert [rule for rule, _ in found()] == [archivecheck.GOES_ON]
    sql("UPDATE obol.archived SET last_entry_no = last_entry_no - 1")
    assert [rule for rule, _ in found()] == [archivecheck.GOES_ON]


# The folder


def test_the_next_run_has_to_go_where_the_last_one_went(files, archived, owner, tmp_path):
    other = tmp_path / "other"
    other.mkdir()

    with pytest.raises(ArchiveError, match="Archive to the folder that has the entries before"):
        archive.run(owner, Folder(str(other)), before=datetime.now(UTC))
    assert archived(days=35).entries > 0


def test_a_file_that_has_other_entries_than_the_tables_is_kept(files, folder, past, archived):
    after = files[-1].last_entry_no
    stray = folder.path_of(past.license.id, after + 1, after + 2)
    stray.write_bytes(b"[1000]\n")

    with pytest.raises(ArchiveError, match="its entries are in the tables too, and are others there"):
        archived(days=35)
    assert stray.exists()


def test_two_runs_do_not_write_at_once(past, ages, archived, folder):
    ages()
    with folder.alone(), pytest.raises(ArchiveError, match="another `obol archive` writes here"):
        archived()


def test_a_license_that_disagrees_is_left(past, ages, archived, sql, owner, new_license):
    other = new_license()
    ages()
    sql("UPDATE obol.ledger_entries SET amount = amount - 1 WHERE kind = 'deduction' AND license_id = %s",
        (str(past.license.id),))  # fmt: skip

    outcome = archived()

    assert (outcome.licenses, outcome.disagreeing) == (1, 1)
    assert {finding.license_id for finding in ledger.verify(owner)} == {past.license.id}
    assert sql("SELECT license_id::uuid FROM obol.archived") == [(str(other.id),)]
