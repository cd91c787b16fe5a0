"""A request of many parts is surveyed in little memory, and one of too many is refused."""

import tracemalloc

import pytest
from surveying import request

from service.gateway.survey import survey
from service.problems import Problem


@pytest.mark.parametrize("part", [{}, [], {"text": "a", "n": [1]}], ids=str)
@pytest.mark.parametrize("field", ["messages", "system", "tools", "metadata", "future"])
def test_the_objects_and_lists_of_a_request_are_bounded(monkeypatch, field, part):
    monkeypatch.setattr("service.gateway.survey._MOST_PARTS", 1000)
    # The message is a part; the fields themselves are none.
    room = 1000 if field == "messages" else 999
    most = room // (2 if part and part["n"] else 1)

    assert survey(request(**{field: [part] * most}), 100).models == ("m",)
    with pytest.raises(Problem) as problem:
        survey(request(**{field: [part] * (most + 1)}), 100)
    assert (problem.value.code, problem.value.extra["errors"][0]["field"]) == ("validation_failed", "messages")
    assert problem.value.detail == "messages: must have 1000 objects and lists at most"


def test_strings_and_numbers_are_no_parts(monkeypatch):
    monkeypatch.setattr("service.gateway.survey._MOST_PARTS", 10)
    assert survey(request(future=["a", 1, None, True] * 1000, stop_sequences=["a"] * 1000), 100).models == ("m",)


def test_a_survey_takes_memory_for_the_depth_of_a_request_and_not_for_its_size():
    large = request(messages=[{"role": "user", "content": [{"type": "text"}, []]}] * 20_000)

    tracemalloc.start()
    try:
        survey(large, 100)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()
