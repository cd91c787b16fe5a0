"""The statement with filters, and as a file."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest
from ageing import age

from service import archive, statements
from service.archivefile import Folder
from service.http import streaming
from service.problems import Problem
from service.repository import usage

PATH = "/api/v1/license/entries"


@pytest.fixture
def license(client, new_license):
    """A grant, a deduction, a charge."""
    license = new_license(credits=100)
    client.post("/api/v1/deductions", json={"amount": 7, "reference": '=1+1,"x"'}, headers=license.headers)
    document = {"prompt": "[sandbox input_tokens=3]", "max_tokens": 2, "model": "m"}
    assert client.post("/api/v1/generate", json=document, headers=license.headers).status_code == 200
    return license


@pytest.fixture
def ask(client, license):
    """`ask("text/csv", kind=…)`: the response for a kind of content."""
    return lambda accept, **query: client.get(PATH, query_string=query, headers={**license.headers, "Accept": accept})


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"kind": "charge"}, [3]),
        ({"kind": "deduction"}, [2]),
        ({"model": "m"}, [3]),
        ({"model": "n"}, []),
        ({"from": "2020-01-01"}, [3, 2, 1]),
        ({"to": "2020-01-01T00:00:00Z"}, []),
        ({"kind": "grant", "from": "2020-01-01", "to": "2999-01-01"}, [1]),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_statement_can_be_filtered(ask, accept, query, numbers):
    response = ask(accept, **query)
    assert response.status_code == 200
    if accept == "application/json":
        found = response.get_json()
        assert found["next_cursor"] is None
        rows = found["entries"]
    else:
        rows = [json.loads(line) for line in response.data.splitlines()]
    assert [row["entry_no"] for row in rows] == numbers


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "text/csv"])
def test_a_statement_can_be_that_of_a_key(ask, license, accept):
    def rows(**query):
        response = ask(accept, **query)
        if accept == "text/csv":
            return list(csv.DictReader(io.StringIO(response.text)))
        if accept == "application/json":
            return response.get_json()["entries"]
        return [json.loads(line) for line in response.data.splitlines()]

    assert [(int(row["entry_no"]), row["key_id"]) for row in rows(key_id=license.key_id)] == [
        (3, str(license.key_id)), (2, str(license.key_id)),
    ]  # fmt: skip
    assert rows()[-1]["key_id"] in (None, "")
    assert rows(key_id=uuid4()) == []


def test_a_page_of_what_was_filtered_has_a_next_one(ask):
    first = ask("*/*", limit=1, **{"from": "2020-01-01"}).get_json()
    assert (first["entries"][0]["entry_no"], first["next_cursor"]) == (3, 3)
    second = ask("*/*", limit=1, cursor=3, **{"from": "2020-01-01"}).get_json()
    assert (second["entries"][0]["entry_no"], second["next_cursor"]) == (2, 2)


def test_ndjson_has_the_entries_of_the_pages(ask):
    response = ask("application/x-ndjson")
    assert response.content_type == "application/x-ndjson; charset=utf-8"
    assert [json.loads(line) for line in response.data.splitlines()] == ask("application/json").get_json()["entries"]


def test_csv_has_a_column_for_each_class_and_no_formula(ask):
    response = ask("text/csv")
    assert response.content_type == "text/csv; charset=utf-8"
    assert response.data.endswith(b"\r\n")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert list(rows[0]) == list(statements.COLUMNS)
    entries = ask("application/json").get_json()["entries"]
    for row, entry in zip(rows, entries, strict=True):
        for name in ("kind", "id", "created_at"):
            assert row[name] == entry[name]
        assert [int(row[name]) for name in ("entry_no", "amount", "balance_after")] == [
            entry["entry_no"], entry["amount"], entry["balance_after"],
        ]  # fmt: skip
    assert [row["reference"] for row in rows] == ["", '\'=1+1,"x"', "opening grant"]
    assert (rows[0]["model"], rows[0]["input_tokens"], rows[0]["cache_read_tokens"]) == ("m", "3", "0")
    assert (rows[1]["model"], rows[1]["input_tokens"]) == ("", "")


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_whatever_a_spreadsheet_would_run_is_text(client, new_license, begin):
    license = new_license()
    client.post("/api/v1/deductions", json={"amount": 1, "reference": f"{begin}x"}, headers=license.headers)
    response = client.get(PATH, headers={**license.headers, "Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert rows[0]["reference"] == f"'{begin}x"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/*", "text/csv; charset=utf-8"),
        ("text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("application/x-ndjson;charset=utf-8;q=0.9, */*;q=0.1", "application/x-ndjson; charset=utf-8"),
    ],
)
def test_what_is_accepted_decides(ask, accept, content_type):
    assert ask(accept).content_type == content_type


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"kind": "gift"}, "kind: must be one of grant, deduction"),
        ({"from": "soon"}, "from: must be a time such as"),
        ({"from": "2027-01-01", "to": "2027-01-01"}, "from: it must be before `to`"),
        ({"key_id": "mine"}, "key_id: must be the key_id of a license key"),
        ({"model": ""}, "model: must have 1 to 200 characters"),
        ({"kind": ["grant", "charge"]}, "kind: must be given once"),
        ({"key": "x"}, "key: is not a parameter of this request"),
    ],
)
def test_a_filter_that_is_wrong_is_named(ask, query, named):
    for accept in ("application/json", "text/csv"):
        response = ask(accept, **query)
        assert response.status_code == 422
        assert named in response.get_json()["detail"]


def test_a_file_has_no_pages(ask):
    response = ask("text/csv", limit=5, cursor=3)
    assert response.status_code == 422
    assert "cursor and limit: text/csv is all of the statement" in response.get_json()["detail"]


def test_who_may_not_read_it_is_told_before_it_begins(client, new_license):
    license = new_license()
    raw = license.raw_key[:-1] + ("A" if license.raw_key[-1] != "A" else "B")
    response = client.get(PATH, headers={"Authorization": f"Bearer {raw}", "Accept": "text/csv"})
    assert (response.status_code, response.get_json()["code"]) == (403, "license_invalid")


def test_a_file_is_read_some_entries_at_a_time_and_no_more_than_is_sent(ask, monkeypatch):
    monkeypatch.setattr(usage, "BATCH", 1)
    read, original = [], usage._read
    monkeypatch.setattr(usage, "_read", lambda *args, **more: read.append(more["before"]) or original(*args, **more))

    response = ask("application/x-ndjson")
    body: Iterator[bytes] = iter(response.response)
    assert read in ([], [4])
    assert json.loads(next(body))["entry_no"] == 3
    assert read == [4]
    response.close()
    assert read == [4]


def test_a_file_that_cannot_be_read_to_its_end_breaks_off(ask, monkeypatch, logged):
    monkeypatch.setattr(usage, "BATCH", 1)
    original = usage._read

    def fail(*args, before, **more):
        if before < 4:
            raise Problem("database_error", "The database could not do this.")
        return original(*args, before=before, **more)

    monkeypatch.setattr(usage, "_read", fail)
    response = ask("application/x-ndjson")
    body = iter(response.response)
    next(body)
    with pytest.raises(BrokenPipeError):
        next(body)
    response.close()
    (line,) = [line for line in logged if line["event"] == "request" and line["route"] == PATH]
    assert (line["status"], line["code"]) == (200, "database_error")


class Connection:
    """A client's connection, as far as it is asked."""

    def __init__(self):
        self.timeouts = []

    def settimeout(self, seconds):
        self.timeouts.append(seconds)


def test_a_client_that_leaves_ends_it(app, monkeypatch):
    gone, read = SimpleNamespace(is_gone=False), []
    monkeypatch.setattr(streaming, "has_hung_up", lambda _: gone.is_gone)

    def chunks():
        for number in range(5):
            read.append(number)
            yield b"x"

    connection = Connection()
    with app.test_request_context(environ_base={"gunicorn.socket": connection}):
        app.preprocess_request()
        response = streaming.stream(chunks(), "text/csv")
    body = iter(response.response)
    next(body)
    gone.is_gone = True
    with pytest.raises(BrokenPipeError):
        next(body)
    response.close()
    assert read == [0, 1]
    # The connection is the server's again.
    assert connection.timeouts[-1] is None


# What is in the archive


@pytest.fixture
def archived(license, client, owner, sql, tmp_path):
    """The three entries of the license are in the archive, and two newer ones in the statement."""
    # Of an answer that nobody has noted as delivered yet.
    sql("UPDATE obol.holds SET delivered_at = ended_at")
    age(sql, 80)
    assert archive.run(owner, Folder(str(tmp_path)), before=datetime.now(UTC)).entries == 3
    for _ in range(2):
        client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)


def test_the_last_page_says_what_is_in_the_archive(ask, archived, sql):
    page = ask("application/json").get_json()
    ((until,),) = sql("SELECT last_entry_at FROM obol.archived")

    assert [entry["entry_no"] for entry in page["entries"]] == [5, 4]
    assert (page["next_cursor"], page["archived"]["entries"]) == (None, 3)
    assert datetime.fromisoformat(page["archived"]["until"]) == until
    first = ask("application/json", limit=1).get_json()
    assert (first["next_cursor"], first["archived"]) == (5, None)
    assert ask("application/json", limit=1, cursor=5).get_json()["archived"] == page["archived"]
    # Also where the filters leave nothing.
    nothing = ask("application/json", kind="charge").get_json()
    assert (nothing["entries"], nothing["archived"]) == ([], page["archived"])


def test_nothing_is_said_where_nothing_is_archived(ask):
    assert ask("application/json").get_json()["archived"] is None
    assert ask("application/json", kind="refund").get_json()["archived"] is None


def test_files_are_of_what_is_not_archived(ask, archived):
    rows = list(csv.reader(io.StringIO(ask("text/csv").get_data(as_text=True))))
    assert [row[0] for row in rows] == ["entry_no", "5", "4"]
    assert len(ask("application/x-ndjson").get_data().splitlines()) == 2


def test_the_page_of_the_statement_says_it_too(archived, license, owner, db):
    reader = usage.Reader.operator(license.id)
    assert usage.page(owner, reader, limit=10).archived == usage.archived(db, usage.Reader.with_key(license.key))
