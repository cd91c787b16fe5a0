"""What an operator sees of holds and gives back, and takes from many licenses at once, over the admin API."""

from uuid import uuid4

import pytest

from service.gateway.transcript import Transcript
from service.pricing import CLASSES
from service.problems import Problem
from service.repository import admin as repository
from service.repository import holds, ledger, processes, sharding

LARGEST = 2**63 - 1


@pytest.fixture
def generate(db):
    """`generate(license, 30)`: a generation, charged and never noted as delivered; its hold. With a replay key
    its answer is stored, and with `unpaid` it broke off."""

    def call(license, amount, replay_key=None, unpaid=None):
        process_id, hold_id = uuid4(), uuid4()
        processes.heartbeat(db, process_id, 30)
        holds.open_for_process(
            db,
            license.key,
            hold_id,
            process_id=process_id,
            amounts=holds.HoldAmounts(amount, amount),
            model="a-model",
            price=dict.fromkeys(CLASSES, 1_000_000),
            idempotency_key=str(hold_id),
        )
        if unpaid:
            holds.release(db, license.key, hold_id, process_id=process_id, unpaid=unpaid)
            return hold_id
        holds.settle(
            db,
            license.key,
            hold_id,
            amount=amount,
            process_id=process_id,
            usage={"input": amount},
            answer=None if replay_key is None else Transcript([replay_key]).seal(license.id, hold_id),
            answer_ttl_s=3600,
        )
        return hold_id

    return call


@pytest.fixture
def acts(owner):
    return lambda: [
        (act.act, act.license_id, act.target) for act in repository.list_acts(owner) if act.act in ("refund", "deduct")
    ]


OURS, LOST = b"\0" * 32, b"l" * 32


def test_undelivered_charges_are_listed_and_refunded_once(admin, new_license, generate, acts):
    license = new_license(credits=100)
    generate(license, 1, OURS)
    lost, not_stored = generate(license, 2, LOST), generate(license, 3)

    listed = admin("GET", "holds", "read", state="undelivered").get_json()
    assert listed["next_cursor"] is None
    assert listed["holds"][0] == {
        "license_id": str(license.id),
        "hold_id": str(lost),
        "amount": 2,
        "model": "a-model",
        "at": listed["holds"][0]["at"],
        "expires_at": None,
        "answer": "lost",
        "unpaid": None,
    }
    assert [(row["hold_id"], row["answer"]) for row in listed["holds"][1:]] == [(str(not_stored), "not_stored")]
    body = {"license_id": str(license.id), "reason": "lost"}
    for _ in range(2):
        refunded = admin("POST", f"holds/{not_stored}/refund", "grant", json=body)
        assert refunded.status_code == 200
        assert refunded.get_json() | {"refund_id": None} == {
            "id": str(not_stored), "refund_id": None, "amount": 3, "balance": 97, "lapsed": 0,
        }  # fmt: skip
    assert acts() == [("refund", license.id, str(not_stored))]
    assert len(admin("GET", "holds", state="undelivered").get_json()["holds"]) == 1


def test_without_replay_keys_nobody_knows_which_answers_are_lost(make_client, new_token, new_license, generate):
    generate(new_license(credits=100), 1, OURS)
    response = make_client(OBOL_REPLAY_KEYS=None).get(
        "/api/v1/admin/holds?state=undelivered", headers={"Authorization": f"Bearer {new_token()}"}
    )
    assert [row["answer"] for row in response.get_json()["holds"]] == ["unknown"]


def test_open_holds_are_listed_in_pages_and_by_license(admin, new_license, client):
    license, other = new_license(), new_license()
    opened = [
        client.post("/api/v1/holds", json={"amount": amount}, headers=who.headers).get_json()
        for amount, who in ((1, license), (2, other), (3, license))
    ]

    first = admin("GET", "holds", state="held", limit=2).get_json()
    assert [row["amount"] for row in first["holds"]] == [1, 2]
    assert first["holds"][0]["expires_at"] == opened[0]["expires_at"]
    second = admin("GET", "holds", state="held", limit=2, cursor=first["next_cursor"]).get_json()
    assert ([row["hold_id"] for row in second["holds"]], second["next_cursor"]) == ([opened[2]["id"]], None)
    of_one = admin("GET", "holds", state="held", license_id=license.id).get_json()["holds"]
    assert [row["amount"] for row in of_one] == [1, 3]


def test_answers_that_broke_off_are_listed(admin, new_license, generate):
    hold_id = generate(new_license(), 10, unpaid=holds.Unpaid("upstream_error", 7, 900, 20))

    (row,) = admin("GET", "holds", state="unpaid").get_json()["holds"]
    assert (row["hold_id"], row["amount"], row["answer"]) == (str(hold_id), None, None)
    assert row["unpaid"] == {"reason": "upstream_error", "events": 7, "bytes": 900, "tokens": 20}


@pytest.mark.parametrize(
    ("query", "field"),
    [({}, "state"), ({"state": "settled"}, "state"), ({"state": "held", "license_id": "7"}, "license_id")],
)
def test_which_holds_has_to_be_said(admin, problem, query, field):
    (error,) = problem(admin("GET", "holds", **query), "validation_failed")["errors"]
    assert error["field"] == field


def test_a_refund_of_what_was_never_charged(admin, new_license, problem, acts):
    path, body = f"holds/{uuid4()}/refund", {"license_id": str(new_license().id)}
    problem(admin("POST", path, json=body), "hold_not_found")
    assert problem(admin("POST", path, json={}), "validation_failed")["errors"][0]["field"] == "license_id"
    assert acts() == []


def item(license_id, amount=1, key="k", **more):
    return {"license_id": str(license_id), "amount": amount, "idempotency_key": key, **more}


@pytest.fixture
def batch(admin):
    def ask(*items, scopes=("grant",)):
        return admin("POST", "/api/v1/deductions/batch", *scopes, json={"items": list(items)})

    return ask


def test_each_item_of_a_batch_is_on_its_own(batch, new_license, owner, acts):
    rich, poor = new_license(credits=100), new_license(credits=5)
    missing = uuid4()
    response = batch(
        item(rich.id, 30, reference="invoice 7"),
        item(poor.id, 6),
        item(missing),
        item(rich.id, 0, "zero"),
        item(rich.id, 20, "other"),
    )

    assert response.status_code == 200
    done, refused, unknown, nothing, other = response.get_json()["results"]
    assert (done["status"], done["balance"], other["balance"]) == ("deducted", 70, 50)
    assert (refused["status"], refused["code"]) == ("refused", "insufficient_credits")
    assert "5 are available" in refused["detail"]
    assert (unknown["status"], unknown["code"]) == ("refused", "license_invalid")
    assert (nothing["status"], nothing["code"]) == ("refused", "amount_invalid")
    assert acts() == [("deduct", rich.id, other["id"]), ("deduct", rich.id, done["id"])]
    assert ledger.verify(owner) == []


def test_an_item_of_a_batch_may_say_an_amount_for_which_it_is_refused(client, batch, new_license):
    document = client.get("/openapi.json").get_json()
    amount = document["components"]["schemas"]["BatchItemRequest"]["properties"]["amount"]
    assert amount["minimum"] <= -1
    assert "amount_invalid" in amount["description"]
    answer = batch(item(new_license().id, -1), item(new_license().id, 0))
    assert [result["code"] for result in answer.get_json()["results"]] == ["amount_invalid"] * 2


def test_a_batch_again_deducts_nothing_twice(batch, new_license, acts):
    license = new_license(credits=100)
    items = [item(license.id, 30), item(license.id, 30)]
    first = batch(*items).get_json()

    assert {result["balance"] for result in first["results"]} == {70}
    assert batch(*items).get_json() == first
    assert batch(item(license.id, 31)).get_json()["results"][0]["code"] == "idempotency_key_reused"
    assert len(acts()) == 1


def test_of_a_suspended_license_nothing_is_taken(batch, new_license, admin):
    license = new_license()
    admin("PATCH", f"licenses/{license.id}", json={"status": "suspended"})
    assert batch(item(license.id)).get_json()["results"][0]["code"] == "license_inactive"


def test_a_batch_whose_reply_is_lost_is_asked_again_whole(batch, new_license, problem, monkeypatch):
    license = new_license(credits=100)
    deduct_batch = ledger.deduct_batch

    def lost(*arguments, **named):
        deduct_batch(*arguments, **named)
        raise Problem("database_error", "The connection to the database was lost. Ask again.", retry_after_s=1)

    items = [item(license.id, 10, key) for key in ("a", "b", "c")]
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "deduct_batch", lost)
        problem(batch(*items), "database_error", "1")
    assert [result["balance"] for result in batch(*items).get_json()["results"]] == [90, 80, 70]


@pytest.fixture
def spread_over_nodes(monkeypatch):
    """As where `obol shard` was run: an item is a call then."""
    monkeypatch.setattr(sharding, "is_sharded", lambda _database: True)


@pytest.mark.usefixtures("spread_over_nodes")
def test_over_nodes_each_item_is_a_call(batch, new_license, owner, acts):
    rich, poor = new_license(credits=100), new_license(credits=5)
    done, refused = batch(item(rich.id, 30), item(poor.id, 6)).get_json()["results"]
    assert (done["status"], done["balance"]) == ("deducted", 70)
    assert (refused["status"], refused["code"]) == ("refused", "insufficient_credits")
    assert acts() == [("deduct", rich.id, done["id"])]
    assert ledger.verify(owner) == []


@pytest.mark.usefixtures("spread_over_nodes")
def test_over_nodes_what_nobody_knows_of_fails_the_batch(batch, new_license, problem, monkeypatch):
    license = new_license(credits=100)
    deduct, calls = ledger.deduct_by_id, []

    def lost(*arguments, **named):
        calls.append(deduct(*arguments, **named))
        if len(calls) == 2:
            raise Problem("database_error", "The connection to the database was lost. Ask again.", retry_after_s=1)
        return calls[-1]

    monkeypatch.setattr(ledger, "deduct_by_id", lost)
    items = [item(license.id, 10, key) for key in ("a", "b", "c")]
    problem(batch(*items), "database_error", "1")
    assert [result["balance"] for result in batch(*items).get_json()["results"]] == [90, 80, 70]


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([], "items"),
        ([item(uuid4())] * 1001, "items"),
        ([item(uuid4(), LARGEST + 1)], "items.0.amount"),
        ([item(uuid4(), "1")], "items.0.amount"),
        ([item("7")], "items.0.license_id"),
        ([item(uuid4(), key="")], "items.0.idempotency_key"),
        ([item(uuid4(), colour="red")], "items.0.colour"),
    ],
)
def test_a_batch_that_is_wrong_is_refused_whole(batch, problem, items, field):
    assert problem(batch(*items), "validation_failed")["errors"][0]["field"] == field


def test_who_manages_licenses_takes_no_credits(batch, new_license, problem):
    document = problem(batch(item(new_license().id), scopes=("manage", "read", "tokens")), "admin_forbidden")
    assert document["scope"] == "grant"
