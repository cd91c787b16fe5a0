"""The models that are sold, out of all pages of the upstream's."""

import json

import pytest

from service.gateway.catalog import Page, list_models
from service.problems import Problem


def pages(*answers):
    """What fetches these answers in turn, the last one for ever; and what it was asked."""
    asked, left = [], list(answers)

    def fetch(query):
        asked.append(query)
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    return fetch, asked


def listed(*ids, more=False):
    return {"data": [{"id": id, "display_name": id.upper()} for id in ids], "has_more": more}


def test_all_pages_of_the_upstream_are_looked_at():
    fetch, asked = pages(listed("a", "b", more=True), listed("c", more=True), listed("d"))

    page = list_models(fetch, lambda model: model in "bd", Page())
    assert page == {**listed("b", "d"), "first_id": "b", "last_id": "d"}
    assert asked == [{"limit": "1000"}, {"limit": "1000", "after_id": "b"}, {"limit": "1000", "after_id": "c"}]


def test_a_page_without_models_is_the_last():
    fetch, asked = pages({"data": [], "has_more": True})
    assert list_models(fetch, bool, Page())["data"] == []
    assert len(asked) == 1


def test_there_is_an_end_to_pages_without_end():
    fetch, asked = pages(listed("a", more=True))
    assert len(list_models(fetch, bool, Page(limit=1000))["data"]) == len(asked) == 10


@pytest.mark.parametrize(
    ("page", "expected", "has_more"),
    [
        (Page(2), ["a", "c"], True),
        (Page(3), ["a", "c", "e"], False),
        (Page(1, after_id="b"), ["c"], True),
        (Page(1, before_id="e"), ["c"], True),
        (Page(5, before_id="a"), [], False),
        (Page(5, after_id="a", before_id="e"), ["c"], False),
    ],
)
def test_a_page_of_what_is_sold(page, expected, has_more):
    fetch, _ = pages(listed(*"abcde"))
    found = list_models(fetch, lambda model: model in "ace", page)
    assert [model["id"] for model in found["data"]] == expected
    assert found["has_more"] == has_more


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", {}, {"data": None}, {"data": ["a"]}, {"data": [{}]}, {"data": [{"id": 7}]}], ids=str
)
def test_what_is_no_list_of_models_is_unreadable(answer):
    with pytest.raises(Problem, match="could not be read"):
        list_models(pages(answer)[0], bool, Page())
