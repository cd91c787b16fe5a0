"""/openapi.json says what the service does."""

import re

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
        path = re.sub("<(uuid:)?([a-z_]+)>", r"{\2}", str(rule))
        routes |= {f"{method} {path}" for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert set(operations(document)) == routes - {"GET /openapi.json"}


def test_every_route_says_who_may_use_it(document):
    assert document["components"]["securitySchemes"] == {
        "license_key": {"type": "http", "scheme": "bearer"},
        "admin_token": {"type": "http", "scheme": "bearer"},
        "x_api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    for name, operation in operations(document).items():
        expected = [{"license_key": []}, {"x_api_key": []}] if re.search(" /(api|v1)/", name) else None
        if re.search(" /api/v1/(admin/|deductions/batch$)", name):
            expected = [{"admin_token": []}]
            assert re.fullmatch("Needs the scope `(read|grant|manage|tokens)`.", operation["description"]), name
        if name == "GET /metrics":
            # Who asks from the machine itself needs nothing.
            expected = [{}, {"admin_token": []}]
        assert operation.get("security") == expected, name


def test_every_route_is_described_and_may_end_in_an_error_of_its_own_shape(document):
    schemas = document["components"]["schemas"]
    assert {"type", "title", "status", "detail", "instance", "code"} <= set(schemas["Problem"]["properties"])
    assert set(schemas["WireError"]["properties"]) == {"type", "error", "request_id"}
    for name, operation in operations(document).items():
        assert operation["summary"], name
        default = operation["responses"]["default"]
        if " /v1/" in name:
            assert default["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/WireError"}}}
        else:
            assert default == {"$ref": "#/components/responses/DEFAULT_ERROR"}, name


@pytest.mark.parametrize(
    ("schema", "required"),
    [
        ("DeductionRequest", ["amount"]),
        ("HoldRequest", ["amount"]),
        ("GenerateRequest", ["prompt"]),
        ("MessagesRequest", ["max_tokens", "messages", "model"]),
    ],
)
def test_requests_say_what_they_need(document, schema, required):
    assert sorted(document["components"]["schemas"][schema]["required"]) == required


def test_only_messages_take_fields_that_nobody_knows(document):
    schemas = document["components"]["schemas"]
    assert schemas["MessagesRequest"]["additionalProperties"] is True
    assert schemas["GenerateRequest"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/v1/deductions", ["Idempotency-Key"]),
        ("/api/v1/holds", ["Idempotency-Key"]),
        ("/api/v1/generate", ["Idempotency-Key", "obol-max-credits"]),
        ("/v1/messages", ["Idempotency-Key", "obol-max-credits"]),
    ],
)
def test_the_headers_of_a_call_are_described(document, path, names):
    parameters = document["paths"][path]["post"]["parameters"]
    assert [(one["in"], one["name"]) for one in parameters] == [("header", name) for name in names]


@pytest.mark.parametrize("path", ["/api/v1/generate", "/v1/messages"])
def test_an_answer_may_be_a_stream(document, path):
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}


def test_every_operation_has_a_name_of_its_own(document):
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(names)) == len(names)
    assert {"generate", "create_message", "create_deduction", "open_hold", "show_license", "readyz"} <= set(names)


def test_problems_are_said_to_be_what_they_are_sent_as(document, client):
    responses = document["components"]["responses"]
    assert {tuple(response["content"]) for response in responses.values()} == {("application/problem+json",)}
    assert document["components"]["schemas"]["Problem"]["additionalProperties"] is True
    assert client.get("/api/v1/license").content_type == "application/problem+json"
