"""obol.set_packages: all or none, nothing twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.problems import Problem
from service.repository import payments
from service.repository.payments import Package, PackageChange

TERMS = {"name": "A", "price": 1000, "currency": "eur", "credits": 500, "lifetime_days": None}
A = Package("a", "A", 1000, "eur", 500, None, True)


@pytest.fixture
def packages(owner):
    """`packages()`: what is or was sold, by id."""
    return lambda: {package.package_id: package for package in payments.packages(owner)}


def test_packages_are_sold_changed_and_ended_at_once(owner, packages, sql):
    assert payments.set_packages(owner, [("a", TERMS), ("b", TERMS)]) == [
        PackageChange("a", None, A), PackageChange("b", None, A._replace(package_id="b")),
    ]  # fmt: skip
    dearer = TERMS | {"price": 1200, "lifetime_days": 30}
    changes = payments.set_packages(owner, [("b", None), ("c", TERMS), ("a", dearer)])
    assert [(change.package_id, change.after.is_active) for change in changes] == [
        ("a", True),
        ("b", False),
        ("c", True),
    ]
    assert changes[0] == PackageChange("a", A, A._replace(price=1200, lifetime_days=30))
    assert packages() == {change.package_id: change.after for change in changes}
    # Each as if it had been set by itself.
    acts = sql("SELECT act, target FROM obol.admin_acts WHERE act LIKE '%package' ORDER BY act_no")
    assert acts == [("set_package", "a"), ("set_package", "b"), ("set_package", "a"), ("end_package", "b"),
                    ("set_package", "c")]  # fmt: skip


def test_the_same_again_changes_nothing(owner, sql):
    rows = [("a", TERMS), ("b", TERMS)]
    payments.set_packages(owner, rows)
    payments.end_package(owner, "b")
    before = sql("SELECT count(*) FROM obol.admin_acts")
    assert payments.set_packages(owner, [("a", TERMS), ("b", None)]) == []
    assert sql("SELECT count(*) FROM obol.admin_acts") == before
    (again,) = payments.set_packages(owner, rows)
    assert (again.before.is_active, again.after.is_active) == (False, True)


def test_a_dry_run_says_the_same_and_writes_nothing(owner, packages):
    payments.set_packages(owner, [("a", TERMS)])
    rows = [("a", None), ("b", TERMS)]
    would, before = payments.set_packages(owner, rows, dry_run=True), packages()
    assert before == {"a": A}
    assert payments.set_packages(owner, rows) == would


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(("z", None), "package_not_found"), (("z", TERMS | {"credits": 0}), "amount_invalid")],
)
def test_when_one_is_refused_none_is_set(owner, packages, wrong, code):
    with pytest.raises(Problem) as refused:
        payments.set_packages(owner, [("a", TERMS), wrong])
    assert refused.value.code == code
    assert packages() == {}


def test_what_cannot_be_ended_is_refused_in_a_dry_run_too(owner):
    with pytest.raises(Problem, match="z"):
        payments.set_packages(owner, [("z", None)], dry_run=True)


def test_two_files_at_once_do_not_wait_for_each_other(owner, packages):
    rows = [(name, TERMS) for name in "abcdef"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: payments.set_packages(owner, rows if n % 2 else rows[::-1]), range(8)))
    assert len(packages()) == 6
