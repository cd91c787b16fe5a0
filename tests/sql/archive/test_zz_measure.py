import time, json
from datetime import datetime, UTC
import pytest
from ageing import age
from service import archive as runs, archivecheck
from service.repository import archive, ledger, usage
from service.archivefile import Folder


def test_measure(new_license, process_id, sql, owner, tmp_path):
    license = new_license(credits=100_000_000)
    price = json.dumps(
        {
            "input": 3000000,
            "output": 15000000,
            "cache_write_5m": 3750000,
            "cache_write_1h": 6000000,
            "cache_read": 300000,
        }
    )
    use = json.dumps({"input": 1234, "output": 456, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 20000})
    sql(f"""DO $$ DECLARE v uuid; BEGIN FOR n IN 1..10000 LOOP v := gen_random_uuid();
      PERFORM obol.open_hold('{license.id}', '\\x{license.key.digest.hex()}', v, '{process_id}', 30000, 30000, NULL, 'claude-sonnet-5-5', '{price}'::jsonb, NULL, NULL, NULL, NULL);
      PERFORM obol.settle_hold('{license.id}', '\\x{license.key.digest.hex()}', v, '{process_id}', 16542, '{use}'::jsonb, NULL, NULL, NULL);
      UPDATE obol.holds SET delivered_at = ended_at WHERE hold_id = v AND license_id = '{license.id}';
      END LOOP; END $$""")
    age(sql, 80)
    sizes = sql(
        "SELECT pg_total_relation_size('obol.ledger_entries'), pg_total_relation_size('obol.holds'), count(*) FROM obol.ledger_entries"
    )
    print("sizes", sizes)
    original = archive.archive

    def timed(*a, **k):
        began = time.monotonic()
        r = original(*a, **k)
        print("archive_entries s", time.monotonic() - began)
        return r

    archive.archive = timed
    op = archive.prepare

    def timedp(*a, **k):
        began = time.monotonic()
        r = op(*a, **k)
        print("prepare s", time.monotonic() - began, r)
        return r

    archive.prepare = timedp
    began = time.monotonic()
    out = runs.run(owner, Folder(str(tmp_path)), before=datetime.now(UTC))
    print(out, time.monotonic() - began, "bytes/entry", out.bytes / out.entries)
    import subprocess

    print(
        subprocess.run(f"gzip -c {next(tmp_path.rglob('*.jsonl'))} | wc -c", shell=True, capture_output=True).stdout,
        next(tmp_path.rglob("*.jsonl")).stat().st_size,
    )
    began = time.monotonic()
    assert list(archivecheck.check(owner, Folder(str(tmp_path)))) == []
    print("check", time.monotonic() - began)
    archive.archive, archive.prepare = original, op
    assert 0
