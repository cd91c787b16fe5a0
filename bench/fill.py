"""Fill a database with a ledger of any size that `obol verify` calls clean, to measure with.

    .venv/bin/python bench/fill.py OWNER_URL [--entries 10000000] [--licenses 10000] [--rate 600] [--watermarks]

The database is migrated and has no license yet; the login may skip triggers (the embedded PostgreSQL's owner, any
superuser), or each row would look for its license. Every license has a key and the same number of entries, in the
order in which a service would have written them: a grant, then by turns deductions and charges of settled holds, a
second grant in the middle, and so the allotments of what was used before it. The last entry is of now, and there were
`--rate` of them a minute. 10,000,000 entries take about 5 GB.
"""

import argparse
import sys
import time

import psycopg2

BATCH = 500_000

# What an entry took is 100 + 10 x (its number modulo 4) credits, so that a balance is known without adding up.
SETUP = """
    SET session_replication_role = replica;
    SET synchronous_commit = off;
    CREATE FUNCTION pg_temp.id(p_kind text, p_number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5(p_kind || p_number::text)::uuid $$;
    -- What the entries up to a number took, were each of them a use.
    CREATE FUNCTION pg_temp.used(p_no bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    $$ SELECT 100 * p_no + 10 * (6 * (p_no / 4) + (ARRAY[0, 1, 3, 6])[p_no %% 4 + 1]) $$;
    -- The balance after an entry: entry 1 and entry %(middle)s are grants of %(granted)s.
    CREATE FUNCTION pg_temp.balance(p_no bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN p_no < %(middle)s THEN %(granted)s + pg_temp.used(1) - pg_temp.used(p_no)
                   ELSE 2 * %(granted)s + pg_temp.used(1) - pg_temp.used(p_no)
                        + pg_temp.used(%(middle)s) - pg_temp.used(%(middle)s - 1) END $$;
    INSERT INTO obol.licenses (license_id, name, balance, entry_count, allotted_entry_no, fingerprint, created_at)
    SELECT pg_temp.id('license', l), 'License ' || l, pg_temp.balance(%(entries_each)s), %(entries_each)s, %(middle)s,
           sha256(int8send(l)), %(began_at)s
      FROM generate_series(0, %(licenses)s - 1) l;
    INSERT INTO obol.license_keys (license_id, key_digest, created_at)
    SELECT pg_temp.id('license', l), sha256(convert_to('key ' || l, 'UTF8')), %(began_at)s
      FROM generate_series(0, %(licenses)s - 1) l;
    INSERT INTO obol.admin_acts (acted_at, actor, act, license_id, detail)
    SELECT %(began_at)s, 'cli:fill', 'create_license', pg_temp.id('license', l), jsonb_build_object('credits', 0)
      FROM generate_series(0, %(licenses)s - 1) l;
"""

# p: the place among all entries. License p modulo the number of licenses has its entry p / that number + 1 there.
PLACES = """
    SELECT p, pg_temp.id('license', p %% %(licenses)s) AS license_id, p / %(licenses)s + 1 AS entry_no,
           %(began_at)s::timestamptz + p * interval '1 minute' / %(rate)s AS at
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) p
"""
PRICE = """'{"input": 1000000, "output": 1000000, "cache_write_5m": 1000000, "cache_write_1h": 1000000,
             "cache_read": 1000000}'::jsonb"""
IS_GRANT = "(e.entry_no = 1 OR e.entry_no = %(middle)s)"
IS_CHARGE = f"(NOT {IS_GRANT} AND e.entry_no %% 2 = 1)"

HOLDS = f"""
    INSERT INTO obol.holds (license_id, hold_id, amount, state, process_id, model, price, available_after, opened_at,
                            ended_at, delivered_at)
    SELECT e.license_id, pg_temp.id('cause', e.p), 150, 'settled', pg_temp.id('process', 0), 'claude-sonnet-5-5',
           {PRICE}, 0, e.at - interval '3 seconds', e.at, e.at
      FROM ({PLACES}) e WHERE {IS_CHARGE}
"""
ENTRIES = f"""
    INSERT INTO obol.ledger_entries (license_id, entry_no, kind, amount, balance_after, cause_id, model, price, usage,
                                     created_at)
    SELECT e.license_id, e.entry_no,
           CASE WHEN {IS_GRANT} THEN 'grant' WHEN {IS_CHARGE} THEN 'charge' ELSE 'deduction' END,
           CASE WHEN {IS_GRANT} THEN %(granted)s ELSE -100 - 10 * (e.entry_no %% 4) END,
           pg_temp.balance(e.entry_no), pg_temp.id('cause', e.p),
           CASE WHEN {IS_CHARGE} THEN 'claude-sonnet-5-5' END, CASE WHEN {IS_CHARGE} THEN {PRICE} END,
           CASE WHEN {IS_CHARGE} THEN jsonb_build_object('input', 60, 'output', 40 + 10 * (e.entry_no %% 4)) END, e.at
      FROM ({PLACES}) e ORDER BY e.p
"""
GRANTS = f"""
    INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started, reason,
                             created_at)
    SELECT e.license_id, pg_temp.id('cause', e.p), %(granted)s,
           CASE WHEN e.entry_no = 1 THEN pg_temp.balance(%(middle)s - 1) ELSE %(granted)s END, 50, e.at, true,
           'purchase', e.at
      FROM ({PLACES}) e WHERE {IS_GRANT}
"""
ALLOTMENTS = f"""
    INSERT INTO obol.allotments (license_id, grant_id, first_entry_no, last_entry_no, balance_from, balance_to)
    SELECT e.license_id, pg_temp.id('cause', e.p), 2, %(middle)s - 1, %(granted)s, pg_temp.balance(%(middle)s - 1)
      FROM ({PLACES}) e WHERE e.entry_no = 1
"""
ACTS = f"""
    INSERT INTO obol.admin_acts (acted_at, actor, act, license_id, target, detail)
    SELECT e.at, 'cli:fill', 'grant_credits', e.license_id, pg_temp.id('cause', e.p)::text,
           jsonb_build_object('amount', %(granted)s, 'reason', 'purchase')
      FROM ({PLACES}) e WHERE {IS_GRANT} ORDER BY e.p
"""
# Indexes are made at the end, out of all rows at once.
INDEXES = """
    SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', c.conrelid::regclass, c.conname),
           format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', c.conrelid::regclass, c.conname,
                  pg_get_constraintdef(c.oid))
      FROM pg_constraint c WHERE c.conrelid = ANY (%(tables)s::regclass[]) AND c.contype IN ('p', 'u')
    UNION ALL
    SELECT format('DROP INDEX %%s', i.indexrelid::regclass), pg_get_indexdef(i.indexrelid)
      FROM pg_index i
     WHERE i.indrelid = ANY (%(tables)s::regclass[])
       AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
"""
WATERMARKS = "SELECT obol.roll_up_usage(l.license_id, 1000000000) FROM obol.licenses l"


def main() -> None:
    parser = argparse.ArgumentParser(description="Fill a database with a clean ledger.")
    parser.add_argument("url", help="the owner's")
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--licenses", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=600, help="entries a minute")
    parser.add_argument("--watermarks", action="store_true", help="roll the usage up")
    asked = parser.parse_args()
    fill(asked.url, entries=asked.entries, licenses=asked.licenses, rate=asked.rate, watermarks=asked.watermarks)


def fill(url: str, *, entries: int, licenses: int, rate: int, watermarks: bool) -> None:
    """Write it all.

    Args:
        url: the owner's, of a migrated database without a license.
        entries: how many, a multiple of `licenses`, and four or more for each.
        licenses: how many.
        rate: entries a minute; together they end now.
        watermarks: roll the usage up.
    """
    each = entries // licenses
    if entries % licenses or each < 4:
        raise SystemExit("--entries must be a multiple of --licenses, and four for each at least")
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp() - %s * interval '1 minute' / %s", (entries, rate))
        figures = {
            "licenses": licenses,
            "entries_each": each,
            "middle": each // 2 + 1,
            "granted": 200 * each,
            "rate": rate,
            "began_at": cursor.fetchone()[0],
        }
        cursor.execute(SETUP, figures)
        cursor.execute(INDEXES, {"tables": ["obol.holds", "obol.ledger_entries"]})
        indexes = cursor.fetchall()
        for drop, _ in indexes:
            cursor.execute(drop)
        began_s = time.monotonic()
        for first in range(0, entries, BATCH):
            last = min(first + BATCH, entries) - 1
            for script in (HOLDS, ENTRIES, GRANTS, ALLOTMENTS, ACTS):
                cursor.execute(script, {**figures, "first": first, "last": last})
            sys.stderr.write(f"{last + 1} entries after {time.monotonic() - began_s:.0f} s\n")
        for _, make in indexes:
            cursor.execute(make)
        cursor.execute("VACUUM ANALYZE")
        sys.stderr.write(f"indexed after {time.monotonic() - began_s:.0f} s\n")
        if watermarks:
            cursor.execute(WATERMARKS)
    connection.close()


if __name__ == "__main__":
    main()
