"""What /openapi.json says, as a person reads it."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_OF_ALL = "request-id"


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body: its path, type with limits, and what it is for."""

    name: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True)
class Outcome:
    """A status, what it means, the types of what comes, and its problem codes; none for an answer."""

    status: str
    description: str
    types: list[str]
    codes: list[str]


@dataclass(frozen=True)
class Operation:
    """A call."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body: list[Field]
    answer: list[Field]
    headers: list[Field]
    outcomes: list[Outcome]
    request: str
    response: str


@dataclass(frozen=True)
class Group:
    """The calls of one tag."""

    name: str
    description: str
    operations: list[Operation]


def groups(document: dict[str, Any]) -> list[Group]:
    """Every call of the document, by tag."""
    reader = _Reader(document)
    found = [
        Group(
            tag["name"],
            tag["description"],
            [
                reader.operation(path, method, item)
                for path, item in document["paths"].items()
                for method, said in item.items()
                if method != "parameters" and tag["name"] in said["tags"]
            ],
        )
        for tag in document["tags"]
    ]
    return [group for group in found if group.operations]


class _Reader:
    def __init__(self, document: dict[str, Any]) -> None:
        self._components = document["components"]

    def operation(self, path: str, method: str, item: dict[str, Any]) -> Operation:
        said = item[method]
        parameters = [*item.get("parameters", ()), *said.get("parameters", ())]
        body: dict[str, Any] = next(iter(said.get("requestBody", {}).get("content", {}).values()), {})
        responses = {status: self._resolved(response) for status, response in said["responses"].items()}
        success = next(response for status, response in responses.items() if status < "3")
        # 204 has none.
        contents = success.get("content", {})
        answer: dict[str, Any] = next(iter(contents.values()), {})
        return Operation(
            id=said["operationId"],
            method=method.upper(),
            path=path,
            summary=said.get("summary", ""),
            description=said.get("description", ""),
            parameters=[self._parameter(parameter) for parameter in parameters],
            body=list(self._fields(body.get("schema", {}))),
            answer=list(self._fields(answer.get("schema", {}))),
            # What every response carries is said once, above all of them.
            headers=[self._header(name, said) for name, said in success.get("headers", {}).items() if name != _OF_ALL],
            outcomes=[
                Outcome(
                    status,
                    response["description"],
                    list(response.get("content", ())),
                    response.get("x-problem-codes", []),
                )
                for status, response in responses.items()
            ],
            request=_curl(path, method, said, parameters=parameters, body=body.get("example")),
            response="\n".join(_shown(content["example"]) for content in contents.values() if "example" in content),
        )

    def _resolved(self, said: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in said:
            return said
        _, _, kind, name = said["$ref"].split("/")
        resolved: dict[str, Any] = self._components[kind][name]
        return resolved

    def _parameter(self, said: dict[str, Any]) -> Field:
        name = said["name"] if said["in"] == "path" else f"{said['in']} {said['name']}"
        return Field(name, self._kind(said["schema"]), said["required"], said.get("description", ""))

    def _header(self, name: str, said: dict[str, Any]) -> Field:
        header = self._resolved(said)
        return Field(name, self._kind(header["schema"]), header["required"], header["description"])

    def _fields(self, schema: dict[str, Any], prefix: str = "") -> Iterator[Field]:
        schema = self._resolved(schema)
        needed = schema.get("required", ())
        for name, said in schema.get("properties", {}).items():
            path, inner = f"{prefix}{name}", self._resolved(said)
            yield Field(path, self._kind(said), name in needed, said.get("description", ""))
            if inner.get("type") == "array":
                yield from self._fields(inner["items"], f"{path}[].")
            else:
                yield from self._fields(inner, f"{path}.")

    def _kind(self, schema: dict[str, Any]) -> str:
        """A type and its limits, in words."""
        schema = self._resolved(schema)
        types = schema.get("type", "any")
        kind = " or ".join(types) if isinstance(types, list) else str(types)
        if kind == "array":
            kind = f"array of {self._kind(schema['items'])}"
        if "format" in schema:
            kind += f" ({schema['format']})"
        return ", ".join([kind, *_limits(schema)])


def _limits(schema: dict[str, Any]) -> Iterator[str]:
    for least, most, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if least in schema and most in schema:
            yield f"{schema[least]} to {schema[most]}{unit}"
        elif least in schema:
            yield f"at least {schema[least]}{unit}"
        elif most in schema:
            yield f"at most {schema[most]}{unit}"
    if "enum" in schema:
        yield "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "pattern" in schema:
        yield f"like `{schema['pattern']}`"
    if schema.get("default") is not None:
        yield f"default `{json.dumps(schema['default'])}`"


def _curl(
    path: str, method: str, said: dict[str, Any], *, parameters: list[dict[str, Any]], body: dict[str, Any] | None
) -> str:
    """A line for a shell in which $URL is set, and $KEY to a license key or $TOKEN to what else is asked for."""
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", parameter["name"].upper())))
    words = ["curl -sS", *([f"-X {method.upper()}"] if method not in ("get", "post") or not body else [])]
    if method == "get":
        words.pop()
    words.append(f'"$URL{path}"')
    if wanted := said.get("security"):
        words.append(f'-H "Authorization: Bearer {"$KEY" if "license_key" in wanted[0] else "$TOKEN"}"')
    if body is not None:
        words += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(body))}"]
    return " \\\n  ".join([" ".join(words[:-1]), words[-1]]) if body is not None else " ".join(words)


def _shown(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
