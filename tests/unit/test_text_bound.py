"""What a text cannot exceed in tokens: the longer of its bytes and those of its normal form."""

import json
import sys
import threading
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gateway import text_bound
from service.gateway.text_bound import bound_json, bound_text

# Characters that have another form, marks that are put in order, and parts of syllables.
ODD = [chr(code) for code in range(0x80, 0x30000) if unicodedata.decomposition(chr(code))]
ODD += [chr(code) for code in range(0x80, 0x30000) if unicodedata.combining(chr(code))]
ODD += [*"aeo<=\u03c9\u1fa7\ud55c\u0e33", *map(chr, range(0x1100, 0x1200))]

TEXTS = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"])), max_size=30)


def normal_bytes(text):
    return len(unicodedata.normalize("NFKC", text).encode())


@settings(deadline=None, database=None)
@given(TEXTS, st.integers(1, 8))
def test_no_text_has_more_bytes_or_in_its_normal_form_than_its_bound(text, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_bound, "_PIECE", piece)
        assert bound_text(text) >= max(len(text.encode()), normal_bytes(text))


@settings(deadline=None, database=None)
@given(TEXTS, st.integers(1, 40), st.data())
def test_no_text_in_json_has_more_than_its_bound_however_it_is_written(text, piece, data):
    # Each character as it is, or as one or two escapes.
    written = [data.draw(st.sampled_from([c, json.dumps(c)[1:-1]])) if c > "~" else json.dumps(c)[1:-1] for c in text]
    raw = "".join(written).encode()
    assert json.loads(b'"%b"' % raw) == text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_bound, "_RAW_PIECE", piece)
        assert bound_json(raw) >= max(len(raw), normal_bytes(text))


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("", 0),
        ("Hello", 5),
        ("h\xe9llo", 6),
        ("\u4e2d\u6587", 6),
        ("\ud55c\uad6d\uc5b4", 9),
        ("\U0001f600", 4),
        # Three bytes and 33; and not looked for where the text is in normal form.
        ("\ufdfa", 33),
        ("\ufdfa" * 10_000, 330_000),
        ("\u33c2 \ufb2c \U0001d160", 4 + 1 + 6 + 1 + 12),
        ("\ud55c\xa0\ud55c", 3 + 2 + 3),
        # A form that is shorter.
        ("\uff41", 3),
    ],
    ids=ascii,
)
def test_the_bound_of_a_text(text, bound):
    assert bound_text(text) == pytest.approx(bound, abs=16 * (len(text) // text_bound._PIECE))


@pytest.mark.parametrize(
    ("raw", "bound"),
    [
        (rb"Hello", 5),
        (rb"\u0041\n", 8),
        (rb"\ufdfa", 33),
        (rb"\uFDFA\uFdFa", 66),
        (rb"\u33c2", 6),
        (rb"\u3300", 15),
        # Two escapes have as many bytes as the longest form of a character that needs them.
        (rb"\ud834\udd60", 12),
        # No escape, but who looks at each backslash before it?
        (rb"\\ufdfa", 34),
        (rb"\ufdf", 5),
        ("\ufdfa \\ufdfa".encode(), 33 + 1 + 33),
    ],
    ids=ascii,
)
def test_the_bound_of_json(raw, bound):
    assert bound_json(raw) == bound


def test_escapes_that_are_cut_are_found_once(monkeypatch):
    monkeypatch.setattr(text_bound, "_RAW_PIECE", 7)
    raw = rb"a\ufdfa" * 50
    assert bound_json(raw) == len(raw) + 50 * 27


def test_no_character_above_those_that_are_looked_at_has_another_form():
    assert not any(unicodedata.decomposition(chr(code)) for code in range(0x30000, sys.maxunicode + 1))
    # What takes two escapes is not longer than they are.
    assert all(len(unicodedata.normalize("NFKD", chr(code)).encode()) <= 12 for code in range(0x10000, 0x30000))


def test_no_composed_character_is_longer_than_its_parts():
    for code in range(0x80, 0x30000):
        parts = unicodedata.decomposition(chr(code))
        if parts and unicodedata.normalize("NFC", chr(code)) == chr(code) and not parts.startswith("<"):
            assert len(chr(code).encode()) <= sum(len(chr(int(part, 16)).encode()) for part in parts.split())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["\ufdfa", "\u0301\u0323", "e\u0301", "\xe9"], ids=ascii)
def test_a_long_text_does_not_keep_all_others_waiting(text):
    # Its normal form would take minutes to make, of marks in the wrong order even hours, with everybody waiting.
    text, ended = text * (4 * 1024 * 1024 // len(text.encode())), threading.Event()
    waited = []

    def wait():
        while not ended.is_set():
            begun = time.monotonic()
            time.sleep(0.001)
            waited.append(time.monotonic() - begun)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        assert bound_text(text) >= len(text.encode())
    finally:
        ended.set()
        thread.join()
    assert max(waited) < 10
