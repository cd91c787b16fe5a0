"""Who may read /metrics: callers on the machine itself, and admin tokens."""

import socket

import pytest
from factories import free_port

from service.http.connection import peer_address

STATUS = {"credentials_missing": 401, "admin_forbidden": 403}
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


@pytest.fixture
def problem():
    """`problem(response, code)`: assert that this is what came; the document."""

    def check(response, code):
        document = response.get_json()
        assert (response.status_code, document["code"]) == (
            {"credentials_missing": 401, "admin_forbidden": 403}[code],
            code,
        )
        return document

    return check


@pytest.fixture
def look(make_client):
    """`look(peer, **headers)`: the response to a request from an address."""
    client = make_client()

    def get(peer, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get("/metrics", headers=named, environ_base={"REMOTE_ADDR": peer})

    return get


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_a_caller_on_this_machine_needs_nothing(look, peer):
    response = look(peer)

    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")
    assert b"# TYPE obol_requests_total counter" in response.data


@pytest.mark.parametrize("peer", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "", "unix:"])
def test_any_other_needs_a_token(look, problem, new_token, peer):
    token = new_token("read")
    problem(look(peer), "credentials_missing")
    problem(look(peer, Authorization=f"Basic {token}"), "credentials_missing")
    problem(look(peer, Authorization="Bearer  "), "credentials_missing")
    problem(look(peer, Authorization=f"Bearer {token}x"), "admin_forbidden")
    other = new_token("grant", "manage", "tokens")
    assert problem(look(peer, Authorization=f"Bearer {other}"), "admin_forbidden")["scope"] == "read"
    problem(look(peer, Authorization="Bearer tökén"), "admin_forbidden")
    assert look(peer, Authorization=f"Bearer {token}").status_code == 200


def test_a_license_key_is_no_admin_token(look, problem, new_license):
    problem(look("192.0.2.7", **new_license().headers), "admin_forbidden")


def test_without_a_token_of_ours_none_is_right(make_client, problem):
    response = make_client().get("/metrics", headers={"Authorization": "Bearer None"}, environ_base=ELSEWHERE)
    problem(response, "admin_forbidden")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"])
def test_a_header_makes_nobody_local_and_a_proxy_s_caller_not_either(look, problem, header):
    problem(look("192.0.2.7", **{header: "127.0.0.1"}), "credentials_missing")
    problem(look("127.0.0.1", **{header: "192.0.2.7"}), "credentials_missing")


def test_the_other_end_of_the_connection_decides_where_there_is_one(make_client, problem):
    client = make_client()
    listener = socket.create_server(("127.0.0.1", 0))
    caller = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    lied = {"gunicorn.socket": accepted} | ELSEWHERE

    assert client.get("/metrics", environ_base=lied).status_code == 200

    for closed in (accepted, caller, listener):
        closed.close()
    problem(client.get("/metrics", environ_base=lied), "credentials_missing")


def test_a_unix_socket_has_no_address(make_client):
    ours, theirs = socket.socketpair()
    assert peer_address(ours) == ""
    assert peer_address(None) == ""
    ours.close()
    theirs.close()


def test_it_is_told_without_a_database(make_client):
    client = make_client(DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    assert client.get("/metrics").status_code == 200
