"""Whoever has stolen the service's login calls every function that it may call, with what can be known of somebody
else's license: all ids, but no key, no token, and not which process is at work."""

import json
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import psycopg2
import pytest

from service import keys, operator
from service.pricing import CLASSES
from service.repository import holds, ledger, licenses, processes, usage, webhooks
from service.repository.holds import HoldAmounts

# Each function of Obol's that the login may call: what is new is here without being listed.
EXECUTABLE = """
    SELECT p.proname::text, p.proargnames[1:p.pronargs]::text[],
           ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n),
           'bytea'::regtype = ANY (COALESCE(p.proallargtypes[p.pronargs + 1:], ARRAY[p.prorettype]))
      FROM pg_proc p
     WHERE p.pronamespace = 'obol'::regnamespace AND has_function_privilege('obol_service', p.oid, 'EXECUTE')
     ORDER BY 1, 3
"""
TABLES = """
    SELECT c.relname::text FROM pg_class c
     WHERE c.relnamespace = 'obol'::regnamespace AND c.relkind = 'r'
       -- What anybody may hurry on, and what says nothing but who is alive.
       AND c.relname NOT IN ('usage_rollups', 'usage_watermarks', 'business_rollups', 'processes')
     ORDER BY 1
"""
CALLS = 40

# The arguments have other types than the function's.
NO_CALL = {"42883", "22P02", "42804", "42725", "42601"}
SECRET = "Ada's own"
PRICE = dict.fromkeys(CLASSES, 1_000_000)


class Victim:
    """A license with one of each thing, some of it at its limit; and what of it is nobody else's to know."""

    def __init__(self, db, owner, license):
        self.license = license
        self.process_id, key = uuid4(), license.key
        processes.heartbeat(db, self.process_id, 60)
        name = f"{SECRET} {license.id}"
        self.token = operator.create_token(owner, name=name, scopes=["read", "grant", "manage", "tokens"]).token
        licenses.set_license(owner, license.id, name=SECRET, limits={"concurrent_holds": 3, "credits_per_day": 200})
        self.other = operator.create_key(owner, license.id, name=SECRET, limits={"requests_per_minute": 1})
        self.grant_id = operator.grant_credits(owner, license.id, 50, reference=SECRET).grant_id
        self.deduction_id, self.settled, self.client_s, self.live = uuid4(), uuid4(), uuid4(), uuid4()
        ledger.deduct(
            db, key, self.deduction_id, amount=5, reference=SECRET, idempotency_key="d", fingerprint=b"f" * 32
        )
        for hold_id, name in ((self.settled, "s"), (self.live, "l")):
            holds.open_for_process(
                db, key, hold_id, process_id=self.process_id, amounts=HoldAmounts(20, 20), model=SECRET, price=PRICE,
                idempotency_key=name, fingerprint=b"f" * 32,
            )  # fmt: skip
        holds.settle(
            db, key, self.settled, amount=7, process_id=self.process_id, usage={"output": 7},
            answer=b"keyid001an answer that was paid for", answer_ttl_s=3600,
        )  # fmt: skip
        holds.open_for_client(db, key, self.client_s, amount=30, expires_in_s=600, reference=SECRET)
        parsed = keys.parse(self.other.license_key)
        self.secrets = (
            SECRET, str(self.process_id), "answer", b"an answer".hex(), (b"f" * 32).hex(), license.key.digest.hex(),
            parsed.digest.hex(), keys.parse_token(self.token).hex(),
        )  # fmt: skip


@pytest.fixture
def victim(db, owner, new_license, sql):
    victim = Victim(db, owner, new_license(credits=100))
    # Anybody may have done late what is done late, and told once an hour; then there is nothing left of it to do.
    sql(f"SELECT obol.bring_up_to_date('{victim.license.id}', true)")
    webhooks.tell_upstream_refusal(db, 401)
    return victim


@pytest.fixture
def world(sql):
    """`world()`: every row of every table that is not for anybody to change."""
    tables = [table for (table,) in sql(TABLES)]
    query = " UNION ALL ".join(f"SELECT '{table}', to_jsonb(t)::text FROM obol.{table} t" for table in tables)
    return lambda: sorted(sql(query))


@pytest.fixture
def attack(urls):
    """`attack(statement)`: what came of it, as text, and whether it was refused; what is no call fails the test."""
    connection = psycopg2.connect(urls.service)
    connection.autocommit = True

    def run(statement):
        with connection.cursor() as cursor:
            try:
                cursor.execute(statement)
                return "\n".join(str(row) for row in cursor.fetchall()), False
            except psycopg2.Error as error:
                if error.pgcode in NO_CALL:
                    raise
                return f"{error} {error.diag.message_detail} {error.diag.message_hint}", True

    yield run
    connection.close()


def values(victim, mine):
    """What an attacker may say for each argument. `mine`: the SQL of a key's digest that opens another license."""
    ids = (victim.grant_id, victim.deduction_id, victim.settled, victim.client_s, victim.live, victim.other.key.key_id)
    anyone, license_id = "gen_random_uuid()", f"'{victim.license.id}'::uuid"
    digests = ["NULL::bytea", "''::bytea", "sha256('a guess')", f"{mine}::bytea", "'\\x66'::bytea"]
    known = [f"'{id}'::uuid" for id in ids]
    listed = ", ".join(known)
    return {
        "p_license_id": [license_id],
        "p_only": [license_id, "NULL::uuid"],
        "p_process_id": ["NULL::uuid", anyone, *known[:1]],
        "p_idempotency_key": ["NULL::text", "'d'", "'s'", "'l'", "'new'"],
        "p_fingerprint": ["NULL::bytea", "''::bytea", "sha256('a guess')"],
        "p_answer": ["NULL::bytea", "'mine'::bytea"],
        "p_orphans_before": ["'infinity'::timestamptz", "NULL::timestamptz"],
        "p_live_holds": ["'{}'::uuid[]", "NULL::uuid[]"],
        "p_limits": ["'{}'::jsonb", '\'{"concurrent_holds": null, "requests_per_minute": null}\'::jsonb'],
        "p_usage": ["NULL::jsonb", "'{\"output\": 7}'::jsonb"],
        "p_unpaid": ["NULL::jsonb", "'{\"tokens\": 100000000}'::jsonb"],
        ("p_price", "jsonb"): ["NULL::jsonb", f"'{json.dumps(PRICE)}'::jsonb"],
        "p_scopes": ["ARRAY['read', 'grant', 'manage', 'tokens']"],
        "p_scope": ["'read'", "'grant'"],
        "p_license_key": [f"'obol_{victim.license.id.hex}_{'0' * 38}'"],
        "p_state": ["'held'", "'undelivered'", "'unpaid'"],
        "uuid": [*known, anyone, "NULL::uuid"],
        "uuid[]": [f"ARRAY[{listed}]", "NULL::uuid[]"],
        "bytea": digests,
        "bytea[]": ["NULL::bytea[]", "ARRAY[''::bytea]"],
        "bigint": ["1::bigint", "7::bigint", "-1000::bigint", "1000000::bigint", "0::bigint", "NULL::bigint"],
        "integer": ["1", "0", "-1", "1000000", "NULL::integer"],
        "double precision": ["0", "-1"],
        "numeric": ["1"],
        "text": ["NULL::text", "''", "'mine'", "'active'", "'suspended'"],
        "text[]": ["NULL::text[]", "ARRAY['mine']"],
        "bigint[]": ["NULL::bigint[]", "ARRAY[1]::bigint[]"],
        "boolean": ["true", "false"],
        "jsonb": ["NULL::jsonb", "'[]'::jsonb", "'{}'::jsonb"],
        "date": ["'2020-01-01'::date", "'2999-01-01'::date"],
        "timestamp with time zone": ["NULL::timestamptz", "'-infinity'::timestamptz", "'infinity'::timestamptz"],
    }


def test_nothing_is_made_read_or_ended_by_any_function(sql, victim, new_license, world, attack, db):
    mine = new_license(credits=10).key.digest.hex()
    known, dice, before = values(victim, f"'\\x{mine}'"), Random(1), world()
    functions = sql(EXECUTABLE)
    assert len(functions) > 40
    answered = set()
    for name, arguments, types, _ in functions:
        for _ in range(CALLS if arguments else 1):
            given = [
                dice.choice(known.get((argument, type)) or known.get(argument) or known[type])
                for argument, type in zip(arguments or (), types, strict=True)
            ]
            statement = f"SELECT * FROM obol.{name}({', '.join(given)})"
            told, is_refused = attack(statement)
            for secret in victim.secrets:
                assert secret not in told, statement
            if not is_refused:
                answered.add(name)
        assert world() == before, name
    # What answers to somebody without a key or a token; all of it is the service's own work, or says nothing of anyone.
    assert answered == {
        "bring_up_to_date", "claim_delivery", "count_waiting", "current_revision", "due_changes",
        "due_deliveries", "due_expiring", "due_holds", "due_owed", "due_rollups", "due_rollups_v2", "due_undelivered",
        "end_delivery", "expire_holds", "expire_holds_v2", "find_imported_key", "heartbeat", "list_prices",
        "note_deliveries", "note_webhook", "purge_events", "purge_expired", "refund_withheld", "roll_up_business",
        "roll_up_usage", "take_back_owed", "tell_expiring", "tell_undelivered", "tell_upstream_refusal",
        # What is sold is no secret; an event needs Stripe's signature, and a payment intent is a secret of its own.
        "book_stripe_event", "find_stripe_intent", "list_packages",
        # It refuses each deduction by itself, in its row.
        "deduct_several",
    }  # fmt: skip


def test_bytes_are_sealed_ones_and_come_from_few_functions(sql):
    """The sealed answer of a replay; no function gives a digest or a fingerprint. And the sealed secrets of a webhook
    to whoever delivers: they open with the keys of webhooks, which the database does not have."""
    gives_bytes = {name for name, _, _, has_bytes in sql(EXECUTABLE) if has_bytes}
    assert gives_bytes == {"check_admission", "open_hold", "claim_delivery"}


@pytest.mark.parametrize(
    "call",
    [
        "expire_holds('{license}', ARRAY['{live}', '{client}']::uuid[])",
        "expire_holds_v2('{license}', ARRAY['{live}', '{client}']::uuid[], NULL)",
        "expire_holds_v2('{license}', ARRAY['{live}', '{client}']::uuid[], '{mine}')",
        "note_deliveries('{license}', ARRAY['{settled}']::uuid[], '{mine}')",
        "note_deliveries('{license}', ARRAY['{settled}']::uuid[], NULL)",
        "refund_withheld('{license}', '{settled}', '{mine}')",
        "refund_withheld('{license}', '{settled}', NULL)",
        "purge_expired(2147483647, -2147483648)",
        "purge_expired(1, 0)",
        "due_holds('{mine}', '{{}}', 'infinity')",
        "due_holds(NULL, NULL, 'infinity', 2147483647)",
        "due_changes(2147483647)",
        "heartbeat('{mine}', 0)",
        "roll_up_usage('{license}', 2147483647)",
        "roll_up_usage('{license}', -1)",
        "roll_up_usage('{license}', NULL)",
        "due_rollups(-2147483648, 2147483647)",
        "due_rollups_v2(-2147483648, 2147483647, NULL)",
        "due_rollups_v2(-2147483648, 2147483647, 2147483647)",
        "due_rollups_v2(1, 2147483647, -2147483648)",
        "roll_up_business()",
    ],
)
def test_the_service_s_own_work_does_no_harm_in_other_hands(victim, world, attack, db, call):
    reader = usage.Reader.with_key(victim.license.key)
    today = datetime.now(UTC).date()
    days = {"first": today - timedelta(days=1), "last": today + timedelta(days=1)}
    used, before = usage.usage(db, reader, **days), world()
    mine = uuid4()
    processes.heartbeat(db, mine, 60)
    statement = call.format(
        license=victim.license.id, live=victim.live, client=victim.client_s, settled=victim.settled, mine=mine
    )

    told, _ = attack(f"SELECT * FROM obol.{statement}")

    assert str(victim.live) not in told
    assert world() == before
    assert usage.usage(db, reader, **days) == used
    # And everything goes on as it was.
    settled = holds.settle(
        db, victim.license.key, victim.live, amount=3, process_id=victim.process_id, usage={"output": 3},
        answer=b"sealed", answer_ttl_s=60,
    )  # fmt: skip
    assert settled.charge == 3
