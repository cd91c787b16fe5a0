"""Clients that go away in the middle of a generation."""

import json
import socket

from factories import wait_until

BODY = json.dumps({"prompt": "[sandbox delay_ms=700] Hello", "max_tokens": 50}).encode()


def hang_up_during(served, license, until):
    """Send a generation, wait until it runs, and close the connection."""
    head = (
        f"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {license.raw_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(head.encode() + BODY)
        wait_until(until, what="the generation running")


def test_an_answer_to_nobody_is_charged_listed_and_refundable(serve, new_license, sql, verified):
    served = serve()
    license = new_license(credits=1000)

    hang_up_during(served, license, lambda: sql("SELECT 1 FROM obol.holds WHERE state = 'held'"))

    wait_until(lambda: sql("SELECT 1 FROM obol.holds WHERE state = 'settled'"), what="the settlement")
    ((license_id, charge),) = sql("SELECT license_id::text, charge FROM obol.undelivered_holds")
    assert license_id == str(license.id)
    assert sql("SELECT balance, held FROM obol.licenses") == [(1000 - charge, 0)]
    verified()


def test_a_delivered_answer_is_noted_with_the_heartbeat(serve, new_license, sql):
    served = serve()
    license = new_license(credits=1000)

    assert served.post("/api/v1/generate", BODY, license.headers)[0] == 200

    wait_until(lambda: sql("SELECT 1 FROM obol.holds WHERE delivered_at IS NOT NULL"), what="the note")
    assert sql("SELECT * FROM obol.undelivered_holds") == []
