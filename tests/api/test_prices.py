"""GET /api/v1/prices."""

from datetime import UTC, datetime, timedelta

import pytest

from service.pricing import CLASSES
from service.repository import licenses, prices

PATH = "/api/v1/prices"
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
FIGURES = dict(zip(CLASSES, (1, 2, 3, 4, 5), strict=True))
TIERS = [{"above_input_tokens": above} | dict.fromkeys(CLASSES, above) for above in (100, 200)]


def get(client, license):
    response = client.get(PATH, headers=license.headers)
    assert response.status_code == 200
    document = response.get_json()
    assert document["unit"] == "credits per million tokens"
    assert set(document) == {"unit", "prices"}
    return document["prices"]


def test_the_shipped_price(client, new_license):
    assert get(client, new_license()) == [
        {
            "model": "*",
            "effective_from": "2026-01-01T00:00:00Z",
            "input": 1_000_000,
            "output": 1_000_000,
            "cache_write_5m": 1_000_000,
            "cache_write_1h": 1_000_000,
            "cache_read": 1_000_000,
            "tiers": [],
        }
    ]


def test_what_is_in_force_and_what_is_announced_by_model_and_time(client, owner, new_license):
    prices.set_prices(owner, [("n", None, FIGURES), ("m", SOON, FIGURES), ("m", SOON + timedelta(days=1), None)])
    prices.set_prices(owner, [("n", None, FIGURES | {"tiers": TIERS}), ("m", None, dict.fromkeys(CLASSES, 0))])

    _, *shown = get(client, new_license())

    assert [(row["model"], row["input"], row["tiers"]) for row in shown] == [
        ("m", 0, []),
        ("m", 1, []),
        ("m", None, []),
        ("n", 1, TIERS),
    ]
    assert shown[1] == {
        "model": "m",
        "effective_from": SOON.isoformat().replace("+00:00", "Z"),
        **FIGURES,
        "tiers": [],
    }
    assert [shown[2][name] for name in CLASSES] == [None] * 5


def test_an_ended_price_is_shown_as_what_is_not_sold(client, owner, new_license):
    prices.set_prices(owner, [("*", None, None)])

    (row,) = get(client, new_license())
    assert (row["model"], row["input"]) == ("*", None)


@pytest.mark.parametrize("suspended", [False, True])
def test_a_license_that_is_not_good_can_still_read_them(client, owner, new_license, suspended):
    license = new_license(credits=0, expires_at=datetime(2026, 1, 2, tzinfo=UTC))
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    assert len(get(client, license)) == 1


def test_an_unknown_key_sees_nothing(client, new_license, sql, problem):
    license = new_license()
    sql("UPDATE obol.license_keys SET expires_at = clock_timestamp()")

    problem(client.get(PATH, headers=license.headers), "license_invalid")
    problem(client.get(PATH), "credentials_missing")
    problem(client.get(PATH, headers={"x-api-key": "obol_nonsense"}), "license_invalid")


def test_it_is_in_the_document(client):
    document = client.get("/openapi.json").get_json()

    assert set(document["paths"][PATH]) == {"get"}
    assert set(document["components"]["schemas"]["PriceAnswer"]["properties"]) == {
        "model",
        "effective_from",
        *CLASSES,
        "tiers",
    }
