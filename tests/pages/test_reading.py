"""What is said of a schema, in words."""

import pytest

from service.pages import reading


def kind_of(schema):
    """What a parameter of this schema is said to be."""
    call = {
        "operationId": "ask",
        "tags": ["calls"],
        "parameters": [{"name": "given", "in": "query", "required": False, "schema": schema}],
        "responses": {"200": {"description": "OK", "content": {"text/plain": {}}}},
    }
    tags = [{"name": "calls", "description": ""}, {"name": "nothing", "description": ""}]
    document = {"tags": tags, "paths": {"/ask": {"get": call}}, "components": {"schemas": {"Name": {"type": "string"}}}}
    (group,) = reading.groups(document)
    ((parameter,),) = [operation.parameters for operation in group.operations]
    assert parameter.name == "query given"
    return parameter.kind


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({}, "any"),
        ({"type": "integer", "minimum": 1}, "integer, at least 1"),
        ({"type": "integer", "maximum": 9}, "integer, at most 9"),
        ({"type": "integer", "minimum": 1, "maximum": 9, "default": 5}, "integer, 1 to 9, default `5`"),
        ({"type": ["string", "null"], "maxLength": 9, "default": None}, "string or null, at most 9 characters"),
        ({"type": "string", "format": "uuid"}, "string (uuid)"),
        ({"type": "string", "enum": ["a", "b"]}, "string, one of `a`, `b`"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Name"}}, "array of string"),
    ],
)
def test_a_type_and_its_limits(schema, said):
    assert kind_of(schema) == said
