"""One credit, set aside and given back for ever: each time a hold and a key, for nothing."""

import json
from concurrent.futures import ThreadPoolExecutor

from factories import Served, wait_until

ENVIRON = {"WEB_CONCURRENCY": "2"}

ROUNDS = 300


def test_holds_that_cost_nothing_are_forgotten_with_their_keys(
    bystander, served, urls, upstream, new_license, sql, tmp_path
):
    license = new_license(credits=1)
    kept = {"amount": 1, "expires_in_s": 60}

    def rounds(number):
        for turn in range(ROUNDS // 4):
            key = {"Idempotency-Key": f"{number}-{turn}"}
            status, hold = served.post("/api/v1/holds", json.dumps(kept).encode(), license.headers | key)
            if status == 201:
                hold_id = json.loads(hold)["id"]
                assert served.post(f"/api/v1/holds/{hold_id}/release", b"{}", license.headers)[0] == 200

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rounds, range(4)))
    bystander.is_well()
    rows = f"SELECT count(*) FROM obol.{{}} WHERE license_id = '{license.id}'"
    assert sql(rows.format("holds"))[0][0] > 50

    # A month later. Whatever the service starts with, it forgets first.
    month = "interval '31 days'"
    sql(
        f"UPDATE obol.holds SET opened_at = opened_at - {month}, ended_at = ended_at - {month} WHERE state = 'released'"
    )
    sql(f"UPDATE obol.idempotency_keys SET claimed_at = claimed_at - {month} WHERE license_id = '{license.id}'")
    second = Served(
        {"DATABASE_URL": urls.service, "ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": upstream.url}, tmp_path / "log"
    )
    try:
        second.wait_until_ready()
        for table in ("holds", "idempotency_keys"):
            wait_until(lambda table=table: sql(rows.format(table)) == [(0,)], what=f"no {table}")
        bystander.is_well()
    finally:
        second.stop()
    assert sql(f"SELECT balance, held FROM obol.licenses WHERE license_id = '{license.id}'") == [(1, 0)]
