"""Thirty days of two hundred licenses: whatever clients and operators are told adds up to the log of what was done."""

import csv
import io
import json
import sys
import time
from collections import Counter, defaultdict
from random import Random

import pytest
from click.testing import CliRunner
from databases import named
from factories import current_day
from month import CLASSES, PRICES, cost, tokens_of
from playing import Month

from service import cli, create_app, operator
from service.config import load
from service.http.services import services_of
from service.repository import holds, ledger

pytestmark = [pytest.mark.xdist_group("month"), pytest.mark.timeout(1800)]

LICENSES, DAYS, CALLS = 200, 30, 10
FIGURES = ("calls", "credits", *(f"{name}_tokens" for name in CLASSES), "refunded")


@pytest.fixture(scope="module")
def urls(server_urls, databases):
    """A database for the whole month, and nobody's afterwards."""
    name = databases.take()
    yield named(server_urls, name)
    databases.drop(name)


@pytest.fixture(scope="module")
def month(urls):
    current_day(lasts_s=120)  # midnight would come in the middle of a day
    month = Month(urls, seed=1, licenses=LICENSES, days=DAYS, calls=CALLS)
    began, cpu = time.monotonic(), time.process_time()
    month.play()
    entries = sum(len(one.book.entries) for one in month.customers)
    sys.stdout.write(f"{entries} entries in {time.monotonic() - began:.1f} s, {time.process_time() - cpu:.1f}\n")
    yield month
    month.close()


@pytest.fixture(scope="module")
def client(urls):
    # Nobody is asked for an answer.
    environ = {"DATABASE_URL": urls.service, "ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    app = create_app(load(environ))
    yield app.test_client()
    services_of(app).lease.stop()


@pytest.fixture(scope="module")
def ask(client):
    """`ask(customer, "entries", accept=…, **query)`: what the client of a license is answered."""

    def get(customer, path="", accept="application/json", **query):
        raw = next(key.raw for key in customer.keys if key in customer.living_keys())
        path = f"/api/v1/license/{path}".rstrip("/")
        headers = {"Authorization": f"Bearer {raw}", "Accept": accept}
        response = client.get(path, query_string=_named(query), headers=headers, buffered=True)
        assert response.status_code == 200, response.data
        return response.get_json() if accept == "application/json" else response.data

    return get


@pytest.fixture(scope="module")
def admin(client, month):
    """`admin("overview", method="GET", **query)`: what an operator is answered."""
    token = operator.create_token(month.owner, name="month", scopes=["read"]).token

    def get(path, method="GET", **query):
        headers = {"Authorization": f"Bearer {token}"}
        response = client.open(f"/api/v1/admin/{path}", method=method, query_string=_named(query), headers=headers)
        assert response.status_code == 200, response.data
        return response.get_json()

    return get


@pytest.fixture
def obol(urls):
    """`obol(*arguments)`: what the command prints."""

    def run(*arguments):
        environ = {"DATABASE_URL": urls.service, "OBOL_MIGRATE_URL": urls.owner}
        ended = CliRunner().invoke(cli.cli, list(map(str, arguments)), env=environ, catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    return run


def _named(query):
    return {name.rstrip("_"): str(value) for name, value in query.items()}


@pytest.fixture(scope="module")
def span(month):
    """The days of the month, as parameters."""
    return {"from_": month.days.date_of(0), "to": month.days.today}


@pytest.fixture(scope="module")
def some(month):
    """Ten of the licenses, those that never had a roll-up among them."""
    return month.customers[:: len(month.customers) // 10][:10]


# What the log says


def lines_of(month, customer):
    """The statement, but for its order: of a day, many things happen at no moment that the driver knows."""
    return Counter(
        (
            month.days.date_of(line.day).isoformat(), line.kind, line.amount, str(line.cause), line.reference,
            line.model if line.kind == "charge" else None, json.dumps(line.usage, sort_keys=True),
        )
        for line in customer.book.entries
    )  # fmt: skip


def lines_read(entries):
    return Counter(
        (
            entry["created_at"][:10], entry["kind"], entry["amount"], entry["id"], entry["reference"], entry["model"],
            json.dumps(entry["usage"], sort_keys=True),
        )
        for entry in entries
    )  # fmt: skip


def usage_of(month, customer):
    """By day, model and key: the figures."""
    rows = defaultdict(Counter)
    for line in customer.book.entries:
        if line.kind not in ("charge", "deduction", "refund"):
            continue
        key_id = str(line.key_id) if line.key_id else None
        row = rows[month.days.date_of(line.day).isoformat(), line.model, key_id]
        if line.kind == "refund":
            row["refunded"] += line.amount
        else:
            row["calls"] += 1
            row["credits"] -= line.amount
            for name, tokens in tokens_of(line.usage).items():
                row[f"{name}_tokens"] += tokens
    return {place: {name: row[name] for name in FIGURES} for place, row in rows.items()}


def usage_read(answer):
    return {(row["day"], row["model"], row["key_id"]): {name: row[name] for name in FIGURES} for row in answer["rows"]}


def sums(rows):
    return {name: sum(row[name] for row in rows) for name in FIGURES}


# What was played


def test_the_month_had_everything(month):
    entries = [line for one in month.customers for line in one.book.entries]
    assert len(entries) >= 50_000
    kinds = Counter(line.kind for line in entries)
    assert kinds.keys() == {"grant", "deduction", "charge", "refund", "expiry", "void", "adjustment"}
    assert min(kinds.values()) > 200
    assert {line.model for line in entries} == {None, *PRICES}
    assert sum(line.shortfall > 0 for line in entries) > 20
    assert sum(line.usage is not None and "attempts" in line.usage for line in entries) > 100
    assert sum(line.kind == "adjustment" and line.amount < 0 for line in entries) > 100
    refused = Counter(code for one in month.customers for code in one.refused.elements())
    # Beside these, a settlement that comes too late for what is left.
    assert refused.keys() - {"hold_not_open"} == {
        "insufficient_credits", "limit_exceeded", "model_not_allowed", "license_invalid", "refund_exceeds_charge",
        "grant_ended",
    }  # fmt: skip
    assert {hold.process_id is None for one in month.customers for hold in one.expired} == {True, False}
    assert {hold.process_id is None for one in month.customers for hold in one.open} == {True, False}
    assert sum(len(one.undelivered) for one in month.customers) > 100
    assert sum(len(one.keys) for one in month.customers) > 2 * len(month.customers)


def test_the_ledger_agrees_with_itself(month, admin, obol):
    assert ledger.verify(month.owner) == []

    answer = admin("verify", "POST")
    assert (answer["clean"], answer["finding_count"]) == (True, 0)
    assert answer["checked"]["licenses"] == len(month.customers)
    assert answer["checked"]["entries"] == sum(len(one.book.entries) for one in month.customers)
    assert json.loads(obol("verify", "--json"))["findings"] == []


def test_the_balance_is_what_the_log_says_and_the_grants_have_left(month, ask):
    for customer in month.customers:
        book, license = customer.book, ask(customer)
        assert (license["balance"], license["held"]) == (book.balance, book.held)
        assert license["available"] == book.available
        assert book.balance == sum(line.amount for line in book.entries)
        usable = {grant["id"]: grant for grant in license["grants"]}
        assert sum(grant["left"] for grant in usable.values() if grant["state"] == "active") + sum(
            grant.left for grant in book.grants if grant.has_ended(book.day)
        ) == (book.balance)
        assert {id: (grant["left"], grant["state"]) for id, grant in usable.items()} == {
            str(book.id_of(grant)): (grant.left if grant.has_started else grant.amount, grant.state(book.day))
            for grant in book.grants
            if grant.state(book.day) in ("active", "scheduled")
        }


# Statements


def test_pages_of_statements_have_every_entry_once(month, ask):
    for customer in month.customers:
        entries, cursor = [], {}
        while cursor is not None:
            page = ask(customer, "entries", limit=100, **cursor)
            entries += page["entries"]
            cursor = None if page["next_cursor"] is None else {"cursor": page["next_cursor"]}
        assert lines_read(entries) == lines_of(month, customer)
        assert [entry["entry_no"] for entry in entries] == list(range(len(entries), 0, -1))
        for entry, before in zip(entries, [*entries[1:], {"balance_after": 0}], strict=True):
            assert entry["balance_after"] == before["balance_after"] + entry["amount"]
        assert entries[0]["balance_after"] == customer.book.balance


def test_files_of_statements_add_up_to_the_balance(month, ask):
    for customer in month.customers:
        table = list(csv.DictReader(io.StringIO(ask(customer, "entries", "text/csv").decode())))
        assert len(table) == len(customer.book.entries)
        assert sum(int(row["amount"]) for row in table) == int(table[0]["balance_after"]) == customer.book.balance
        used = Counter()
        for line in customer.book.entries:
            used.update(tokens_of(line.usage))
        for name in CLASSES:
            assert sum(int(row[f"{name}_tokens"] or 0) for row in table) == used[name]

        lines = ask(customer, "entries", "application/x-ndjson").splitlines()
        assert lines_read(map(json.loads, lines)) == lines_of(month, customer)


def test_what_is_filtered_adds_up_to_the_whole(month, some, ask):
    for customer in some[:3]:
        logged, accept = lines_of(month, customer), "application/x-ndjson"
        by_kind, by_model, by_day = Counter(), Counter(), Counter()
        for kind in ("grant", "deduction", "charge", "refund", "expiry", "void", "adjustment"):
            by_kind += lines_read(map(json.loads, ask(customer, "entries", accept, kind=kind).splitlines()))
        for model in PRICES:
            by_model += lines_read(map(json.loads, ask(customer, "entries", accept, model=model).splitlines()))
        for day in range(month.days.count + 1):
            asked = {"from_": month.days.date_of(day), "to": month.days.date_of(day + 1)}
            by_day += lines_read(map(json.loads, ask(customer, "entries", accept, **asked).splitlines()))
        assert by_kind == by_day == logged
        assert by_model == Counter({line: count for line, count in logged.items() if line[1] == "charge" and line[5]})


# Usage


def test_usage_is_what_the_log_says(month, ask, admin, span):
    for customer in month.customers:
        expected = usage_of(month, customer)
        of_client = ask(customer, "usage", **span)
        of_operator = admin(f"licenses/{customer.license_id}/usage", **span)
        assert usage_read(of_client) == expected
        assert of_operator == of_client
        assert of_client["total"] == sums(expected.values())


@pytest.mark.parametrize("by", ["day", "model", "key", "model,day", "key,model", "day,key"])
def test_usage_by_less_is_the_sum_of_it(month, some, ask, span, by):
    for customer in some:
        rows = defaultdict(list)
        for (day, model, key_id), row in usage_of(month, customer).items():
            place = (day if "day" in by else None, model if "model" in by else None, key_id if "key" in by else None)
            rows[place].append(row)
        assert usage_read(ask(customer, "usage", by=by, **span)) == {place: sums(of) for place, of in rows.items()}


def test_usage_of_each_day_is_that_day_s(month, some, ask):
    for customer in some[:3]:
        expected = usage_of(month, customer)
        found = {}
        for day in range(month.days.count + 1):
            date = month.days.date_of(day)
            found |= usage_read(ask(customer, "usage", from_=date, to=date))
        assert found == expected


# Receipts


def check_receipt(month, customer, taken, receipt):
    """Made up == charged == drawn, and what came back."""
    hold, book = taken.hold, customer.book
    refunds = [line.amount for line in book.entries if line.kind == "refund" and line.cause == taken.cause]
    assert (receipt["kind"], receipt["charged"], receipt["shortfall"]) == (taken.kind, taken.charge, taken.shortfall)
    assert receipt["created_at"][:10] == month.days.date_of(taken.day).isoformat()
    assert (receipt["model"], receipt["reference"]) == (taken.model, taken.reference)
    assert (receipt["hold"] and receipt["hold"]["amount"]) == (hold and hold.held)
    assert receipt["grants"] == [
        {"grant_id": str(book.id_of(grant)), "amount": amount} for grant, amount in book.draws[taken.cause]
    ]
    assert sum(draw["amount"] for draw in receipt["grants"]) == taken.charge
    assert [refund["amount"] for refund in receipt["refunds"]] == refunds
    assert receipt["refunded"] == sum(refunds) <= taken.charge
    if hold is None or hold.usage is None:
        assert (receipt["calculation"], receipt["tokens"], receipt["price"]) == (None, None, None)
        return
    assert receipt["price"] == PRICES[taken.model]
    assert receipt["tokens"] == {name: tokens_of(hold.usage)[name] for name in CLASSES}
    made_up = receipt["calculation"]
    assert made_up["millionths"] == sum(line["millionths"] for line in made_up["lines"])
    assert made_up["credits"] == cost(PRICES[taken.model], hold.usage) == taken.charge + taken.shortfall


def test_every_charge_of_ten_licenses_has_its_receipt(month, ask):
    for customer in sorted(month.customers, key=lambda one: len(one.taken))[:10]:
        for taken in customer.taken:
            check_receipt(month, customer, taken, ask(customer, f"receipts/{taken.cause}"))


def test_charges_of_the_others_have_theirs(month, admin):
    dice = Random(2)
    for customer in month.customers:
        for taken in dice.sample(customer.taken, 3):
            receipt = admin(f"licenses/{customer.license_id}/receipts/{taken.cause}")
            check_receipt(month, customer, taken, receipt)


# The business


def test_the_overview_is_what_the_log_says(month, admin, obol, span):
    days = [Counter() for _ in range(month.days.count + 1)]
    names = {"grant": "granted", "charge": "charged", "deduction": "charged", "refund": "refunded", "expiry": "expired",
             "void": "voided", "adjustment": "adjusted"}  # fmt: skip
    for customer in month.customers:
        for line in customer.book.entries:
            is_taken = names[line.kind] in ("charged", "expired", "voided")
            days[line.day][names[line.kind]] += -line.amount if is_taken else line.amount
            days[line.day]["shortfall"] += line.shortfall
            days[line.day]["owed"] += line.amount
        for taken in customer.undelivered.values():
            days[taken.day]["undelivered"] += taken.charge
        for day, tokens in customer.losses.items():
            days[day]["operator_loss_answers"] += len(tokens)
            days[day]["operator_loss_tokens"] += sum(tokens)
    summed = (
        *dict.fromkeys(names.values()),
        "shortfall",
        "undelivered",
        "operator_loss_answers",
        "operator_loss_tokens",
    )

    found = admin("overview", **span)

    owed = 0
    for day, row in enumerate(found["days"]):
        owed += days[day]["owed"]
        expected = {name: days[day][name] for name in summed}
        assert row == expected | {"outstanding": owed, "day": month.days.date_of(day).isoformat()}
    assert found["total"] == {name: sum(day[name] for day in days) for name in summed} | {
        "outstanding": sum(one.book.balance for one in month.customers),
        "held": sum(one.book.held for one in month.customers),
    }
    printed = json.loads(obol("overview", "--from", span["from_"], "--to", span["to"], "--json"))
    assert printed["total"] == found["total"]


def test_the_undelivered_are_those_that_nobody_noted(month):
    listed = {row.hold_id: row.amount for row in holds.every(month.owner, "undelivered")}
    assert listed == {id: taken.charge for one in month.customers for id, taken in one.undelivered.items()}


def test_the_commands_say_the_same(month, some, obol, span):
    asked = ("--from", span["from_"], "--to", span["to"], "--json")
    for customer in some[:3]:
        assert usage_read(json.loads(obol("usage", customer.license_id, *asked))) == usage_of(month, customer)
        lines = obol("entries", customer.license_id, "--json").splitlines()
        assert lines_read(map(json.loads, lines)) == lines_of(month, customer)
        taken = customer.taken[-1]
        receipt = json.loads(obol("receipt", customer.license_id, taken.cause, "--json"))
        check_receipt(month, customer, taken, receipt)
        shown = json.loads(obol("license", "show", customer.license_id, "--json"))
        assert (shown["balance"], shown["held"]) == (customer.book.balance, customer.book.held)
