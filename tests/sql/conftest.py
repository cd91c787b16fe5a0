"""What the tests of the functions share: holds to begin with, time that has passed, and the
check that a refusal changes nothing."""

from contextlib import contextmanager
from uuid import uuid4

import pytest

from service.pricing import CLASSES, HoldSize
from service.problems import Problem
from service.repository import holds, processes

# One credit a token.
PRICE = dict.fromkeys(CLASSES, 1_000_000)


@pytest.fixture
def process_id(db):
    """A serving process with a lease."""
    process_id = uuid4()
    processes.heartbeat(db, process_id, 30)
    return process_id


@pytest.fixture
def client_hold(db):
    """`client_hold(license, amount=100, key=None)`: a hold that a client opens for itself."""

    def open_hold(license, amount=100, *, key=None, hold_id=None, fingerprint=b"one", expires_in_s=60, reference=None):
        return holds.open_for_client(
            db, license.key, hold_id or uuid4(), amount, expires_in_s, key, fingerprint, reference
        )

    return open_hold


@pytest.fixture
def process_hold(db, process_id):
    """`process_hold(license, amount=100, key=None)`: a hold for a generation of `process_id`."""

    def open_hold(license, amount=100, *, key=None, hold_id=None, fingerprint=b"one", least=None, price=PRICE):
        size = HoldSize(amount, amount if least is None else least)
        return holds.open_for_process(
            db, license.key, hold_id or uuid4(), process_id, size, "a-model", price, key, fingerprint
        )

    return open_hold


@pytest.fixture
def settle(db, process_id):
    """`settle(license, hold, amount)`: end a generation's hold at `amount` tokens."""

    def settle_hold(license, hold, amount, *, answer=None, answer_ttl_s=3600):
        return holds.settle(db, license.key, hold.hold_id, amount, process_id, {"output": amount}, answer, answer_ttl_s)

    return settle_hold


@pytest.fixture
def state_of(sql):
    """`state_of(hold)`: held, settled, released or expired."""
    return lambda hold: sql("SELECT state FROM obol.holds WHERE hold_id = %s", (str(hold.hold_id),))[0][0]


@pytest.fixture
def overdue(sql):
    """`overdue(hold)`: the time of a client's hold is up, and nobody has noticed yet."""

    def move(hold):
        sql(
            "UPDATE obol.holds SET opened_at = opened_at - interval '1 day', expires_at = expires_at - interval '1 day'"
            " WHERE hold_id = %s",
            (str(hold.hold_id),),
        )

    return move


@pytest.fixture
def lapse(db, process_id):
    """`lapse()`: the lease of `process_id` ends and another process gives its holds back."""

    def end():
        processes.heartbeat(db, process_id, 0)
        while holds.release_expired(db):
            pass

    return end


@pytest.fixture
def contents(sql):
    """`contents()`: every row of the tables that hold money, keys and answers."""
    tables = ("licenses", "license_keys", "holds", "ledger_entries", "idempotency_keys")
    query = " UNION ALL ".join(f"SELECT '{name}', to_jsonb(t)::text FROM obol.{name} t" for name in tables)
    return lambda: sorted(sql(query))


@pytest.fixture
def refused(contents):
    """`with refused("code"):` what is called raises this problem and changes nothing."""

    @contextmanager
    def check(code):
        before = contents()
        with pytest.raises(Problem) as caught:
            yield caught
        assert caught.value.code == code
        assert contents() == before

    return check
