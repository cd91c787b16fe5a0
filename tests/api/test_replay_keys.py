"""Replay keys are changed as docs/operating.md says, while two instances serve: what was paid for comes
again from either of them, all the time."""

import pytest

OLD, NEW = "A" * 43, "B" * 43

# What each of two instances has, step by step; each step is one restart of one of them.
ADDED_LAST, MOVED_FIRST = f"{OLD},{NEW}", f"{NEW},{OLD}"
THE_SAME_DAY = [
    (OLD, OLD),
    (ADDED_LAST, OLD),
    (ADDED_LAST, ADDED_LAST),
    (MOVED_FIRST, ADDED_LAST),
    (MOVED_FIRST, MOVED_FIRST),
]
A_DAY_LATER = [(NEW, MOVED_FIRST), (NEW, NEW)]


@pytest.fixture
def ask(make_client, send, new_license):
    """`ask(replay_keys, idempotency_key)`: an answer of an instance with these replay keys."""
    license, clients = new_license(credits=100_000), {}

    def generate(replay_keys, idempotency_key):
        if replay_keys not in clients:
            clients[replay_keys] = make_client(OBOL_REPLAY_KEYS=replay_keys)
        return send(license, "Hi", {"Idempotency-Key": idempotency_key}, clients[replay_keys])

    return generate


def test_every_answer_comes_again_from_either_instance_at_each_step(ask, upstream):
    answers = {}
    for step, instances in enumerate(THE_SAME_DAY + A_DAY_LATER):
        if step == len(THE_SAME_DAY):
            # What the old key has sealed has had its time by now; the last step sealed with the new one.
            answers = {key: answer for key, answer in answers.items() if key.startswith(f"{step - 1}")}
        for number, replay_keys in enumerate(instances):
            key = f"{step}-{number}"
            first = ask(replay_keys, key)
            assert first.status_code == 200
            answers[key] = first.data
        for replay_keys in instances:
            for key, answer in answers.items():
                again = ask(replay_keys, key)
                assert (again.status_code, again.headers.get("obol-replayed"), again.data) == (200, "true", answer)

    assert upstream.calls == 2 * len(THE_SAME_DAY + A_DAY_LATER)


def test_with_the_new_key_first_at_once_an_answer_is_gone_where_the_key_is_not_yet(ask, wire_error):
    ask(MOVED_FIRST, "k")

    wire_error(ask(OLD, "k"), "answer_gone")
