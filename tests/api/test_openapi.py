"""/openapi.json says what the service does."""

import pytest


@pytest.fixture
def document(client):
    return client.get("/openapi.json").get_json()


def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "patch", "delete")
    }


def test_every_route_is_in_the_document(app, document):
    routes = set()
    for rule in app.url_map.iter_rules():
        path = str(rule).replace("<uuid:", "{").replace(">", "}")
        routes |= {f"{method} {path}" for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert set(operations(document)) == routes - {"GET /openapi.json"}


def test_every_route_says_who_may_use_it(document):
    assert document["components"]["securitySchemes"] == {
        "license_key": {"type": "http", "scheme": "bearer"},
        "x_api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    for name, operation in operations(document).items():
        expected = [{"license_key": []}, {"x_api_key": []}] if " /api/" in name else None
        assert operation.get("security") == expected, name


def test_every_route_is_described_and_may_end_in_a_problem(document):
    problem = document["components"]["schemas"]["Problem"]["properties"]
    assert {"type", "title", "status", "detail", "instance", "code"} <= set(problem)
    for name, operation in operations(document).items():
        assert operation["summary"], name
        assert "default" in operation["responses"], name


@pytest.mark.parametrize(
    ("schema", "required"),
    [("DeductionRequest", ["amount"]), ("HoldRequest", ["amount"]), ("GenerateRequest", ["prompt"])],
)
def test_requests_say_what_they_need(document, schema, required):
    assert document["components"]["schemas"][schema]["required"] == required


def test_the_idempotency_header_is_described(document):
    for path in ("/api/v1/generate", "/api/v1/deductions", "/api/v1/holds"):
        parameters = document["paths"][path]["post"]["parameters"]
        assert [(one["in"], one["name"]) for one in parameters] == [("header", "Idempotency-Key")]
