"""/openapi.json says what the service does."""

import json
import re
import time
from datetime import UTC, datetime
from uuid import uuid4

import jsonschema_rs
import pytest
import standardwebhooks

from service import webhooks, worker
from service.http.openapi import api_of
from service.problems import BY_CODE
from service.repository.webhooks import TYPES, ClaimedDelivery


@pytest.fixture
def document(client):
    return client.get("/openapi.json").get_json()


# Pages, which programs have no use for.
FOR_PEOPLE = ("/console", "/account", "/static/")


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
        if str(rule).startswith(FOR_PEOPLE):
            continue
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


def test_every_route_is_described_and_may_end_in_errors_of_its_own_shape(document):
    schemas = document["components"]["schemas"]
    assert sorted(schemas["Problem"]["required"]) == ["code", "detail", "instance", "status", "title", "type"]
    assert set(schemas["WireError"]["properties"]) == {"type", "error", "request_id"}
    for name, operation in operations(document).items():
        assert operation["summary"], name
        is_wire = " /v1/" in name
        # Only the upstream can answer with anything.
        assert ("default" in operation["responses"]) == is_wire, name
        for status, response in operation["responses"].items():
            if status < "4":
                continue
            for code in (found := resolved(document, response)).get("x-problem-codes", []):
                row = BY_CODE[code]
                expected = row.wire_status or row.status if is_wire else row.status
                if is_wire and code == "upstream_error":
                    # With the upstream's own status, unless that is about our account with it.
                    assert status not in {"401", "402", "403"}, name
                else:
                    assert status == str(expected), (name, code)
            assert found["content"].keys() <= {"application/json" if is_wire else "application/problem+json"} | (
                {"application/json"} if "readyz" in name else set()
            )
            assert "request-id" in found["headers"], name


def resolved(document, said):
    if "$ref" not in said:
        return said
    _, _, kind, name = said["$ref"].split("/")
    return document["components"][kind][name]


def codes(document, operation_id):
    """The codes of the problems that a call is said to end in."""
    (operation,) = [one for one in operations(document).values() if one["operationId"] == operation_id]
    responses = [resolved(document, response) for response in operation["responses"].values()]
    return {code for response in responses for code in response.get("x-problem-codes", [])}


OF_ALL = {"internal_error", "database_error", "over_capacity", "credentials_missing", "license_invalid"}
OF_ALL |= {"limit_exceeded"}
OF_BODIES = {"malformed_request", "validation_failed", "unsupported_media_type", "payload_too_large"}
OF_STATES = {"license_inactive", "license_expired"}
OF_ANSWERS = {"upstream_error", "upstream_timeout", "idempotency_in_progress", "idempotency_key_reused", "answer_gone"}
OF_ANSWERS |= {"model_not_allowed", "model_not_priced", "max_credits_exceeded", "insufficient_credits"}


@pytest.mark.parametrize(
    ("operation_id", "expected"),
    [
        ("healthz", {"internal_error"}),
        ("show_license", OF_ALL),
        ("list_entries", OF_ALL | {"validation_failed"}),
        ("generate", OF_ALL | OF_BODIES | OF_STATES | OF_ANSWERS),
        (
            "create_message",
            OF_ALL | OF_BODIES | OF_STATES | OF_ANSWERS | {"cost_unbounded", "thread_unsupported_request"},
        ),
        (
            "count_tokens",
            OF_ALL | OF_BODIES | OF_STATES | {"upstream_error", "upstream_timeout", "insufficient_credits"},
        ),
        ("show_model", OF_ALL | OF_STATES | {"upstream_error", "upstream_timeout", "not_found"}),
        (
            "create_deduction",
            OF_ALL
            | OF_BODIES
            | OF_STATES
            | {"amount_invalid", "insufficient_credits", "idempotency_key_reused", "answer_gone"},
        ),
        (
            "settle_hold",
            OF_ALL
            | OF_BODIES
            | {"amount_invalid", "hold_not_found", "hold_not_open", "settle_exceeds_hold", "not_found"},
        ),
    ],
)
def test_a_call_says_what_it_can_end_in(document, operation_id, expected):
    assert codes(document, operation_id) == expected


def test_two_first_requests_at_once_make_the_same_document(app):
    api = api_of(app)
    first = api.document()
    del api._document
    assert api.document() == first
    assert api.document() is api.document()


def test_what_can_never_come_is_not_described(document):
    assert "PaginationMetadata" not in document["components"]["schemas"]
    assert all(
        "null" not in parameter["schema"]["type"] and "default" not in parameter["schema"]
        for operation in operations(document).values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "header"
    )


@pytest.mark.parametrize("kind", ["schemas", "responses", "headers", "examples"])
def test_nothing_is_described_that_nothing_refers_to(document, kind):
    text = json.dumps(document)
    assert document["components"][kind]
    assert all(f'"#/components/{kind}/{name}"' in text for name in document["components"][kind])


def test_the_description_and_the_page_fit_in_what_the_system_keeps_for_a_connection(client):
    assert len(client.get("/openapi.json").data) < worker.SEND_BUFFER
    assert len(client.get("/docs").data) < worker.SEND_BUFFER


@pytest.mark.parametrize(("kind", "license_id"), [("license.exhausted", uuid4()), ("upstream.refuses_us", None)])
def test_what_a_webhook_is_sent_is_as_it_is_described(document, kind, license_id):
    described = document["webhooks"]["event"]["post"]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["type"]["examples"] == list(TYPES)
    about = {"license_id": license_id and str(license_id), "external_id": None}
    claimed = ClaimedDelivery(uuid4(), kind, about, datetime.now(UTC), "http", "", b"", None, None, False)
    body = webhooks.document(claimed)
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(json.loads(body))

    secret, at, message = "whsec_" + "A" * 32, int(time.time()), webhooks.message_id(claimed.event_id)
    sent = (message, str(at), webhooks.sign(secret, message, at, body=body))
    headers = dict(zip((one["name"] for one in described["parameters"]), sent, strict=True))
    assert standardwebhooks.Webhook(secret).verify(body, headers)["type"] == kind


def test_every_example_is_what_its_schema_says(document):
    """Of requests, answers and problems."""
    components = {"components": document["components"]}
    checked = 0
    for name, operation in operations(document).items():
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for said in [*bodies, *(resolved(document, response) for response in operation["responses"].values())]:
            for content in said.get("content", {}).values():
                examples = [content["example"]] if "example" in content else []
                examples += [resolved(document, one)["value"] for one in content.get("examples", {}).values()]
                validator = jsonschema_rs.Draft202012Validator(content["schema"] | components, validate_formats=True)
                for example in examples:
                    assert [error.message for error in validator.iter_errors(example)] == [], name
                    checked += 1
    assert checked > 150


def test_every_call_with_a_body_or_an_answer_has_an_example(document):
    for name, operation in operations(document).items():
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["example"], name
        (answer,) = [answer for status, answer in operation["responses"].items() if status < "3"]
        if "content" in answer and name != "GET /docs":
            assert any("example" in content for content in answer["content"].values()), name
        else:
            assert name in {
                "GET /docs",
                "DELETE /api/v1/admin/tokens/{token_id}",
                "DELETE /api/v1/admin/webhooks/{webhook_id}",
            }


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


@pytest.mark.parametrize("path", ["/api/v1/license/entries", "/api/v1/admin/licenses/{license_id}/entries"])
def test_a_statement_may_be_a_file(document, path):
    content = document["paths"][path]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/csv", "application/x-ndjson"}


def test_every_operation_has_a_name_of_its_own(document):
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(names)) == len(names)
    assert {"generate", "create_message", "create_deduction", "open_hold", "show_license", "readyz"} <= set(names)


def test_problems_are_said_to_be_what_they_are_sent_as(document, client):
    responses = document["components"]["responses"]
    for name, response in responses.items():
        assert tuple(response["content"]) == (
            "application/json" if name.startswith("wire_") else "application/problem+json",
        )
    assert document["components"]["schemas"]["Problem"]["additionalProperties"] is True
    assert client.get("/api/v1/license").content_type == "application/problem+json"
