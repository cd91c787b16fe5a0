"""Stored answers open with their key, for their license and their hold, and with nothing else."""

import hashlib
import secrets
import zlib
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.gateway import transcript
from service.gateway.transcript import Transcript

NEW, OLD = b"n" * 32, b"o" * 32
LICENSE_ID, HOLD_ID = uuid4(), uuid4()
ANSWER = b'{"text": "canary"}'


def seal(keys, *pieces):
    answer = Transcript(keys)
    for piece in pieces or (ANSWER,):
        answer.add(piece)
    return answer.seal(LICENSE_ID, HOLD_ID)


def unseal(keys, sealed):
    kept = transcript.unseal(keys, LICENSE_ID, HOLD_ID, sealed=sealed)
    return None if kept is None else b"".join(transcript.pieces(kept))


def test_what_was_sealed_opens_again():
    sealed = seal([NEW, OLD])

    assert unseal([NEW], sealed) == ANSWER
    assert b"canary" not in sealed


def test_an_answer_in_pieces_is_one():
    assert unseal([NEW], seal([NEW], b"one ", b"", b"two ", b"three")) == b"one two three"
    assert unseal([NEW], Transcript([NEW]).seal(LICENSE_ID, HOLD_ID)) == b""


def test_what_repeats_itself_takes_little_room():
    pieces = [b'event: content_block_delta\ndata: {"delta": %d}\n\n' % number for number in range(20_000)]

    sealed = seal([NEW], *pieces)
    assert len(sealed) < sum(map(len, pieces)) / 8
    assert unseal([NEW], sealed) == b"".join(pieces)


def test_without_a_key_nothing_is_kept():
    answer = Transcript(())
    answer.add(ANSWER)

    assert answer._kept == b""
    assert answer.seal(LICENSE_ID, HOLD_ID) is None


def test_what_is_too_long_is_not_stored_and_not_kept(monkeypatch):
    monkeypatch.setattr(transcript, "MOST_STORED", 100_000)
    answer = Transcript([NEW])
    for _ in range(20):
        answer.add(secrets.token_bytes(50_000))

    assert len(answer._kept) < 200_000
    assert answer.seal(LICENSE_ID, HOLD_ID) is None


@pytest.mark.parametrize(("too_much", "is_stored"), [(0, True), (1, False)])
def test_the_limit_is_of_compressed_bytes_and_exact(monkeypatch, too_much, is_stored):
    monkeypatch.setattr(transcript, "MOST_STORED", len(zlib.compress(ANSWER * 1000)) - too_much)
    assert (seal([NEW], ANSWER * 1000) is not None) == is_stored


def test_the_newest_key_seals_and_every_key_opens():
    sealed = seal([OLD])

    assert unseal([NEW, OLD], sealed) == ANSWER
    assert unseal([NEW], sealed) is None
    assert unseal([], sealed) is None


def test_the_same_answer_is_sealed_differently_each_time():
    assert seal([NEW]) != seal([NEW])


@pytest.mark.parametrize(("license_id", "hold_id"), [(uuid4(), HOLD_ID), (LICENSE_ID, uuid4()), (HOLD_ID, LICENSE_ID)])
def test_an_answer_of_another_license_or_hold_does_not_open(license_id, hold_id):
    assert transcript.unseal([NEW], license_id, hold_id, sealed=seal([NEW])) is None


@pytest.mark.parametrize("position", [0, 7, 8, 20, -1])
def test_an_answer_that_was_changed_does_not_open(position):
    sealed = bytearray(seal([NEW]))
    sealed[position] ^= 1
    assert unseal([NEW], bytes(sealed)) is None


def test_the_id_of_its_key_stands_before_it_in_clear():
    assert seal([OLD, NEW])[:8] == transcript.key_id(OLD) == hashlib.sha256(OLD).digest()[:8]
    assert transcript.key_id(OLD) != transcript.key_id(NEW)


@pytest.mark.parametrize("plain", [ANSWER, zlib.compress(ANSWER)])
def test_an_answer_that_names_no_key_is_gone(plain):
    # As an earlier release stored them.
    nonce = secrets.token_bytes(12)
    sealed = nonce + AESGCM(NEW).encrypt(nonce, plain, LICENSE_ID.bytes + HOLD_ID.bytes)

    assert unseal([NEW, OLD], sealed) is None
    assert unseal([NEW, OLD], b"") is None


@pytest.mark.parametrize("length", [0, 1, 65535, 65536, 65537, 1_000_000])
def test_an_answer_comes_in_pieces(length):
    answer = secrets.token_bytes(length // 2) + b"a" * (length - length // 2)
    pieces = list(transcript.pieces(zlib.compress(answer)))

    assert b"".join(pieces) == answer
    assert max(map(len, pieces)) <= 65536
    assert len(pieces) <= length // 65536 + 2
