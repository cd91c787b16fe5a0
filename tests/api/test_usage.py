"""GET /api/v1/license/usage and /receipts/{id}, and the same for operators."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from factories import current_day

from service import operator
from service.pricing import CLASSES
from service.repository import usage
from service.repository.grants import Terms

PATH = "/api/v1/license"
NO_TOKENS = dict.fromkeys((f"{name}_tokens" for name in CLASSES), 0)


def get(client, license, path, **query):
    return client.get(f"{PATH}/{path}", query_string=query, headers=license.headers)


@pytest.fixture
def generate(client):
    """`generate(license, directives, max_tokens=…)`: the id of an answer that was charged."""

    def ask(license, directives="input_tokens=3", **body):
        document = {"prompt": f"[sandbox {directives}]", "max_tokens": 2, "model": "m", **body}
        response = client.post("/api/v1/generate", json=document, headers=license.headers)
        assert response.status_code == 200, response.data
        return response.get_json()["id"]

    return ask


@pytest.fixture
def deduct(client):
    """`deduct(license, amount)`: the id of a deduction."""

    def take(license, amount, **body):
        response = client.post("/api/v1/deductions", json={"amount": amount, **body}, headers=license.headers)
        return response.get_json()["id"]

    return take


def test_usage_has_a_row_for_each_day_and_model_and_their_sum(client, owner, db, new_license, generate, deduct):
    day, license = current_day(), new_license()
    deduct(license, 100)
    charged = generate(license)
    operator.refund(owner, license.id, charged, amount=2, reason="sorry")
    usage.roll_up(db, license.id, 2)

    answer, key_id = get(client, license, "usage").get_json(), str(license.key_id)
    deducted = {"calls": 1, "credits": 100, **NO_TOKENS, "refunded": 0}
    generated = {"calls": 1, "credits": 5, **NO_TOKENS, "input_tokens": 3, "output_tokens": 2, "refunded": 2}
    assert answer == {
        "from": (day - timedelta(days=29)).isoformat(),
        "to": str(day),
        "rows": [
            {"day": str(day), "model": None, "key_id": key_id, **deducted},
            {"day": str(day), "model": "m", "key_id": key_id, **generated},
        ],
        "total": {name: deducted[name] + generated[name] for name in deducted},
    }
    by_key = get(client, license, "usage", by="key").get_json()
    assert by_key["rows"] == [{"day": None, "model": None, "key_id": key_id, **answer["total"]}]
    by_day = get(client, license, "usage", by="day,key", **{"from": str(day), "to": str(day)}).get_json()
    assert by_day["rows"] == [{"day": str(day), "model": None, "key_id": key_id, **answer["total"]}]
    assert get(client, license, "usage", to="2026-01-01").get_json()["rows"] == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"by": "hour"}, "by: must be one or more of day, model, key, with commas between"),
        ({"by": ""}, "by: must be"),
        ({"by": "day,day"}, "by: must be"),
        ({"from": "yesterday"}, "from: must be a day such as 2027-01-31"),
        ({"to": "2019-12-31"}, "to: must be from 2020-01-01 to 2999-12-31"),
        ({"from": "2026-01-02", "to": "2026-01-01"}, "it must be 1 to 366 days"),
        ({"from": "2026-01-01", "to": "2027-01-02"}, "it must be 1 to 366 days"),
        ({"key": "x"}, "key: is not a parameter"),
    ],
)
def test_what_cannot_be_asked_is_named(client, new_license, query, named):
    response = get(client, new_license(), "usage", **query)
    assert response.status_code == 422
    assert named in response.get_json()["detail"]


def test_the_first_day_of_all_can_be_asked_for(client, new_license):
    assert get(client, new_license(), "usage", to="2020-01-01").get_json()["from"] == "2020-01-01"


def test_a_receipt_says_how_the_charge_is_made_up(client, owner, new_license, generate):
    license = new_license(credits=400)
    sooner = operator.grant_credits(owner, license.id, 3, terms=Terms(expires_at=datetime.now(UTC) + timedelta(days=1)))
    charged = generate(license)
    refunded = operator.refund(owner, license.id, charged, amount=2, reason="sorry")

    receipt = get(client, license, f"receipts/{charged}").get_json()
    (refund,) = receipt["refunds"]
    opened_at, created_at = receipt["hold"].pop("opened_at"), receipt.pop("created_at")
    assert opened_at < created_at < refund.pop("created_at")
    delivered_at = receipt["hold"].pop("delivered_at")
    assert delivered_at is None or delivered_at > created_at
    assert receipt == {
        "id": charged,
        "kind": "charge",
        "entry_no": 3,
        "charged": 5,
        "shortfall": 0,
        "refunded": 2,
        "balance_after": 398,
        "reference": None,
        "model": "m",
        "key_id": str(license.key_id),
        "tokens": dict.fromkeys(CLASSES, 0) | {"input": 3, "output": 2},
        "price": dict.fromkeys(CLASSES, 1_000_000),
        "calculation": {
            "lines": [
                {
                    "model": "m",
                    "above_input_tokens": None,
                    "class": name,
                    "tokens": tokens,
                    "credits_per_million_tokens": 1_000_000,
                    "millionths": tokens * 1_000_000,
                }
                for name, tokens in (("input", 3), ("output", 2))
            ],
            "millionths": 5_000_000,
            "credits": 5,
        },
        "hold": {"amount": receipt["hold"]["amount"]},
        "grants": [
            {"grant_id": str(sooner.grant_id), "amount": 3},
            {"grant_id": str(license.id), "amount": 2},
        ],
        "refunds": [
            {"refund_id": str(refunded.refund_id), "entry_no": 4, "amount": 2, "reference": "sorry"},
        ],
    }


def test_a_deduction_has_a_receipt_too(client, new_license, deduct):
    license = new_license(credits=10)
    id = deduct(license, 4, reference="job 7")

    receipt = get(client, license, f"receipts/{id}").get_json()
    assert (receipt["kind"], receipt["charged"], receipt["reference"]) == ("deduction", 4, "job 7")
    assert receipt["grants"] == [{"grant_id": str(license.id), "amount": 4}]
    assert [receipt[name] for name in ("hold", "tokens", "price", "calculation", "model")] == [None] * 5
    assert receipt["refunds"] == []


def test_what_a_client_settles_itself_has_no_calculation(client, new_license):
    license = new_license()
    hold = client.post("/api/v1/holds", json={"amount": 9}, headers=license.headers).get_json()
    assert get(client, license, f"receipts/{hold['id']}").status_code == 404
    client.post(f"/api/v1/holds/{hold['id']}/settle", json={"amount": 4}, headers=license.headers)

    receipt = get(client, license, f"receipts/{hold['id']}").get_json()
    assert (receipt["charged"], receipt["calculation"], receipt["hold"]["amount"]) == (4, None, 9)
    assert receipt["grants"] == [{"grant_id": str(license.id), "amount": 4}]


def test_nobody_sees_another_s_receipt(client, new_license, deduct):
    license, other = new_license(), new_license()
    for id in (deduct(other, 5), uuid4()):
        response = get(client, license, f"receipts/{id}")
        assert (response.status_code, response.get_json()["code"]) == (404, "hold_not_found")
    assert get(client, license, "receipts/7").status_code == 404


@pytest.mark.parametrize("path", ["entries", "usage", "receipts/{id}"])
def test_an_operator_sees_what_the_client_sees(client, admin, new_license, deduct, path):
    license = new_license()
    path = path.format(id=deduct(license, 5))

    of_the_client = get(client, license, path).get_json()
    assert admin("GET", f"licenses/{license.id}/{path}", "read").get_json() == of_the_client
    assert admin("GET", f"licenses/{license.id}/{path}", "manage").get_json()["scope"] == "read"
    nobody = admin("GET", f"licenses/{uuid4()}/{path}", "read")
    assert (nobody.status_code, nobody.get_json()["code"]) == (404, "license_not_found")
