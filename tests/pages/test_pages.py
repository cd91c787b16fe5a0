"""The pages that everybody may read: the start page, /docs, and a page for each problem."""

import base64
import hashlib
import re
from importlib.metadata import version

import pytest

from service.http import guide
from service.problems import BY_CODE, Problem

PATHS = ["/", "/docs", *(f"/problems/{code}" for code in BY_CODE)]
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def document(client):
    return client.get("/openapi.json").get_json()


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_whole_and_refers_to_nothing_elsewhere(read, path):
    page = read(path)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "svg", "base"}
    assert all(reference.startswith(("/", "#")) for reference in page.references)
    assert not any(reference.startswith("//") for reference in page.references)
    assert len(set(page.ids)) == len(page.ids)


@pytest.mark.parametrize("path", PATHS)
def test_what_a_page_refers_to_is_there(client, read, path):
    page, docs = read(path), read("/docs")
    for reference in page.references:
        target, _, anchor = reference.partition("#")
        if target:
            assert client.get(target).status_code in {200, 503}, reference
        if anchor:
            assert anchor in (docs if target == "/docs" else page).ids


def test_the_page_of_calls_names_every_call_and_problem(read, document):
    page = read("/docs")
    for path, item in document["paths"].items():
        for method, said in item.items():
            if method == "parameters":
                continue
            assert said["operationId"] in page.ids
            assert f"#{said['operationId']}" in page.references
            assert f"{method.upper()} {path}" in page.text
            assert said["summary"].replace("`", "") in page.text
    assert {f"/problems/{code}" for code in BY_CODE} <= set(page.references)


def test_the_page_of_calls_says_what_a_body_and_a_parameter_may_be(read):
    text = read("/docs").text
    assert 'curl -sS "$URL/api/v1/deductions" -H "Authorization: Bearer $KEY"' in text
    assert """-d '{"amount": 250, "reference": "invoice 7"}'""" in text
    assert 'curl -sS -X POST "$URL/api/v1/holds/661fd0b6-db64-4522-bd48-222e4259ca01/release"' in text
    assert "integer, 1 to 9223372036854775807" in text
    assert "string or null, 0 to 500 characters" in text
    assert "integer, 1 to 100, default 50" in text
    assert "one of held, settled, released, expired" in text
    assert "entries[].balance_after" in text
    assert "any other upstream_error" in text
    assert "200 OK: application/json, text/event-stream" in text
    assert "obol-credits-charged integer, at least 0" in text


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("obol.example:8443", "http://obol.example:8443"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("a.example;rm", "http://127.0.0.1:8000"),
        ("$(rm)", "http://127.0.0.1:8000"),
    ],
)
def test_the_lines_are_for_the_place_where_they_are_read_unless_it_is_no_place(client, host, origin):
    page = client.get("/docs", headers={"Host": host}).get_data(as_text=True)
    assert f"<pre>URL={origin}\n" in page


@pytest.mark.parametrize("code", BY_CODE)
def test_the_page_of_a_problem_says_what_it_is_and_what_to_do(client, read, code):
    row, advice = BY_CODE[code], guide.ADVICE[code]
    assert Problem(code, "").document("r")["type"] == f"/problems/{code}"

    text = read(f"/problems/{code}").text
    for said in (code, row.title, f"status {row.status}", advice.when, advice.remedy):
        assert said.replace("`", "") in text
    assert (f"on /v1 {row.wire_status}" in text) == (row.wire_status is not None)

    shown = client.get(f"/problems/{code}")
    assert shown.content_type == "application/json"
    assert shown.get_json() == {
        "code": code,
        "title": row.title,
        "status": row.status,
        "wire_status": row.wire_status or row.status,
        "when": advice.when,
        "remedy": advice.remedy,
        "example": guide.example_document(code),
    }


def test_every_problem_has_its_words_and_no_other_has():
    assert guide.ADVICE.keys() == BY_CODE.keys()
    for advice in guide.ADVICE.values():
        assert all(words.endswith((".", "asked for")) for words in (advice.when, advice.remedy))


def test_the_page_of_a_problem_names_the_calls_that_can_end_in_it(read):
    text = read("/problems/settle_exceeds_hold").text
    assert "POST /api/v1/holds/{hold_id}/settle" in text
    assert "/api/v1/deductions" not in text
    assert "None by itself" in read("/problems/method_not_allowed").text


def test_the_start_says_what_this_is_and_where_things_are(client, read):
    response = client.get("/")
    assert response.content_type == "application/json"
    assert response.get_json() == {
        "name": "Obol",
        "version": version("obol"),
        "description": "AI answers for prepaid credits: every delivered answer is paid for exactly once.",
        "links": {"docs": "/docs", "openapi": "/openapi.json", "healthz": "/healthz", "readyz": "/readyz"},
    }
    page = read("/")
    assert set(response.get_json()["links"].values()) <= set(page.references)
    assert version("obol") in page.text


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("image/png", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/html", "text/html; charset=utf-8"),
        (BROWSER["Accept"], "text/html; charset=utf-8"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/problems/not_found"])
def test_a_browser_gets_a_page_and_everybody_else_json(client, path, accept, content_type):
    response = client.get(path, headers={"Accept": accept} if accept else {})
    assert (response.content_type, response.headers["Vary"]) == (content_type, "Accept")


@pytest.mark.parametrize("path", ["/", "/docs", "/problems/not_found"])
def test_a_page_may_do_nothing_but_be_read(client, path):
    response = client.get(path, headers=BROWSER)
    style = re.search("<style>(.*?)</style>", response.get_data(as_text=True), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert response.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/docs", "/problems/not_found", "/openapi.json"])
def test_head_says_the_same_without_the_page(client, path):
    whole, head = (client.open(path, method=method, headers=BROWSER) for method in ("GET", "HEAD"))
    assert (head.status_code, head.data) == (200, b"")
    same = ("Content-Type", "Content-Length", "Content-Security-Policy", "Vary")
    assert [head.headers.get(name) for name in same] == [whole.headers.get(name) for name in same]


@pytest.mark.parametrize("path", ["/nothing", "/problems/nothing", "/problems/", "/docs/"])
def test_what_is_not_there_is_a_problem_for_browsers_too(client, path):
    response = client.get(path, headers=BROWSER)
    assert (response.status_code, response.content_type) == (404, "application/problem+json")
    assert response.get_json()["type"] == "/problems/not_found"


def test_a_type_leads_to_its_page(client):
    problem = client.get("/api/v1/license").get_json()
    assert client.get(problem["type"]).get_json()["code"] == problem["code"] == "credentials_missing"
