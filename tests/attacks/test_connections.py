"""More connections than threads, each of which does as little as it can."""

import pytest
from factories import wait_until

ENVIRON = {"WEB_CONCURRENCY": "2"}

# Two workers of 64 threads, and some.
MANY = 140

HALF_A_HEADER = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Half: "
HALF_A_BODY = (
    b"POST /api/v1/deductions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
    b'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"amount": '
)
HALF_A_CHUNK = (
    b"POST /api/v1/deductions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n{"
)
NOT_EVEN_THAT = b"\r\n\r\n"
# The longest free answer, again and again.
UNREAD = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100


def has_ended(connection):
    """Whether the server has closed a connection; what it said is read."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    "request_",
    [HALF_A_HEADER, HALF_A_BODY, HALF_A_CHUNK, NOT_EVEN_THAT],
    ids=["header", "body", "chunk", "nothing"],
)
def test_half_a_request_has_no_thread_and_not_for_long(bystander, connect, request_):
    connections = [connect(request_) for _ in range(MANY)]

    for _ in range(5):
        bystander.is_well()
    wait_until(lambda: all(has_ended(connection) for connection in connections), 30, "the end of the connections")
    bystander.is_well()


def test_an_answer_that_nobody_reads_has_no_thread_and_not_for_long(bystander, connect, descriptors):
    before = descriptors()
    for _ in range(MANY):
        connect(UNREAD, receive_buffer=4096)

    for _ in range(5):
        bystander.is_well()
    wait_until(lambda: descriptors() < before + MANY / 2, 30, "the end of the connections")
    bystander.is_well()
