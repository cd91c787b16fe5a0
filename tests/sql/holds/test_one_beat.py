"""obol.due_holds and obol.expire_holds, as the heartbeat calls them when a dead process has left very much."""

import sys
import time
from uuid import uuid4

from service import lease
from service.db import Database
from service.lease import Lease
from service.repository import holds

MANY = 3000


def test_one_beat_gives_back_what_a_dead_process_has_left_on_three_thousand_licenses(urls, db, sql):
    sql(
        """
        INSERT INTO obol.licenses (license_id, name, balance, held, entry_count, allotted_entry_no, fingerprint,
                                   created_at)
        SELECT gen_random_uuid(), '', 1000, 100, 1, 1, '', clock_timestamp() FROM generate_series(1, %(many)s);
        INSERT INTO obol.ledger_entries (license_id, entry_no, kind, amount, balance_after, cause_id, created_at)
        SELECT license_id, 1, 'grant', 1000, 1000, license_id, clock_timestamp() FROM obol.licenses;
        INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started, reason,
                                 created_at)
        SELECT license_id, license_id, 1000, 1000, 50, clock_timestamp(), true, 'purchase', clock_timestamp()
          FROM obol.licenses;
        INSERT INTO obol.admin_acts (acted_at, actor, act, license_id, target, detail)
        SELECT created_at, 'cli:x', 'grant_credits', license_id, license_id::text, '{"amount": 1000}'
          FROM obol.licenses;
        INSERT INTO obol.holds (license_id, hold_id, amount, process_id, available_after, opened_at)
        SELECT license_id, gen_random_uuid(), 100, %(dead)s, 900, clock_timestamp() FROM obol.licenses
        """,
        {"many": MANY, "dead": str(uuid4())},
    )
    # Its clock stands still: however slow the machine, the beat has time for all of it.
    database = Database(urls.service, pool_size=lease.CONNECTIONS, wait_s=5)
    living = Lease(database, 30, clock=lambda: 0.0)

    began = time.monotonic()
    living.beat()
    sys.stdout.write(f"{MANY} holds given back in {time.monotonic() - began:.1f} s\n")

    database.close()
    assert sql("SELECT state, count(*) FROM obol.holds GROUP BY state") == [("expired", MANY)]
    assert sql("SELECT count(*), sum(balance), sum(held) FROM obol.licenses") == [(MANY, 1000 * MANY, 0)]
    assert holds.due(db) == []
