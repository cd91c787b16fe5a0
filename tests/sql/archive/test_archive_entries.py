"""obol.prepare_archive, obol.archive_entries and what they call: which entries may leave, and what is left of them."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from archiving import outline

from service import audit, operator, statements
from service.problems import Problem
from service.repository import admin, archive, ledger, usage
from service.repository.archive import Numbers, Wanted
from service.repository.usage import Reader


def before(days=40):
    return datetime.now(UTC) - timedelta(days=days)


def entries(sql, license):
    return [n for (n,) in sql(f"SELECT entry_no FROM obol.ledger_entries WHERE license_id = '{license.id}' ORDER BY 1")]


def test_what_is_older_leaves_and_what_is_newer_stays(past, ages, archived, clean, sql):
    ages()
    last = past.deduct(9)
    count = len(entries(sql, past.license))
    then = outline(past)

    outcome = archived()

    # The credits of a promotion have lapsed by now, which was booked when somebody looked.
    assert (outcome.licenses, outcome.files, outcome.kept, outcome.disagreeing) == (1, 1, 0, 0)
    assert outcome.entries + len(entries(sql, past.license)) == count
    assert entries(sql, past.license)[0] == outcome.entries + 1
    assert outline(past) == then
    clean()
    assert statements.receipt(past.owner, Reader.operator(past.license.id), last)["charged"] == 9
    assert archived().entries == 0


def test_nothing_leaves_for_thirty_one_days(past, ages, archived, sql):
    ages(30)
    assert archived(days=0) == (0, 0, 0, 0, 1, 0)
    assert archive.prepare(past.owner, past.license.id, Wanted(before(0))) is None
    ages(2)
    assert archived(days=0).entries > 10


def test_only_what_is_before_the_time_leaves(new_license, deduct, ages, archived, sql, clean):
    license = new_license()
    ages(20)
    for _ in range(3):
        deduct(license)
    ages(20)
    deduct(license)
    ages(40)

    assert archived(days=50).entries == 4
    assert entries(sql, license) == [5]
    assert archived(days=35).entries == 1
    assert entries(sql, license) == []
    clean()
    deduct(license)
    assert entries(sql, license) == [6]
    clean()


def test_what_changes_each_time_is_left_to_another_run(new_license, deduct, ages, archived, owner, clean, monkeypatch):
    license = new_license()
    charges = [deduct(license).deduction_id for _ in range(3)]
    ages()
    take_out = archive.archive

    def refund_first(*asked, **more):
        operator.refund(owner, license.id, charges.pop(), amount=None, reason="late")
        return take_out(*asked, **more)

    with monkeypatch.context() as patched:
        patched.setattr(archive, "archive", refund_first)
        assert archived() == (0, 0, 0, 0, 1, 0)
    assert charges == []
    clean()
    # What is refunded goes with its refund, and that is new.
    assert archived().entries == 1
    clean()


def test_licenses_are_looked_for_page_by_page(new_license, deduct, ages, archived, clean, monkeypatch):
    monkeypatch.setattr(archive, "PAGE", 2)
    for _ in range(5):
        deduct(new_license())
    ages()

    assert archived().licenses == 5
    clean()


def test_a_file_has_as_many_entries_as_it_may(new_license, deduct, ages, archived, folder, clean):
    license = new_license()
    for _ in range(6):
        deduct(license)
    ages()

    assert archived(most=3).files == 3
    assert [(file.first_entry_no, file.last_entry_no) for file in folder.stored(license.id)] == [(1, 3), (4, 6), (7, 7)]
    clean()


def test_what_a_charge_drew_on_is_told_as_before(new_license, grant, deduct, ages, archived, db, clean):
    """Half of what was drawn between two changes of the grants is archived."""
    license = new_license(credits=0)
    first = grant(license, 10, priority=10).grant_id
    second = grant(license, 100).grant_id
    deduct(license, 4)
    ages()
    kept = deduct(license, 9).deduction_id
    reader = Reader.with_key(license.key)
    then = statements.receipt(db, reader, kept)
    assert then["grants"] == [{"grant_id": str(first), "amount": 6}, {"grant_id": str(second), "amount": 3}]

    assert archived().entries == 3
    assert statements.receipt(db, reader, kept) == then
    clean()


def test_a_refund_goes_with_what_it_gave_back(new_license, deduct, refund, ages, archived, sql, clean):
    license = new_license()
    deduct(license)
    cause = deduct(license).deduction_id
    deduct(license)
    ages()
    refund(license, cause)

    ages(40)
    outcome = archived(days=90)

    assert (outcome.entries, outcome.kept) == (2, 1)
    assert entries(sql, license) == [3, 4, 5]
    clean()
    assert archived(days=35, most=1).files == 1
    assert entries(sql, license) == []
    clean()


def test_pieces_that_overlap_are_one(new_license, deduct, refund, ages, archived, folder, clean):
    license = new_license()
    first = deduct(license).deduction_id
    second = deduct(license).deduction_id
    refund(license, first)
    deduct(license)
    refund(license, second)
    deduct(license)
    ages()

    assert archived(most=1).files == 3
    assert [file.last_entry_no for file in folder.stored(license.id)] == [1, 6, 7]
    clean()


def test_a_charge_that_may_not_have_arrived_stays(past, ages, archived, sql, clean):
    past.generate(5, is_delivered=False)
    count = len(entries(sql, past.license))
    ages()

    assert archived().kept == 1
    assert count in entries(sql, past.license)
    clean()
    assert archived(with_undelivered=True).kept == 0
    assert count not in entries(sql, past.license)
    clean()


def test_and_leaves_with_its_refund(past, ages, archived, clean, sql):
    past.refund(past.generate(5, is_delivered=False))
    ages()

    assert archived().kept == 0
    # What was left of a promotion has lapsed today.
    assert sql("SELECT kind FROM obol.ledger_entries") == [("expiry",)]
    clean()


def test_its_keys_and_holds_leave_too(past, ages, archived, sql):
    ages()
    past.deduct(1, key="new")
    archived()

    assert sql("SELECT idempotency_key FROM obol.idempotency_keys WHERE scope = 'license'") == [("new",)]
    assert sql("SELECT count(*) FROM obol.holds") == [(0,)]
    assert sql("SELECT count(*) FROM obol.allotments a JOIN obol.archived r USING (license_id)"
               " WHERE a.last_entry_no <= r.last_entry_no") == [(0,)]  # fmt: skip


def test_usage_and_the_overview_are_as_before(past, ages, archived, owner):
    ages()
    past.generate(4)
    first, last = date.today() - timedelta(days=100), date.today()
    reader = Reader.operator(past.license.id)
    # So that what lapsed meanwhile is booked.
    outline(past)

    def look():
        return usage.usage(owner, reader, first=first, last=last), admin.overview(owner, first=first, last=last)

    then = look()
    assert archived().entries > 10
    assert look() == then
    assert sum(row.credits for row in then[0]) > 100


def test_what_is_archived_is_refused_by_name(past, ages, archived, owner, db, refused):
    ages()
    archived()

    for call in (
        lambda: past.refund(past.order),
        lambda: statements.receipt(db, Reader.with_key(past.license.key), past.answer),
        lambda: operator.refund(owner, past.license.id, uuid4(), reason="sorry"),
    ):
        with pytest.raises(Problem) as caught:
            call()
        assert caught.value.code == "hold_not_found"
        assert "are in the archive" in caught.value.detail
        assert "An adjustment corrects a balance." in caught.value.detail


def test_the_refund_of_an_older_release_says_so_too(past, ages, archived, sql):
    ages()
    archived()

    with pytest.raises(Exception, match="HOLD_NOT_FOUND"):
        sql(f"SELECT * FROM obol.refund('{past.license.id}', '{past.order}', 'sorry')")


def test_it_is_an_act(past, ages, archived, owner, sql):
    ages()
    outcome = archived()

    act = admin.list_acts(owner, limit=1)[0]
    ((login,),) = sql("SELECT session_user::text")
    ((digest,),) = sql("SELECT encode(file_digest, 'hex') FROM obol.archived_files")
    assert (act.act, act.actor, act.license_id) == ("archive", f"cli:{login}", past.license.id)
    assert act.detail == {"first_entry_no": 1, "last_entry_no": outcome.entries, "sha256": digest}


# What comes between


@pytest.fixture
def ready(new_license, deduct, ages, owner):
    """A license with three old entries, its deductions, and their file's SHA-256."""
    license = new_license()
    causes = [deduct(license).deduction_id for _ in range(2)]
    ages()
    usage.roll_up(owner, license.id)
    while admin.roll_up_business(owner):
        pass
    numbers = archive.prepare(owner, license.id, Wanted(before()))
    assert numbers == Numbers(1, 3)
    data = "".join(f"{line}\n" for line in archive.lines(owner, license.id, numbers))
    return license, causes, hashlib.sha256(data.encode()).digest()


def test_only_what_is_in_the_file_is_deleted(ready, owner, contents):
    license, _, digest = ready
    then = contents()

    assert not archive.archive(owner, license.id, last_entry_no=3, file_digest=b"0" * 32)
    assert not archive.archive(owner, license.id, last_entry_no=2, file_digest=digest)
    assert not archive.archive(owner, license.id, last_entry_no=4, file_digest=digest)
    assert contents() == then


def test_asked_again_it_is_done(ready, owner, contents, clean):
    license, _, digest = ready
    assert archive.archive(owner, license.id, last_entry_no=3, file_digest=digest)
    then = contents()

    assert archive.archive(owner, license.id, last_entry_no=3, file_digest=digest)
    assert not archive.archive(owner, license.id, last_entry_no=3, file_digest=b"0" * 32)
    assert contents() == then
    assert ledger.verify(owner) == []


def test_a_refund_meanwhile_keeps_its_cause(ready, owner, refund, archived, sql, clean):
    license, causes, digest = ready
    refund(license, causes[0])

    assert not archive.archive(owner, license.id, last_entry_no=3, file_digest=digest)
    assert archived().entries == 1
    assert entries(sql, license) == [2, 3, 4]
    clean()


def test_prepared_again_for_fewer_it_does_no_harm(ready, owner, archived, clean, db, deduct):
    license, _, _ = ready
    assert archive.prepare(owner, license.id, Wanted(before(), 2)) == Numbers(1, 2)
    assert archive.prepare(owner, license.id, Wanted(before(), 1)) == Numbers(1, 1)
    clean()
    assert archived(most=2).entries == 3
    deduct(license)
    clean()


def test_the_service_cannot_archive(ready, db):
    license, _, digest = ready

    with pytest.raises(Problem):
        archive.archive(db, license.id, last_entry_no=3, file_digest=digest)
    with pytest.raises(Problem):
        archive.prepare(db, license.id, Wanted(before()))


def test_a_license_that_is_not_there(owner):
    with pytest.raises(Problem) as caught:
        archive.prepare(owner, uuid4(), Wanted(before()))
    assert caught.value.code == "license_invalid"


# Digests


def taken(owner):
    return audit.read(f"{line}\n".encode() for line in audit.take(owner))


def test_heads_of_before_are_checked_with_the_files(past, ages, archived, owner, folder, clean):
    ages(40)
    past.deduct(1)
    ages(40)
    past.deduct(1)
    first = taken(owner)
    archived(days=60, most=4)
    second = taken(owner)
    past.deduct(1)
    third = taken(owner)
    archived(days=35)

    assert {row.archived for row in first.licenses.values()} == {0}
    assert 0 < second.licenses[past.license.id].archived == third.licenses[past.license.id].archived
    for head in (first, second, third):
        assert list(audit.compare(owner, head, folder=folder)) == []
        (difference,) = audit.compare(owner, head)
        assert difference.rule == "entries are as they were"
        assert difference.detail.endswith("are in the archive by now: --archive FOLDER reads them there")
    assert list(audit.compare(owner, taken(owner))) == []
    clean()


def test_a_head_that_is_taken_meanwhile_begins_again(past, ages, archived, owner, monkeypatch):
    """The license is listed, and archived before its entries are read."""
    ages()
    listed = list(audit.audit.heads(owner))
    archived()
    monkeypatch.setattr(audit.audit, "heads", lambda _db: iter(listed))

    (recorded,) = taken(owner).licenses.values()
    assert recorded.archived > 0


def test_a_head_is_in_blocks_across_files_and_tables(new_license, owner, ages, archived, folder, sql, clean):
    license = new_license(credits=10_000)
    deductions = (
        f"SELECT obol.deduct('{license.id}', '\\x{license.key.digest.hex()}', gen_random_uuid(), 1, NULL, NULL, NULL)"
        " FROM generate_series(1, %s)"
    )
    sql(deductions, (1400,))
    ages()
    sql(deductions, (1300,))
    head = taken(owner)

    assert archived(most=1100).files == 2
    assert list(audit.compare(owner, head, folder=folder)) == []
    clean()


@pytest.mark.tampers
def test_what_is_changed_in_files_or_tables_is_a_difference(past, ages, archived, owner, folder, sql):
    ages()
    past.deduct(2)
    head = taken(owner)
    archived(most=4)
    first, *_, last = folder.stored(past.license.id)
    data = last.path.read_bytes()

    # The time of an entry, after its shortfall.
    changed = data.replace(b", 0, 1", b", 0, 2", 1)
    assert changed != data
    last.path.write_bytes(changed)
    (difference,) = audit.compare(owner, head, folder=folder)
    assert difference.rule == "entries are as they were"
    last.path.unlink()
    (difference,) = audit.compare(owner, head, folder=folder)
    assert difference.rule == "every entry is there"
    assert list(audit.compare(owner, taken(owner))) == []
    past.deduct(1)
    head = taken(owner)
    sql("UPDATE obol.archived SET last_entry_no = last_entry_no - 1")
    first.path.unlink()
    (difference,) = audit.compare(owner, head, folder=folder)
    assert difference.rule == "every entry is there"
