"""Requests on /v1 that cannot be read, have the wrong shape, or are for nothing that is there."""

import pytest

WRONG_SHAPES = [
    ({"model": None}, "model"),
    ({"model": ""}, "model"),
    ({"model": 7}, "model"),
    ({"model": "m" * 201}, "model"),
    ({"model": "a\0"}, "model"),
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1_000_001}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": 5.0}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"messages": None}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": {}}, "messages"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"fallbacks": ["b"]}, "fallbacks.0.model"),
]


def test_a_request_of_the_wrong_shape(send, new_license, wire_error, upstream):
    license = new_license()
    for fields, field in WRONG_SHAPES:
        details = wire_error(send(license, **fields), "validation_failed")
        assert [error["field"] for error in details["errors"]] == [field], fields
    response = send(license, raw=b"{}")
    details = wire_error(response, "validation_failed")
    assert (response.status_code, response.get_json()["error"]["type"]) == (400, "invalid_request_error")
    assert [error["field"] for error in details["errors"]] == ["model", "max_tokens", "messages"]
    assert upstream.received == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"model": "m", "model": "n"}',
        b'{"max_tokens": NaN}',
        b'{"model": "m", "max_tokens": 9, "messages": [], "temperature": 1e400}',
        b'{"model": "m", "max_tokens": 9, "messages": [{"content": [{"n": -1e400}]}]}',
        b'{"model": "m", "max_tokens": 9, "messages": [], "n": 1.0e+309}',
        b'{"model": "m", "max_tokens": 9, "messages": [], "n": ' + b"1" * 5000 + b"}",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=lambda raw: str(raw[-30:]),
)
def test_what_cannot_be_read(send, new_license, wire_error, upstream, raw):
    wire_error(send(new_license(), raw=raw), "malformed_request")
    assert upstream.received == []


def test_the_largest_number_can_be_read(send, new_license):
    assert send(new_license(), numbers=[1.7976931348623157e308, -1e308, 1e-400, 10**300]).status_code == 200


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_what_is_no_json_and_what_is_too_large(client, new_license, wire_error, upstream, path):
    license = new_license()

    wire_error(client.post(path, data=b"{}", headers=license.headers), "unsupported_media_type")
    large = b" " * (32 * 1024 * 1024 + 1)
    response = client.post(path, data=large, headers=license.headers, content_type="application/json")
    assert wire_error(response, "payload_too_large")["limit_bytes"] == 32 * 1024 * 1024
    assert response.get_json()["error"]["type"] == "request_too_large"
    assert upstream.received == []


def test_there_is_nothing_here(client, new_license, wire_error, upstream):
    for path in ("/v1/nothing", "/v1/", "/v1/messages/", "/v1/messages/batches", "/v1/models/a/b", "/v1//messages"):
        for method in ("GET", "POST"):
            wire_error(client.open(path, method=method, headers=new_license().headers), "not_found")
    for path, method, allow in (
        ("/v1/messages", "GET", {"POST", "OPTIONS"}),
        ("/v1/messages", "DELETE", {"POST", "OPTIONS"}),
        ("/v1/models", "POST", {"GET", "HEAD", "OPTIONS"}),
    ):
        response = client.open(path, method=method, headers=new_license().headers)
        wire_error(response, "method_not_allowed")
        assert set(response.headers["allow"].split(", ")) == allow
    assert upstream.received == []
