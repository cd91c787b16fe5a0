"""Tests of a group run in one worker: what they need takes minutes to make, and is made once."""

import pytest


@pytest.mark.xdist_group("itself")
def test_the_workers_are_told_of_groups(request):
    # By the end of a test's name, and without a word when that is not there: then the month was played in each worker.
    assert request.node.nodeid.endswith("@itself") is hasattr(request.config, "workerinput")
