"""The keys that whoever holds a license makes in a browser, where the operator allows it."""

import re
from uuid import uuid4

import pytest
from browsing import BROWSER, Person, fields_of, multi

from service.problems import Problem
from service.repository import limits

PATH = "/account/keys"


@pytest.fixture
def license(new_license, owner):
    made = new_license(name="Ada")
    limits.set_own_keys(owner, made.id, 2)
    return made


def test_keys_are_in_the_navigation_of_who_may_make_them(customer, license, new_license):
    link = f'<a href="{PATH}">Keys</a>'
    assert link in customer(license).get("/account/statement")
    assert link not in customer(new_license()).get("/account/statement")


def test_a_key_is_made_once_limited_and_revoked(customer, license, client):
    person = customer(license)
    assert f'href="{PATH}"' in person.get("/account")
    assert "None yet" in person.get(PATH)
    asked = person.send(PATH, {"name": "CI", "credits_per_day": "5"}, PATH)
    data = multi(fields_of(asked.get_data(as_text=True)))
    made, again = (person.client.post(PATH, data=data, headers=BROWSER) for _ in range(2))
    key = re.search("obol_[0-9a-zA-Z_]{70,}", made.get_data(as_text=True))[0]
    assert again.status_code == 409
    assert client.post("/api/v1/deductions", json={"amount": 6}, headers={"x-api-key": key}).status_code == 429
    assert "5 credits a day" in person.get(PATH)
    (revoke,) = [path for path in person.forms(PATH) if path.endswith("/revoke")]
    one = revoke.removesuffix("/revoke")
    assert person.act(f"{one}/limits", {"credits_per_day": "7"}, one).headers["Location"] == f"{PATH}?done=limits"
    assert "7 credits a day" in person.get(PATH)
    assert person.act(revoke, {}, PATH).headers["Location"] == f"{PATH}?done=revoked"
    assert client.get("/api/v1/license", headers={"x-api-key": key}).status_code == 403
    assert f"{one}/limits" not in person.forms(one)
    person.get(f"{PATH}/{uuid4()}", 404)


def test_where_it_is_not_allowed_it_is_neither_shown_nor_taken(customer, new_license, license):
    person, allowed = customer(new_license()), customer(license)
    assert PATH not in person.get("/account")
    person.get(PATH, 403)
    form = allowed.forms(PATH)[PATH] | {"name": "CI", "csrf": person.forms("/account")["/account/logout"]["csrf"]}
    for more in ({}, {"confirmed": "1", "idempotency_key": f"console-{uuid4().hex}"}):
        assert person.client.post(PATH, data=form | more, headers=BROWSER).status_code == 403


def test_who_logs_in_with_a_key_that_was_made_so_makes_none(app, customer, license):
    made = customer(license).act(PATH, {"name": "CI"}, PATH)
    key = re.search("obol_[0-9a-zA-Z_]{70,}", made.get_data(as_text=True))[0]
    lesser = Person(app.test_client(), "account")
    lesser.log_in(key)
    assert PATH not in lesser.get("/account")
    lesser.get(PATH, 403)


def test_no_key_of_another_license_or_of_the_operator_is_touched(customer, new_license, owner, license, sql):
    other = new_license()
    limits.set_own_keys(owner, other.id, 2)
    customer(other).act(PATH, {"name": "theirs"}, PATH)
    ((theirs,),) = sql("SELECT key_id FROM obol.license_keys WHERE name = 'theirs'")
    person = customer(license)
    csrf = person.forms(PATH)["/account/logout"]["csrf"]
    for key_id in (theirs, license.key_id):
        person.get(f"{PATH}/{key_id}", 404)
        for act in ("revoke", "limits"):
            sent = {"csrf": csrf, "confirmed": "1", "idempotency_key": f"console-{uuid4().hex}"}
            response = person.client.post(f"{PATH}/{key_id}/{act}", data=sent, headers=BROWSER)
            assert response.status_code == 404
    assert sql("SELECT count(*) FROM obol.license_keys WHERE revoked_at IS NOT NULL") == [(0,)]


def test_trouble_with_the_database_is_said(customer, license, monkeypatch):
    def trouble(*_, **__):
        raise Problem("over_capacity", "No database connection came free in time. Ask again.")

    person = customer(license)
    monkeypatch.setattr("service.repository.own_keys.list_keys", trouble)
    person.get("/account", 503)
