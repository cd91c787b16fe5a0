"""What a text cannot exceed in tokens, told without a tokenizer.

A tokenizer that works on bytes makes one token of a byte at most. But it may bring the text into
Unicode's normal form NFKC first, which can be eleven times as long: U+FDFA is 3 bytes, and 33 in that
form. So the longer of the two, in bytes of UTF-8, is the bound.

Source: the vendor's published tokenizer (@anthropic-ai/tokenizer 0.0.4): NFKC, then pairs of bytes; no
lower case, and no special token of less than five bytes.
"""

import re
import unicodedata
from collections import Counter
from functools import cache

# Looked at in pieces, so that a long text does not keep all other threads waiting. Where it is cut, marks
# of the second piece may undo what the last letter of the first is composed of.
_PIECE = 16 * 1024
_CUT_BYTES = 16

_RAW_PIECE = 256 * 1024
_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")
_ESCAPE_BYTES = 6


def bound_text(text: str) -> int:
    """The tokens that a text cannot exceed: its bytes, or those of its normal form.

    The form itself is never made where it is another: a text can be chosen so that this takes minutes."""
    if text.isascii():
        return len(text)
    pieces = [text[begin : begin + _PIECE] for begin in range(0, len(text), _PIECE)]
    return sum(map(_bound_piece, pieces)) + _CUT_BYTES * (len(pieces) - 1)


def bound_json(raw: bytes) -> int:
    """The tokens that the text in a request cannot exceed; `raw` is JSON in UTF-8."""
    bound = len(raw) if raw.isascii() else bound_text(raw.decode())
    return bound + (_growth_of_escapes(raw) if b"\\u" in raw else 0)


def _bound_piece(piece: str) -> int:
    size = len(piece.encode())
    if unicodedata.is_normalized("NFKC", piece):
        return size
    counts, growths = Counter(piece), _growths()
    return size + sum(counts[character] * growths[character] for character in counts.keys() & growths.keys())


def _growth_of_escapes(raw: bytes) -> int:
    """By how much what is written as \\uXXXX can be longer than that. (A character that takes two escapes
    has twelve bytes in them, and none is longer in normal form.)"""
    growth = 0
    for begin in range(0, len(raw), _RAW_PIECE):
        # The next piece begins where the last escape of this one can.
        codes = Counter(_ESCAPE.findall(raw, begin, begin + _RAW_PIECE + _ESCAPE_BYTES - 1))
        for code, count in codes.items():
            character = chr(int(code, 16))
            if character in _growths():
                growth += count * max(0, len(character.encode()) + _growths()[character] - _ESCAPE_BYTES)
    return growth


@cache
def _growths() -> dict[str, int]:
    """By how many bytes each character can get longer, taken apart as far as it goes: what is composed
    of the parts afterwards is never longer than they are. (Syllables of Hangul are always composed again; they
    have no row in the table that is asked here.)"""
    growths = {}
    # No character above these planes has another form.
    for code in range(0x80, 0x30000):
        character = chr(code)
        if unicodedata.decomposition(character):
            longest = len(unicodedata.normalize("NFKD", character).encode())
            if longest > len(character.encode()):
                growths[character] = longest - len(character.encode())
    return growths
