"""License keys: what they say, and that nothing else is taken for one."""

import hashlib
import re
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import keys

LICENSE_ID = uuid4()
KEY, DIGEST = keys.make(LICENSE_ID)


def test_a_key_says_its_license_and_is_stored_as_a_digest():
    assert keys.parse(KEY) == DIGEST == (LICENSE_ID, hashlib.sha256(KEY.encode()).digest())


def test_a_key_is_one_word():
    assert re.fullmatch(rf"obol_{LICENSE_ID.hex}_[0-9A-Za-z]{{38}}", KEY)


def test_no_two_keys_are_the_same():
    made = {keys.make(LICENSE_ID).license_key for _ in range(100)}
    assert len(made) == 100
    assert len({key[38:70] for key in made}) == 100


@pytest.mark.parametrize("position", [0, 4, 5, 20, 37, 38, 50, 69, 70, 75])
def test_a_mistyped_key_is_none(position):
    other = "1" if KEY[position] != "1" else "2"
    assert keys.parse(KEY[:position] + other + KEY[position + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    ["", "obol_", KEY[:-1], KEY + "0", KEY + "\n", " " + KEY, KEY.upper(), KEY.lower(), KEY.replace("_", "-"), KEY * 2],
    ids=range(10),
)
def test_another_text_is_none(text):
    assert keys.parse(text) is None


def test_digits_of_other_scripts_are_none():
    assert keys.parse(f"obol_{'٣' * 32}_{'a' * 38}") is None


@settings(max_examples=100, database=None)
@given(text=st.text())
def test_any_text_is_none(text):
    assert keys.parse(text) is None
    assert keys.parse("obol_" + text) is None
