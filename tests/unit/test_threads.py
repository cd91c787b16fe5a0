"""One license may take so many threads of a process, and nobody can take another's."""

from uuid import uuid4

import pytest

from service import keys
from service.http import threads
from service.http.threads import Threads
from service.problems import Problem


@pytest.fixture
def key():
    return keys.make(uuid4()).digest


def take_all(counted, key, count):
    for _ in range(count):
        counted.take(key)


def test_a_license_has_so_many_threads_and_no_more_until_it_gives_one_back(key):
    counted = Threads(3)
    take_all(counted, key, 3)

    with pytest.raises(Problem) as refused:
        counted.take(key)
    assert (refused.value.code, refused.value.retry_after) == ("limit_exceeded", 1)
    assert refused.value.extra == {"limit": "threads", "limit_value": 3, "used": 3, "retry_after_s": 1}

    counted.give_back(key)
    counted.take(key)
    for _ in range(3):
        counted.give_back(key)
    assert counted._taken == {}, "what is counted for nobody takes no memory"


def test_a_forged_key_does_not_count_for_the_license_that_it_names(key):
    counted, forged = Threads(2), keys.make(key.license_id).digest
    counted.trust(key)
    take_all(counted, forged, 2)

    take_all(counted, key, 2)


def test_two_good_keys_of_a_license_count_together(key):
    counted, other = Threads(2), keys.make(key.license_id).digest
    take_all(counted, key, 2)
    counted.trust(key)
    counted.trust(other)

    with pytest.raises(Problem, match="limit_exceeded"):
        counted.take(other)


def test_a_key_that_is_good_no_more_counts_for_itself(key):
    counted, other = Threads(2), keys.make(key.license_id).digest
    counted.trust(key)
    counted.trust(other)
    counted.distrust(other)
    counted.distrust(other)
    take_all(counted, other, 2)

    take_all(counted, key, 2)


def test_who_takes_a_quarter_and_is_not_known_is_in_doubt(key):
    counted = Threads(8)
    assert not counted.is_in_doubt(key)
    take_all(counted, key, 2)
    assert counted.is_in_doubt(key)
    counted.trust(key)
    assert not counted.is_in_doubt(key)


def test_the_key_that_was_not_seen_for_longest_is_forgotten(key, monkeypatch):
    monkeypatch.setattr(threads, "_MOST_KNOWN", 2)
    counted, second, third = Threads(2), keys.make(uuid4()).digest, keys.make(uuid4()).digest
    for good in (key, second, key, third):
        counted.trust(good)

    assert set(counted._good) == {key.digest, third.digest}
    assert set(counted._keys) == {key.license_id, third.license_id}
