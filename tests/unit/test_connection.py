"""Whether a client is still there, and how an answer leaves for one that is slow."""

import fcntl
import resource
import socket
import struct
import threading
import time

import pytest
from factories import wait_until

from service.http import connection
from service.http.connection import PIECE, as_it_comes, in_time, write_chunk


def test_a_client_that_has_hung_up_is_noticed():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not connection.has_hung_up(ours)
        theirs.send(b"the next request")
        assert not connection.has_hung_up(ours)
        ours.recv(100)
        theirs.close()
        assert connection.has_hung_up(ours)
    assert connection.has_hung_up(ours)


def test_a_client_that_broke_the_connection_has_hung_up():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
        with ours:
            # Closed so, it is reset.
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            wait_until(lambda: connection.has_hung_up(ours), what="the reset")


# select() cannot be asked about a descriptor of 1024 or more.
HIGH = 1100


@pytest.fixture
def many_descriptors():
    """Descriptors above `HIGH` can be had, also where a process has 1024 at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = HIGH + 64

    def allows(limit):
        return limit == resource.RLIM_INFINITY or limit >= needed

    if not allows(hard):
        pytest.skip(f"a process may have {hard} descriptors on this machine (ulimit -Hn), and this needs {needed}")
    # No more than needed: not every system takes a hard limit without end for a soft one.
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft if allows(soft) else needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_client_that_has_hung_up_is_noticed_among_thousands(many_descriptors):
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD, HIGH)) as high:
        assert not connection.has_hung_up(high)
        theirs.close()
        assert connection.has_hung_up(high)


def test_a_client_that_is_there_is_not_waited_for():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # As it is set while an answer is written.
        ours.settimeout(connection.WRITE_STALL_S)
        began_at = time.monotonic()
        assert not connection.has_hung_up(ours)
        assert time.monotonic() - began_at < connection.WRITE_STALL_S / 2
        theirs.close()
        assert connection.has_hung_up(ours)


@pytest.fixture
def pair():
    """Our end and the client's, with the smallest buffers that the system gives."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        theirs.connect(listening.getsockname())
        ours, _ = listening.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    with ours, theirs:
        theirs.settimeout(30)
        yield ours, theirs


def numbered(count, size=1000):
    return [str(number).encode().ljust(size) for number in range(count)]


class Source:
    """Chunks, and how many of them were asked for."""

    def __init__(self, chunks):
        self.asked = 0
        self._chunks = chunks

    def __iter__(self):
        for chunk in self._chunks:
            self.asked += 1
            yield chunk


def read(theirs, length):
    received = bytearray()
    while len(received) < length:
        received += theirs.recv(65536)
    return bytes(received)


def test_a_client_that_reads_gets_each_chunk_before_the_next_one_is_collected(pair):
    ours, theirs = pair
    source = Source(numbered(50))
    for number, piece in enumerate(as_it_comes(source, ours), start=1):
        assert source.asked == number
        ours.sendall(piece)
        assert read(theirs, len(piece)) == piece


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [1000, 40_000])
def test_a_client_that_takes_nothing_does_not_keep_the_upstream_waiting(pair, size):
    """What it has not taken comes later, all of it and in order."""
    ours, theirs = pair
    chunks = numbered(4_000_000 // size, size)
    source, collected = Source(chunks), threading.Event()

    def write():
        for piece in as_it_comes(source, ours):
            if source.asked == len(chunks):
                collected.set()
            ours.sendall(piece)
        ours.close()

    writer = threading.Thread(target=write)
    writer.start()
    # Nobody reads here.
    assert collected.wait(30)
    received = read(theirs, size * len(chunks))
    assert received == b"".join(chunks)
    assert theirs.recv(1) == b""
    writer.join(30)


def test_what_waits_leaves_with_the_next_chunk_that_the_client_takes(monkeypatch):
    """As soon as it reads again, and not only at the end."""
    takes = iter([False, False, False, True, True])
    monkeypatch.setattr(connection, "_takes_more", lambda _: next(takes))
    source = Source([b"a" * PIECE, b"b", b"c"])

    pieces = as_it_comes(source, None)
    assert next(pieces) == b"a" * PIECE
    # The first two were kept.
    assert source.asked == 3
    assert next(pieces) == b"bc"
    assert list(pieces) == []


def test_what_is_kept_for_a_client_is_bounded(monkeypatch):
    monkeypatch.setattr(connection, "_takes_more", lambda _: False)
    monkeypatch.setattr(connection, "MOST_SPOOLED", 10_000)
    source = Source(numbered(50))

    with pytest.raises(BrokenPipeError):
        list(as_it_comes(source, None))
    assert source.asked == 11


def test_no_more_than_a_little_is_kept_in_memory():
    """A thousand clients may not read."""
    with connection._Spool() as spool:
        spool.write(b"a" * 64 * 1024)
        assert not spool._file._rolled
        spool.write(b"b")
        assert spool._file._rolled


def test_a_spool_gives_its_room_back(monkeypatch):
    """A client that is a little slower than the upstream reads for hours."""
    takes = iter([False, True, True] * 30)
    monkeypatch.setattr(connection, "_takes_more", lambda _: next(takes))
    monkeypatch.setattr(connection, "MOST_SPOOLED", 2 * PIECE)

    chunks = [bytes([number]) * PIECE for number in range(60)]
    assert b"".join(as_it_comes(chunks, None)) == b"".join(chunks)


def test_a_whole_answer_is_cut_into_pieces():
    chunks = [b"a" * (2 * PIECE + 1), b"", b"b"]
    assert [len(piece) for piece in in_time(chunks, None)] == [PIECE, PIECE, 1, 1]


@pytest.fixture
def now(monkeypatch):
    """The time, for `in_time`; the test sets it."""
    now = [1000.0]
    monkeypatch.setattr(connection.time, "monotonic", lambda: now[0])
    return now


def test_a_client_that_keeps_the_pace_gets_all_however_long_it_takes(pair, now):
    ours, _ = pair
    pieces = []
    for piece in in_time([b"a" * PIECE] * 1000, ours):
        pieces.append(piece)
        assert ours.gettimeout() == connection.WRITE_STALL_S
        now[0] += PIECE / connection.LEAST_BYTES_PER_S
    assert len(pieces) == 1000
    assert now[0] > 1000 + 10 * connection.WRITE_GRACE_S


def test_a_client_that_takes_a_little_now_and_then_is_given_up(pair, now):
    ours, _ = pair
    pieces = in_time([b"a" * PIECE] * 1000, ours)
    # 60 s, and two for each piece.
    for _ in range(4):
        next(pieces)
        # Less than what one write may take.
        now[0] += 20
    with pytest.raises(BrokenPipeError):
        next(pieces)


def test_the_last_write_has_no_longer_than_is_left(pair, now):
    ours, _ = pair
    pieces = in_time([b"a", b"b"], ours)
    next(pieces)
    now[0] += connection.WRITE_GRACE_S - 1
    next(pieces)
    assert 1 <= ours.gettimeout() < 1.1


def test_a_chunk_is_written_past_the_server_as_the_server_frames_it(pair):
    ours, theirs = pair
    assert write_chunk(ours, b"0123456789abcdefg") == b""
    assert theirs.recv(100) == b"11\r\n0123456789abcdefg\r\n"


def test_of_nothing_there_is_no_chunk_which_would_end_the_response(pair):
    ours, theirs = pair
    assert write_chunk(ours, b"") == b""
    assert not connection.has_hung_up(theirs)
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_a_chunk_that_is_large_or_for_which_there_is_no_room_is_not_written(pair):
    ours, _ = pair
    assert write_chunk(ours, b"a" * (PIECE + 1)) is None
    wait_until(lambda: write_chunk(ours, b"a" * 1000) is None, every_s=0, what="full buffers")
    # As whoever writes to a slow client leaves it: a socket with a timeout would wait, and with it all streams.
    ours.settimeout(600)
    assert write_chunk(ours, b"a" * 1000) is None
