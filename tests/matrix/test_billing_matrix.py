"""What a client is charged, over everything that can become of a call. See cases.py for what must
come of each, and docs/billing-matrix.md for what came of it. After a change that is meant to be:
UPDATE_GOLDEN=1 .venv/bin/pytest -n0 --no-cov tests/matrix
"""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from cases import of_json, of_leaving_clients, of_streams
from document import ELSEWHERE, document
from factories import ROOT, wait_until
from running import CREDITS, Cell, Runner, listed

GOLDEN = ROOT / "docs" / "billing-matrix.md"

SECTIONS = {
    "Answers in one piece": of_json,
    "Answers as a stream": of_streams,
    "Clients that leave": of_leaving_clients,
}

# Most of them wait; the time-outs and the leaving clients for seconds.
AT_ONCE = 32

PRICES = """
    INSERT INTO obol.prices (model_pattern, effective_from, input, output, cache_write_5m, cache_write_1h, cache_read)
    VALUES ('matrix', '2026-01-01', 1000000, 5000000, 1000000, 1000000, 1000000)
"""

RENEWED = "SELECT 1 FROM obol.processes WHERE process_id = %s AND lease_expires_at > %s"


@pytest.fixture
def servers(serve, sql, closed_port):
    sql(PRICES)
    return {
        "usual": serve(),
        "impatient": serve(OBOL_UPSTREAM_TIMEOUT_S="2"),
        "deaf": serve(ANTHROPIC_BASE_URL=f"http://127.0.0.1:{closed_port}"),
    }


@pytest.fixture
def sections(new_license):
    """The cells of each section."""
    numbers = count()
    return {
        title: [
            Cell(next(numbers), case, position, keyed, new_license(credits=CREDITS))
            for case in cases()
            for position in case.positions
            for keyed in ((True,) if case.twin else (True, False))
        ]
        for title, cases in SECTIONS.items()
    }


@pytest.fixture
def closed_port():
    """A port that is taken, and refuses every connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def wait_for_beats(sql, beats=2):
    """Until every server has noted what it delivered: one beat may have begun before."""
    for _ in range(beats):
        leases = sql("SELECT process_id, lease_expires_at FROM obol.processes")
        for process, lease in leases:
            wait_until(lambda before=(process, lease): sql(RENEWED, before), what="a beat")


def with_listing(cell, on_the_list):
    """What was found, and whether the call is on the operator's list; nobody expects it where
    nobody can tell, and an answer with a key waits for its retry instead."""
    expected = cell.case.expected(cell.position).listed
    found = str(cell.license.id) in on_the_list
    return cell.found._replace(listed=None if expected is None and not cell.keyed else found)


def expected_of(cell):
    expected = cell.case.expected(cell.position)
    return expected._replace(listed=False) if cell.keyed else expected._replace(repeats=False)


@pytest.mark.parametrize("row", ELSEWHERE, ids=[row.what_happens for row in ELSEWHERE])
def test_what_is_made_elsewhere_is_there(row):
    file, _, name = row.test.partition("::")
    assert f"\ndef {name}(" in (ROOT / file).read_text()


def test_everything_that_can_become_of_a_call_is_charged_as_it_must_be(urls, servers, upstream, sections, sql):
    runner = Runner(urls.owner, upstream, servers)
    cells = [cell for section in sections.values() for cell in section]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        # The long ones first.
        runs = [pool.submit(runner.run, cell) for cell in reversed(cells)]
    broken = [str(run.exception()) for run in runs if run.exception()]
    assert not broken, "\n".join(broken)
    wait_for_beats(sql)

    on_the_list = listed(sql)
    for cell in cells:
        runner.check_upstream_calls(cell)
        cell.found = with_listing(cell, on_the_list)
    wrong = [cell for cell in cells if cell.found != expected_of(cell)]
    assert not wrong, "\n".join(f"{cell}:\n  {cell.found}\nnot\n  {expected_of(cell)}" for cell in wrong)
    assert sql("SELECT sum(held) FROM obol.licenses") == [(0,)]
    assert sql("SELECT sum(shortfall) FROM obol.ledger_entries") == [(0,)]
    assert sql("SELECT * FROM obol.verify()") == []

    found = document(sections)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text(), "docs/billing-matrix.md tells something else: UPDATE_GOLDEN=1 if that is meant"
