"""Bodies that take many times their bytes to be understood."""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from factories import wait_until

ENVIRON = {"WEB_CONCURRENCY": "2"}

MEBIBYTE = 1024 * 1024
GENERATE, MESSAGES = "/api/v1/generate", "/v1/messages"

# Sixteen million containers.
NESTED = b'{"model":"m","max_tokens":1,"messages":[' + b"[]," * (10 * MEBIBYTE) + b"[]]}"
# As few values as are allowed, and as dear ones.
DEAR = (
    b'{"model":"m","max_tokens":1,"messages":[' + b'{"a":{}},' * 160_000 + b'{}],"b":"' + b"a" * 28 * MEBIBYTE + b'"}'
)
UNKNOWN = b"{" + b",".join(b'"%06d%s":1' % (number, b"x" * 50) for number in range(400_000)) + b"}"

# What is measured while four large bodies are in hand, two of them parsed.
MOST_MIB = 1500
MOST_LEFT_MIB = 150


@pytest.fixture
def suspended(new_license, sql):
    license = new_license(credits=0)
    sql("UPDATE obol.licenses SET status = 'suspended' WHERE license_id = %s", (str(license.id),))
    return license


@pytest.mark.parametrize("key", ["suspended", "suspended, a retry"])
def test_large_bodies_take_no_memory_that_does_not_come_back(bystander, served, memory, suspended, key):
    headers = {
        "suspended": suspended.headers,
        "suspended, a retry": suspended.headers | {"Idempotency-Key": "k"},
    }[key]
    bodies, most = [NESTED, DEAR, UNKNOWN], 0.0
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(served.try_post, path, body, headers) for path in (GENERATE, MESSAGES) for body in bodies]
        while not all(call.done() for call in calls):
            bystander.is_well()
            most = max(most, memory.now() - memory.before)
            assert most < MOST_MIB
    answers = [call.result() for call in calls]

    assert all(status in (400, 403, 422) and len(body) < 20_000 for status, body in answers), answers
    with suppress(AssertionError):
        wait_until(lambda: memory.now() - memory.before < MOST_LEFT_MIB)
    assert memory.now() - memory.before < MOST_LEFT_MIB, f"of {most:.0f} MiB"
    sys.stdout.write(f"{most:.0f} MiB more at most, {memory.now() - memory.before:.0f} MiB in the end\n")


# Bodies that never come whole, each as much as may be in hand of one license in a worker in six of them.
MANY, SENT = 60, 20 * MEBIBYTE


def test_bodies_that_do_not_come_to_an_end_have_no_more_room_than_there_is(
    bystander, served, connect, memory, new_license
):
    license, most = new_license(credits=1000), 0.0
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"x-api-key: {license.raw_key}\r\nContent-Length: {30 * MEBIBYTE}\r\n\r\n"
    ).encode()
    connections = []
    for _ in range(MANY):
        # All but what was refused of it is taken, or what is refused is read and thrown away.
        connections.append(connect(head + b" " * SENT))
        most = max(most, memory.now() - memory.before)
        bystander.is_well()
    wait_until(lambda: any(is_refused(connection) for connection in connections))

    # Twice the half of what a worker has, and what is received is put together from pieces.
    assert most < 500
    # Somebody else's comes through.
    other = b'{"model":"m","max_tokens":1,"messages":[],"b":"' + b"a" * MEBIBYTE + b'"}'
    assert served.post(MESSAGES, other, new_license(credits=10**9).headers)[0] == 200
    sys.stdout.write(f"{most:.0f} MiB more at most\n")


def is_refused(connection):
    """Whether a connection was told that there is no room."""
    connection.setblocking(False)
    try:
        said = connection.recv(65536, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return said.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: 1\r\n" in said


def test_a_hundred_refusals_in_a_row_leave_nothing_behind(bystander, served, memory, suspended):
    # Parsed each time, because a retry may be for an answer that is paid for.
    headers = suspended.headers | {"Idempotency-Key": "k"}
    body = b'{"model":"m","max_tokens":1,"messages":[' + b'{"a":{}},' * 6_000 + b'{}],"b":"' + b"a" * MEBIBYTE + b'"}'
    for _ in range(12):
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda path: served.post(path, body, headers), [GENERATE, MESSAGES] * 5))
        assert all(status in (400, 403, 422) for status, _ in answers), answers
        bystander.is_well()

    with suppress(AssertionError):
        wait_until(lambda: memory.now() - memory.before < MOST_LEFT_MIB)
    assert memory.now() - memory.before < MOST_LEFT_MIB
    sys.stdout.write(f"{memory.now() - memory.before:.0f} MiB more after 120 refusals\n")
