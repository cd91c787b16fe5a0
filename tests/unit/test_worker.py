"""What the worker does where a real server seldom comes."""

import errno
import socket
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import ThreadWorker

from service import worker as module
from service.worker import Client, Connection, Patience, Worker


@pytest.fixture
def pair():
    """A client's end and the server's, which has all patience."""
    theirs, accepted = socket.socketpair()
    ours = Connection(accepted)
    ours.reading = ours.writing = Patience(10, 1024)
    with theirs, ours:
        yield theirs, ours


@pytest.fixture
def worker(monkeypatch):
    """A worker that serves nobody; `worker.given` are the connections that were given a thread."""
    made = Worker(1, 1, [], None, 30, Config(), None)
    made.cfg.set("threads", 10)
    made.poller = module.selectors.DefaultSelector()
    made.tpool = SimpleNamespace(take_thread=lambda: True)
    made.given = []
    monkeypatch.setattr(ThreadWorker, "enqueue_req", lambda self, conn: self.given.append(conn))
    yield made
    made.poller.close()
    made.tmp.close()


def client_of(worker, ours):
    worker.nr_conns += 1
    return Client(worker.cfg, ours, ("127.0.0.1", 1), ("127.0.0.1", 2))


def test_a_client_that_sends_nothing_is_waited_for_no_longer_than_there_is_patience(pair):
    theirs, ours = pair
    ours.reading = Patience(0, 1024)
    with pytest.raises(ConnectionResetError):
        ours.recv(10)
    theirs.sendall(b"abc")
    assert ours.recv(10, socket.MSG_PEEK) == ours.recv(10) == b"abc"


def test_a_client_that_takes_nothing_is_given_up_and_one_that_takes_something_has_more_time(pair):
    _, ours = pair
    ours.writing = Patience(0.05, 1024**3)
    with pytest.raises(BrokenPipeError):
        ours.sendall(b"a" * 10_000_000)
    assert ours.gettimeout() is None

    patience = Patience(10, 1024)
    patience.left_s = 1
    patience.reward(2048)
    assert patience.left_s == 3
    patience.reward(10**9)
    assert patience.left_s == 10


def test_a_shorter_time_limit_of_somebody_else_holds(pair):
    _, ours = pair
    ours.settimeout(0.01)
    began_at = time.monotonic()
    with pytest.raises(BrokenPipeError):
        ours.sendall(b"a" * 10_000_000)
    assert time.monotonic() - began_at < 5


def test_who_does_not_wait_is_not_made_to(pair):
    _, ours = pair
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.sendall(b"a" * 10_000_000)
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_where_nobody_can_tell_what_is_unread_nothing_is(pair, monkeypatch):
    def fail(*_):
        raise OSError

    monkeypatch.setattr(module, "ioctl", fail)
    assert not pair[1].has_unread()


def accept_without(worker, number):
    """Accept a connection where the system has none to give."""

    def accept():
        raise OSError(number, "")

    worker.accept(SimpleNamespace(accept=accept))
    worker.murder_pending()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN])
def test_a_worker_without_a_descriptor_closes_who_has_waited_longest(worker, pair, number):
    worker.enqueue_req(client_of(worker, pair[1]))

    accept_without(worker, number)

    assert worker.nr_conns == (0 if number == errno.EMFILE else 1)
    assert worker._make_room() == (number == errno.EAGAIN)


def test_a_worker_that_can_make_no_room_does_not_try_again_at_once(worker, clock_ahead):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker.sockets = [listener]
        worker.set_accept_enabled(True)
        accept_without(worker, errno.EMFILE)
        assert not worker._accepting

        # As the main loop asks for it, again and again.
        worker.set_accept_enabled(True)
        assert not worker._accepting
        clock_ahead(module.ACCEPT_PAUSE_S)
        worker.murder_pending()
        worker.set_accept_enabled(True)
        assert worker._accepting


def test_a_kept_connection_makes_room_before_one_that_has_just_come(worker):
    worker.worker_connections = 3
    kept, ends = [], []
    for _ in range(3):
        theirs, accepted = socket.socketpair()
        ends.append(theirs)
        kept.append(client_of(worker, Connection(accepted)))
    # As gunicorn keeps them, whose last requests are answered; the third has just come.
    for conn in kept[:2]:
        conn.set_timeout()
        worker.keepalived_conns.append(conn)
        worker.poller.register(conn.sock, module.selectors.EVENT_READ, None)
    worker.enqueue_req(kept[2])

    worker.murder_pending()

    assert (list(worker.keepalived_conns), worker.nr_conns) == ([kept[1]], 2)
    assert ends[0].recv(1) == b""
    assert list(worker._arriving) == [kept[2]]
    worker._make_room()
    worker._make_room()
    assert worker.nr_conns == 0
    for end in ends:
        end.close()


@pytest.mark.parametrize("setting", [("certfile", "c"), ("http_protocols", "h2,h1")])
def test_tls_and_http_2_are_left_to_gunicorn(worker, pair, monkeypatch, setting):
    worker.cfg.set(*setting)
    finished = []
    monkeypatch.setattr(ThreadWorker, "finish_request", lambda self, conn, fs: finished.append(conn))
    conn, done = client_of(worker, pair[1]), Future()
    done.set_result(False)

    worker.enqueue_req(conn)
    worker.finish_request(conn, done)

    assert worker.given == finished == [conn]
    # There a thread waits for the header, too.
    assert pair[1].reading.left_s == module.READ_STALL_S


def test_a_request_whose_client_left_in_its_body_is_handed_on(worker, pair):
    theirs, ours = pair
    theirs.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
    theirs.shutdown(socket.SHUT_WR)
    conn = client_of(worker, ours)
    worker.enqueue_req(conn)
    while not worker.given:
        worker._collect(conn)
    assert conn.parser.unreader.buf.getvalue().endswith(b"half")


def test_a_connection_that_broke_is_closed(worker, pair, monkeypatch):
    _, ours = pair
    conn, done = client_of(worker, ours), Future()
    done.set_result(False)
    ours.close()
    worker.finish_request(conn, done)
    assert worker.nr_conns == 0

    monkeypatch.setattr(Connection, "recv", lambda *_: (_ for _ in ()).throw(ConnectionResetError()))
    accepted, other = socket.socketpair()
    broken = client_of(worker, Connection(accepted))
    worker.enqueue_req(broken)
    assert worker.nr_conns == 0
    leaving = client_of(worker, Connection(other))
    worker.finish_request(leaving, done)
    worker._linger(leaving, None)
    assert worker.nr_conns == 0


def test_what_has_waited_too_long_is_closed_and_what_was_read_goes_on(worker, monkeypatch):
    monkeypatch.setattr(Connection, "has_unread", lambda self: self in unread)
    unread, ends = [], []
    for _ in range(2):
        theirs, accepted = socket.socketpair()
        ends.append(theirs)
        ours = Connection(accepted)
        unread.append(ours)
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        worker.enqueue_req(client_of(worker, ours))
    assert (worker.given, len(worker._unread)) == ([], 2)

    unread.pop()
    worker.murder_pending()
    assert len(worker.given) == 1
    for conn in worker._unread:
        worker._unread[conn] = 0
    worker.murder_pending()
    assert worker._unread == {}
    assert ends[0].recv(1) == b""
    for end in ends:
        end.close()
    worker.given[0].sock.close()


@pytest.mark.parametrize("alive", [True, False])
def test_a_client_that_is_seen_off_and_does_not_close_is_closed_in_time(worker, pair, clock_ahead, alive):
    theirs, ours = pair
    conn, done = client_of(worker, ours), Future()
    done.set_result(False)
    worker.alive = alive
    worker.finish_request(conn, done)
    limit_s = module.LINGER_S if alive else module.STOPPING_LINGER_S

    clock_ahead(limit_s - 1)
    worker.murder_pending()
    assert worker.nr_conns == 1
    clock_ahead(2)
    worker.murder_pending()
    assert worker.nr_conns == 0
    assert theirs.recv(1) == b""


@pytest.fixture
def clock_ahead(monkeypatch):
    """`clock_ahead(seconds)`: so much more time has passed for the worker."""
    ahead, monotonic = [0], module.time.monotonic
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: monotonic() + ahead[0]))
    return lambda seconds: ahead.__setitem__(0, ahead[0] + seconds)


def test_who_finds_no_thread_has_the_next_one_and_who_finds_none_in_time_is_refused(worker, monkeypatch):
    refused = []
    monkeypatch.setattr(module.util, "write_error", lambda _sock, *said: refused.append(said))
    monkeypatch.setattr(ThreadWorker, "finish_request", lambda *_: None)
    worker.cfg.set("threads", 1)
    ends = []

    def arrive(request):
        ends.append(socket.socketpair())
        ends[-1][0].sendall(request + b" HTTP/1.1\r\n\r\n")
        worker.enqueue_req(client_of(worker, Connection(ends[-1][1])))

    def finish(conn):
        done = Future()
        done.set_result(True)
        worker.finish_request(conn, done)

    arrive(b"GET /api/v1/license")
    arrive(b"GET /api/v1/prices")
    assert len(worker.given) == 1
    arrive(b"GET /healthz")
    assert len(worker.given) == 2, "who watches needs no thread of the others"

    finish(worker.given[1])
    assert len(worker.given) == 2
    finish(worker.given[0])
    assert len(worker.given) == 3

    monkeypatch.setattr(module, "THREAD_WAIT_S", 0)
    arrive(b"POST /v1/messages")
    worker.murder_pending()
    worker.murder_pending()

    (said,) = refused
    assert said == (503, "Service Unavailable", "/v1/messages HTTP/1.1\r\n\r\n")
    finish(worker.given[2])
    assert len(worker.given) == 3
    for theirs, _ in ends:
        theirs.close()
    for conn in [*worker.given, *worker._leaving]:
        conn.sock.close()


@pytest.fixture
def no_more_threads(worker):
    """The system starts none, until `no_more_threads.clear()`."""
    refusing = [True]
    worker.tpool = SimpleNamespace(take_thread=lambda: not refusing)
    return refusing


def test_who_no_thread_is_started_for_waits_for_one_and_is_refused_in_time(
    worker, clock_ahead, no_more_threads, monkeypatch
):
    refused = []
    monkeypatch.setattr(module.util, "write_error", lambda _sock, *said: refused.append(said[0]))
    pairs = [socket.socketpair() for _ in range(3)]
    for theirs, accepted in pairs:
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        worker.enqueue_req(client_of(worker, Connection(accepted)))
    assert (worker.given, worker._threads_taken, len(worker._ready)) == ([], 0, 3)

    worker._ready[next(iter(worker._ready))] = 0
    worker.murder_pending()
    assert refused == [503]

    no_more_threads.clear()
    worker.murder_pending()
    assert (len(worker.given), worker._threads_taken, worker._ready) == (2, 2, {})
    for theirs, _ in pairs:
        theirs.close()
    for conn in [*worker.given, *worker._leaving]:
        conn.sock.close()


def test_where_a_thread_would_have_to_say_so_who_finds_none_is_closed(worker, pair, no_more_threads):
    worker.cfg.set("certfile", "c")
    worker.enqueue_req(client_of(worker, pair[1]))
    assert (worker.given, worker.nr_conns) == ([], 0)
    assert pair[0].recv(1) == b""


def test_there_are_threads_for_who_watches(worker):
    with worker.get_thread_pool() as pool:
        assert pool._max_workers == 10 + 4
