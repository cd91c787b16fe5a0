"""The clock of leases and copies."""

import time

import pytest

from service import clock
from service.gateway.price_book import PriceBook
from service.lease import Lease


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no clock that is said to do so")
def test_it_goes_on_while_the_machine_is_suspended():
    assert clock._CLOCK == time.CLOCK_BOOTTIME


def test_it_goes_forward_in_seconds():
    before, began_at = clock.elapsed(), time.monotonic()
    time.sleep(0.05)
    assert clock.elapsed() - before == pytest.approx(time.monotonic() - began_at, abs=0.04)


def test_leases_and_copies_go_by_it():
    assert Lease(None, 1)._clock is clock.elapsed
    assert PriceBook.find_price.__globals__["elapsed"] is clock.elapsed
