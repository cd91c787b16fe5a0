"""JSON as every program reads it, in both directions."""

import pytest

from service import strict_json


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "", "é\u2028\x00", [], {}, {"a": [1, {"b": None}]}], ids=repr)
def test_what_was_encoded_is_decoded_to_the_same(value):
    assert strict_json.decode(strict_json.encode(value)) == value


def test_an_encoded_value_is_ascii_without_a_space():
    assert strict_json.encode({"a": [1, "é"], "b": None}) == b'{"a":[1,"\\u00e9"],"b":null}'


@pytest.mark.parametrize("body", [b"NaN", b"Infinity", b"-Infinity", b'{"a": [NaN]}'])
def test_what_only_python_would_read_is_refused(body):
    with pytest.raises(ValueError, match="is not JSON"):
        strict_json.decode(body)


@pytest.mark.parametrize("body", [b"", b"{", b"{} {}", b"\xff", b"\xef\xbb\xbf{}", "{}".encode("utf-16")], ids=repr)
def test_what_is_not_utf_8_or_not_json_is_refused(body):
    with pytest.raises(ValueError):  # noqa: PT011 (of two kinds, both with words of their own)
        strict_json.decode(body)


def test_what_is_nested_too_deeply_is_an_error_of_its_own():
    nested = []
    for _ in range(100_000):
        nested = [nested]

    with pytest.raises(RecursionError):
        strict_json.encode(nested)
    with pytest.raises(RecursionError):
        strict_json.decode(b"[" * 100_000)


def test_more_can_be_refused():
    def refuse(number):
        raise ValueError(f"{number} is no whole number")

    with pytest.raises(ValueError, match=r"1\.5 is no whole number"):
        strict_json.decode(b'{"a": 1.5}', parse_float=refuse)
