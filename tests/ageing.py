"""Time that has passed, for what has to be old: every time and day in the tables is moved back by the same days, so all
of it agrees as it did. Nothing may have been archived by then, for files are as they were written."""

_COLUMNS = """
    SELECT c.relname, a.attname, a.atttypid = 'date'::regtype
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     WHERE c.relnamespace = 'obol'::regnamespace AND c.relkind = 'r' AND NOT a.attisdropped
       AND a.atttypid IN ('timestamptz'::regtype, 'date'::regtype)
       AND c.relname NOT IN ('processes', 'admin_tokens', 'prices', 'price_tiers', 'webhooks', 'business_rollups')
     ORDER BY 1, a.attnum
"""


def age(sql, days):
    """Move everything back by `days`.

    Args:
        sql: `sql(statement)`, as the owner, committed.
    """
    assert sql("SELECT count(*) FROM obol.archived") == [(0,)]
    # Rows next to each other, which are counted again.
    sql("DELETE FROM obol.business_rollups")
    tables = {}
    for table, column, is_date in sql(_COLUMNS):
        moved = f"{column} - {days}" if is_date else f"{column} - interval '{days} days'"
        tables.setdefault(table, []).append(f"{column} = {moved}")
    for table, moves in tables.items():
        sql(f"UPDATE obol.{table} SET {', '.join(moves)}")
    # A month begins with its first day, wherever its days have moved to.
    sql("UPDATE obol.limit_states SET month = date_trunc('month', day)")
