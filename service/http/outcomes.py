"""What a call can end in, told in /openapi.json: each status with its problem codes, headers and examples.

A view says which problems are its own (`Blueprint.problems`); those that follow from what it reads and who may
use it are added to them (`codes_of`). /openapi.json has them by status (`complete`), in the shape that
`http.errors` renders on that path.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..problems import BY_CODE, ProblemType
from . import guide
from .errors import is_wire, wire_document

CODES = "x-problem-codes"

# What a body can be refused for, before the database is asked.
_OF_BODIES = ("malformed_request", "unsupported_media_type", "payload_too_large", "validation_failed")
# And what a large one is, before it is read (http.body).
_OF_LARGE_BODIES = ("license_inactive", "license_expired", "insufficient_credits")
_OF_HOLDS = "hold_id"

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_YES_OR_NO = {"type": "string", "enum": ["true", "false"]}
_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "request-id": ("the client's own x-request-id when it is sane; the log has it", _TEXT),
    "Retry-After": (
        "seconds; there when the same request can succeed later. With the model's own errors it may be a date",
        {"type": ["integer", "string"]},
    ),
    "retry-after-ms": ("where the model's API says it", _TEXT),
    "WWW-Authenticate": ("Bearer", _TEXT),
    "x-should-retry": (
        "whether the SDKs of the Anthropic API ask again",
        _YES_OR_NO,
    ),
    "obol-charge-id": ("the hold of this answer, and its entry in the ledger", {"type": "string", "format": "uuid"}),
    "obol-max-tokens": ("what was asked for; less than `max_tokens` when that is not covered", _COUNT),
    "obol-credits-held": ("set aside for this call", _COUNT),
    "obol-credits-charged": ("of an answer that comes whole; a stream tells it at its end", _COUNT),
    "obol-credits-balance": ("after the charge", _COUNT),
    "obol-replayed": ("true: this answer was paid for by an earlier call", {"type": "string", "enum": ["true"]}),
}
# Only these are never left out.
_ALWAYS = {"request-id", "WWW-Authenticate"}
# Of the upstream's own errors all have their status on the wire but these, which become 502.
_ABOUT_OUR_ACCOUNT = {"401", "402", "403"}
_WORTH_A_RETRY = {"409", "429", "500", "502", "503", "504", "default"}

# For the values of paths that say nothing of themselves.
_EXAMPLES = {"uuid": "661fd0b6-db64-4522-bd48-222e4259ca01"}


def headers(*names: str) -> dict[str, Any]:
    """Headers of an answer, for its description."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def codes_of(rule: str, said: dict[str, Any], of_auth: tuple[str, ...]) -> list[str]:
    """The codes of the problems that a call can end in.

    Args:
        rule: its path.
        said: what its decorators say of it.
        of_auth: those that come of who may use it.
    """
    codes = {"internal_error", *of_auth, *said.get("manual_doc", {}).get(CODES, ())}
    read = {parameter["in"] for parameter in said.get("arguments", {}).get("parameters", ())}
    if read:
        codes.add("validation_failed")
    if "json" in read:
        codes.update(_OF_BODIES)
        if "license_invalid" in of_auth and _OF_HOLDS not in rule:
            codes.update(_OF_LARGE_BODIES)
    if "<" in rule:
        codes.add("not_found")
    return [code for code in BY_CODE if code in codes]


def complete(spec: dict[str, Any]) -> dict[str, Any]:
    """The description as it is served, of what flask-smorest makes of the blueprints."""
    components = spec["components"]
    components["responses"] = {}
    components["examples"] = {}
    components["headers"] = {name: _header(name) for name in _HEADERS}
    for path, item in spec["paths"].items():
        for parameter in _parameters(item):
            _say_what_it_can_be(parameter)
        for operation in _operations(item):
            _tell_outcomes(components, path, operation)
    _drop_unused(spec)
    return spec


def _operations(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for method, operation in item.items() if method != "parameters")


def _parameters(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from item.get("parameters", ())
    for operation in _operations(item):
        yield from operation.get("parameters", ())


def _say_what_it_can_be(parameter: dict[str, Any]) -> None:
    """A header and a query have text or are not there: null is for what a view makes of that."""
    schema = parameter["schema"]
    if isinstance(schema.get("type"), list):
        (schema["type"],) = (name for name in schema["type"] if name != "null")
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
    if schema.get("default", 0) is None:
        del schema["default"]
    if (example := _EXAMPLES.get(schema.get("format"))) is not None:
        parameter.setdefault("example", example)


def _tell_outcomes(components: dict[str, Any], path: str, operation: dict[str, Any]) -> None:
    # What flask-smorest refers to is its own guess at the errors.
    answers = {status: said for status, said in operation["responses"].items() if "$ref" not in said}
    for status, answer in answers.items():
        answer["headers"] = headers("request-id") | answer.get("headers", {})
        if int(status) >= 400:
            answer["headers"] |= headers("Retry-After")
    by_status = defaultdict(list)
    for code in operation.pop(CODES):
        by_status[str(_status(path, BY_CODE[code]))].append(code)
    if is_wire(path) and "upstream_error" in by_status.get("502", ()):
        for status in by_status.keys() - _ABOUT_OUR_ACCOUNT - {"502"}:
            by_status[status].append("upstream_error")
        by_status["default"] = ["upstream_error"]
    for status, codes in sorted(by_status.items()):
        shape = "wire" if is_wire(path) else "problem"
        for code in codes:
            components["examples"][_in_shape(shape, code)] = _example(shape, code)
        name = _name(components["responses"], _in_shape(shape, status), _response(status, shape, codes))
        answers[status] = {"$ref": f"#/components/responses/{name}"}
    operation["responses"] = dict(sorted(answers.items()))


def _in_shape(shape: str, name: str) -> str:
    # Of the shape that nearly all have it is not said: these names stand in the document five hundred times.
    return f"wire_{name}" if shape == "wire" else name


def _name(responses: dict[str, Any], name: str, response: dict[str, Any]) -> str:
    """Of a response that several calls can end in: the first of a status has its name, the next ones a number."""
    number, numbered = 1, name
    while responses.setdefault(numbered, response) != response:
        number += 1
        numbered = f"{name}_{number}"
    return numbered


def _status(path: str, row: ProblemType) -> int:
    return row.wire_status or row.status if is_wire(path) else row.status


def _response(status: str, shape: str, codes: list[str]) -> dict[str, Any]:
    content_type, schema = {
        "problem": ("application/problem+json", "Problem"),
        "wire": ("application/json", "WireError"),
    }[shape]
    told = ["request-id"]
    if status in _WORTH_A_RETRY:
        told.append("Retry-After")
    if status == "401":
        told.append("WWW-Authenticate")
    if shape == "wire":
        told += ["x-should-retry", "retry-after-ms"] if "upstream_error" in codes else ["x-should-retry"]
    # Their titles stand once, at their examples.
    description = ", ".join(f"`{code}`" for code in codes)
    if status == "default":
        description = "`upstream_error`: the model's API answered with this status"
    return {
        "description": description,
        "headers": headers(*told),
        "content": {
            content_type: {
                "schema": {"$ref": f"#/components/schemas/{schema}"},
                "examples": {code: {"$ref": f"#/components/examples/{_in_shape(shape, code)}"} for code in codes},
            }
        },
        CODES: codes,
    }


def _example(shape: str, code: str) -> dict[str, Any]:
    document = guide.example_document(code)
    value = wire_document(guide.example(code), guide.REQUEST_ID) if shape == "wire" else document
    return {"summary": document["title"], "value": value}


def _header(name: str) -> dict[str, Any]:
    description, schema = _HEADERS[name]
    return {"description": description, "required": name in _ALWAYS, "schema": schema}


def _drop_unused(spec: dict[str, Any]) -> None:
    """Leave out the components that nothing refers to."""
    components, used, found = spec["components"], set(), set(_references(spec["paths"]))
    while found:
        kind, name = found.pop()
        used.add((kind, name))
        found |= set(_references(components[kind][name])) - used
    for kind in components.keys() - {"securitySchemes"}:
        components[kind] = {name: said for name, said in components[kind].items() if (kind, name) in used}


def _references(said: object) -> Iterator[tuple[str, str]]:
    if isinstance(said, dict):
        for name, value in said.items():
            if name == "$ref":
                _, _, kind, component = value.split("/")
                yield kind, component
            else:
                yield from _references(value)
    elif isinstance(said, list):
        for value in said:
            yield from _references(value)
