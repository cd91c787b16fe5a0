"""Stored answers open with their key, for their license and their hold, and with nothing else."""

from uuid import uuid4

import pytest

from service import replay

NEW, OLD = b"n" * 32, b"o" * 32
LICENSE_ID, HOLD_ID = uuid4(), uuid4()
ANSWER = b'{"text": "canary"}'


def test_what_was_sealed_opens_again():
    sealed = replay.seal([NEW, OLD], LICENSE_ID, HOLD_ID, ANSWER)

    assert replay.unseal([NEW], LICENSE_ID, HOLD_ID, sealed) == ANSWER
    assert b"canary" not in sealed


def test_the_newest_key_seals_and_every_key_opens():
    sealed = replay.seal([OLD], LICENSE_ID, HOLD_ID, ANSWER)
    assert replay.unseal([NEW, OLD], LICENSE_ID, HOLD_ID, sealed) == ANSWER
    assert replay.unseal([NEW], LICENSE_ID, HOLD_ID, sealed) is None
    assert replay.unseal([], LICENSE_ID, HOLD_ID, sealed) is None


def test_the_same_answer_is_sealed_differently_each_time():
    one, other = (replay.seal([NEW], LICENSE_ID, HOLD_ID, ANSWER) for _ in range(2))
    assert one != other


@pytest.mark.parametrize(("license_id", "hold_id"), [(uuid4(), HOLD_ID), (LICENSE_ID, uuid4()), (HOLD_ID, LICENSE_ID)])
def test_an_answer_of_another_license_or_hold_does_not_open(license_id, hold_id):
    sealed = replay.seal([NEW], LICENSE_ID, HOLD_ID, ANSWER)
    assert replay.unseal([NEW], license_id, hold_id, sealed) is None


@pytest.mark.parametrize("position", [0, 12, -1])
def test_an_answer_that_was_changed_does_not_open(position):
    sealed = bytearray(replay.seal([NEW], LICENSE_ID, HOLD_ID, ANSWER))
    sealed[position] ^= 1
    assert replay.unseal([NEW], LICENSE_ID, HOLD_ID, bytes(sealed)) is None
