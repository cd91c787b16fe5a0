"""What limits refuse, what counts in them, and how every end of a hold corrects it."""

from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import holds, ledger, licenses
from service.repository.holds import HoldAmounts

PRICE = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 1_000_000)


@pytest.fixture
def exceeded(refused):
    """`with exceeded("limit", used): …` is refused for this limit, and changes nothing."""

    class Exceeded:
        def __init__(self, name, used, of="key"):
            self.expected = {"limit": name, "used": used, "limit_of": of}
            self.context = refused("limit_exceeded")

        def __enter__(self):
            self.caught = self.context.__enter__()
            return self

        def __exit__(self, *error):
            ended = self.context.__exit__(*error)
            extra = self.caught.value.extra
            assert self.expected.items() <= extra.items()
            assert self.caught.value.retry_after == extra["retry_after_s"] >= 1
            self.extra = extra
            return ended

    return Exceeded


def test_as_many_calls_as_a_minute_has_and_no_more(new_license, new_key, deduct, client_hold, exceeded):
    license = new_license()
    key = new_key(license, requests_per_minute=3)
    deduct(key)
    client_hold(key)
    deduct(key)
    with exceeded("requests_per_minute", 3) as refusal:
        deduct(key)
    assert refusal.extra["limit_value"] == 3
    assert 15 <= refusal.extra["retry_after_s"] <= 20
    with exceeded("requests_per_minute", 3):
        client_hold(key)
    deduct(license)


def test_calls_come_back_one_by_one(new_license, new_key, deduct, exceeded, sql):
    key = new_key(new_license(), requests_per_minute=3)
    for _ in range(3):
        deduct(key)
    sql("UPDATE obol.limit_states SET next_call_at = next_call_at - interval '20 seconds'")
    deduct(key)
    with exceeded("requests_per_minute", 3):
        deduct(key)


def test_no_more_open_holds_than_there_may_be(new_license, new_key, client_hold, process_hold, deduct, exceeded, db):
    key = new_key(new_license(), concurrent_holds=2)
    first = client_hold(key)
    process_hold(key)
    with exceeded("concurrent_holds", 2) as refusal:
        client_hold(key)
    assert refusal.extra["retry_after_s"] == 1
    deduct(key)
    holds.release(db, key.key, first.hold_id)
    client_hold(key)


@pytest.mark.parametrize("window", ["credits_per_day", "credits_per_month"])
def test_no_more_credits_than_a_window_has(new_license, new_key, deduct, client_hold, exceeded, used, window):
    key = new_key(new_license(), **{window: 100})
    deduct(key, 30)
    client_hold(key, 60)
    with exceeded(window, 90):
        deduct(key, 11)
    with exceeded(window, 90):
        client_hold(key, 11)
    deduct(key, 10)
    assert used(key.key_id) == (1, 100, 100)


@pytest.mark.parametrize(("window", "ago"), [("credits_per_day", "1 day"), ("credits_per_month", "1 month")])
def test_a_window_begins_anew(new_license, new_key, deduct, exceeded, used, sql, window, ago):
    key = new_key(new_license(), **{window: 100})
    deduct(key, 100)
    with exceeded(window, 100):
        deduct(key)
    # As if all of it had been then.
    sql(f"""
        UPDATE obol.limit_states SET day = day - interval '{ago}', month = date_trunc('month', day - interval '{ago}');
        UPDATE obol.ledger_entries SET created_at = created_at - interval '{ago}'
    """)
    deduct(key, 100)
    assert used(key.key_id)[1] == 100


def test_a_process_s_hold_is_lowered_to_what_a_window_has_left(
    db, new_license, new_key, process_id, deduct, used, money
):
    license = new_license()
    key = new_key(license, credits_per_day=100)
    deduct(key, 30)

    def ask(amount, least):
        return holds.open_for_process(
            db, key.key, uuid4(), process_id=process_id, amounts=HoldAmounts(amount, least), model="m", price=PRICE
        )

    opened = ask(90, 50)
    assert (opened.amount, opened.available) == (70, 900)
    assert used(key.key_id) == (1, 100, 100)
    assert money(license) == (970, 70)
    with pytest.raises(Problem, match="limit_exceeded"):
        ask(90, 1)


def test_what_is_available_lowers_it_further(db, new_license, new_key, process_id, used):
    key = new_key(new_license(credits=40), credits_per_day=100)
    opened = holds.open_for_process(
        db, key.key, uuid4(), process_id=process_id, amounts=HoldAmounts(90, 10), model="m", price=PRICE
    )
    assert opened.amount == 40
    assert used(key.key_id) == (1, 40, 40)


def test_models_that_are_not_allowed(
    db, new_license, new_key, process_hold, process_id, deduct, client_hold, used, refused
):
    key = new_key(new_license(), models=["a-model", "claude-*"])
    process_hold(key)
    for call in (
        lambda: holds.open_for_process(
            db, key.key, uuid4(), process_id=process_id, amounts=HoldAmounts(1, 1), model="mm", price=PRICE
        ),
        lambda: holds.check_admission(db, key.key, uuid4(), model="mm", price=PRICE),
    ):
        with refused("model_not_allowed") as caught:
            call()
        assert caught.value.extra == {"limit": "models", "limit_of": "key", "allowed": ["a-model", "claude-*"]}
        assert caught.value.type.status == 403
    assert holds.check_admission(db, key.key, uuid4(), model="claude-x", price=PRICE).outcome == "checked"
    deduct(key)
    client_hold(key)
    # Nothing of it is a number, so nothing is counted.
    assert used(key.key_id) is None


def test_a_license_s_limit_is_for_all_of_its_keys(owner, new_license, new_key, deduct, used, exceeded):
    license, other = new_license(), new_license()
    licenses.set_license(owner, license.id, limits={"credits_per_day": 10})
    key = new_key(license, credits_per_day=7)
    deduct(license, 4)
    deduct(key, 6)
    assert (used(license.id), used(key.key_id)) == ((0, 10, 10), (0, 6, 6))
    with exceeded("credits_per_day", 10, of="license"):
        deduct(license)
    with exceeded("credits_per_day", 10, of="license"):
        deduct(key)
    with exceeded("credits_per_day", 6):
        deduct(key, 2)
    deduct(other, 11)
    assert used(other.key_id) is None


# The order


def test_limits_come_after_the_state_of_the_license(new_license, new_key, deduct, sql, refused):
    license = new_license()
    key = new_key(license, credits_per_day=1)
    deduct(key)
    sql("UPDATE obol.licenses SET status = 'suspended'")
    with refused("license_inactive"):
        deduct(key)
    sql("UPDATE obol.licenses SET status = 'active', expires_at = created_at")
    with refused("license_expired"):
        deduct(key)


def test_limits_come_before_price_and_credits(db, new_license, new_key, process_id, deduct, exceeded, refused):
    key = new_key(new_license(credits=5), requests_per_minute=1, models=["m"])
    with refused("model_not_allowed"):
        holds.check_admission(db, key.key, uuid4(), model="other", price=None)
    with refused("model_not_priced"):
        holds.check_admission(db, key.key, uuid4(), model="m", price=None)
    with refused("insufficient_credits"):
        deduct(key, 6)
    deduct(key, 5)
    with exceeded("requests_per_minute", 1):
        deduct(key, 6)
    for call in (
        lambda: holds.check_admission(db, key.key, uuid4(), model="m", price=None),
        lambda: holds.open_for_process(
            db, key.key, uuid4(), process_id=process_id, amounts=HoldAmounts(9, 9), model="m", price=None
        ),
    ):
        with exceeded("requests_per_minute", 1):
            call()


def test_a_hold_of_more_than_there_is_gets_what_its_limit_lets(new_license, new_key, process_hold, used):
    """What is asked for is neither there nor let through; less than what is there is."""
    key = new_key(new_license(credits=100), credits_per_day=50)
    assert process_hold(key, 200, least=10).amount == 50
    other = new_key(new_license(credits=40), credits_per_day=50)
    assert process_hold(other, 200, least=10).amount == 40
    assert (used(key.key_id), used(other.key_id)) == ((1, 50, 50), (1, 40, 40))


def test_a_replay_counts_nothing(new_license, new_key, deduct, client_hold, used):
    key = new_key(new_license(), requests_per_minute=2, credits_per_day=100)
    first = deduct(key, 10, key="d")
    opened = client_hold(key, 20, key="h")
    assert deduct(key, 10, key="d") == first
    assert client_hold(key, 20, key="h").hold_id == opened.hold_id
    assert used(key.key_id) == (1, 30, 30)


# Ends


def test_what_is_settled_counts_with_its_charge(new_license, new_key, process_hold, settle, used):
    key = new_key(new_license(), concurrent_holds=1)
    hold = process_hold(key, 50)
    assert used(key.key_id) == (1, 50, 50)
    settle(key, hold, 20)
    settle(key, hold, 20)
    assert used(key.key_id) == (0, 20, 20)


def test_usage_beyond_the_hold_counts(new_license, new_key, process_hold, settle, used):
    key = new_key(new_license(), credits_per_day=50)
    settle(key, process_hold(key, 50), 70)
    assert used(key.key_id) == (0, 70, 70)


def test_what_is_released_counts_for_nothing(db, new_license, new_key, client_hold, process_hold, process_id, used):
    key = new_key(new_license(), credits_per_month=500)
    ours, theirs = client_hold(key, 10), process_hold(key, 20)
    for _ in range(2):
        holds.release(db, key.key, ours.hold_id)
        holds.release(db, key.key, theirs.hold_id, process_id=process_id)
    assert used(key.key_id) == (0, 0, 0)


def test_what_expires_counts_for_nothing_and_settled_late_again(
    new_license, new_key, process_hold, client_hold, overdue, reap, lapse, settle, used
):
    key = new_key(new_license(), credits_per_day=500)
    late, theirs = process_hold(key, 50), client_hold(key, 5)
    overdue(theirs)
    reap()
    assert used(key.key_id)[0] == 1
    lapse()
    assert used(key.key_id)[:2] == (0, 0)
    settle(key, late, 30)
    assert used(key.key_id) == (0, 30, 30)


def test_what_is_released_after_it_expired_changes_nothing(
    db, new_license, new_key, process_hold, process_id, lapse, used
):
    key = new_key(new_license(), credits_per_day=500)
    hold = process_hold(key, 50)
    lapse()
    holds.release(db, key.key, hold.hold_id, process_id=process_id)
    assert used(key.key_id) == (0, 0, 0)


def test_a_hold_of_a_day_that_is_over_changes_only_the_month(new_license, new_key, process_hold, settle, used, sql):
    """The day of the hold, not that of its end."""
    key = new_key(new_license(), credits_per_day=500)
    hold = process_hold(key, 50)
    sql("UPDATE obol.limit_states SET day = day + 1, day_credits = 0")
    settle(key, hold, 20)
    assert used(key.key_id) == (0, 0, 20)


def test_a_hold_that_did_not_count_corrects_nothing(owner, new_license, process_hold, settle, used):
    license = new_license()
    before = process_hold(license, 50)
    licenses.set_license(owner, license.id, limits={"concurrent_holds": 5})
    process_hold(license, 10)
    settle(license, before, 20)
    assert used(license.id) == (1, 10, 10)


def test_a_hold_that_counted_is_corrected_though_there_is_no_limit_any_more(
    owner, new_license, process_hold, settle, used
):
    license = new_license()
    licenses.set_license(owner, license.id, limits={"concurrent_holds": 5})
    hold = process_hold(license, 10)
    assert licenses.set_license(owner, license.id, limits={"concurrent_holds": None}).limits is None
    process_hold(license, 10)
    settle(license, hold, 4)
    assert used(license.id) == (0, 4, 4)


def test_a_refund_gives_no_credits_of_a_window_back(new_license, new_key, deduct, refund, used):
    license = new_license()
    key = new_key(license, credits_per_day=100)
    refund(license, deduct(key, 40).deduction_id)
    assert used(key.key_id) == (0, 40, 40)


def test_an_operator_s_deduction_keeps_the_license_s_limits_and_no_key_s(
    owner, new_license, new_key, exceeded, used, sql
):
    license = new_license()
    key = new_key(license, credits_per_day=1)
    sql(
        "UPDATE obol.license_keys SET expires_at = created_at + interval '1 hour' WHERE key_id <> %s",
        (str(key.key_id),),
    )

    def take(amount):
        return ledger.deduct_by_id(
            owner, license.id, uuid4(), amount=amount, idempotency_key=str(uuid4()), fingerprint=b"f"
        )

    take(50)
    licenses.set_license(owner, license.id, limits={"credits_per_day": 60})
    with exceeded("credits_per_day", 0, of="license"):
        take(61)
    take(60)
    assert (used(license.id), used(key.key_id)) == ((0, 60, 60), None)
    assert sql("SELECT last_used_at FROM obol.license_keys WHERE last_used_at IS NOT NULL") == []


def test_a_limit_that_begins_while_a_call_waits_for_the_row_holds(db, new_license, at_once, sql):
    license = new_license()
    (outcome,) = at_once(
        license,
        [lambda: ledger.deduct(db, license.key, uuid4(), amount=2)],
        lambda cursor: cursor.execute("""UPDATE obol.licenses SET limits = '{"credits_per_day": 1}'"""),
    )
    assert outcome == "limit_exceeded"
