"""/openapi.json, made from the blueprints."""

import threading
from copy import deepcopy
from importlib.metadata import version
from typing import Any

from flask import Flask, Response, current_app
from flask_smorest import Api
from marshmallow import INCLUDE, Schema, fields, validate

from .. import strict_json
from ..problems import BY_CODE
from ..repository.webhooks import TYPES
from . import outcomes
from .fields import Answer, AnyObject

VERSION = version("obol")

ABOUT = "AI answers for prepaid credits: every delivered answer is paid for exactly once."

_EXTENSION = "obol-openapi"

_CODE = {"description": "stable; branch on this", "examples": list(BY_CODE)}


class FieldError(Answer):
    field = fields.String(metadata={"description": "its path, such as messages.1"})
    message = fields.String(metadata={"description": "what is wrong, and what is right"})


class ProblemSchema(Schema):
    """RFC 9457; some codes have more members, which their pages tell of."""

    class Meta:
        unknown = INCLUDE

    type = fields.String(
        required=True, metadata={"format": "uri-reference", "description": "the page that says more of the code"}
    )
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True, metadata={"description": "what happened, and what to do"})
    instance = fields.String(required=True, metadata={"format": "uri", "description": "this request, in the log"})
    code = fields.String(required=True, metadata=_CODE)
    errors = fields.List(fields.Nested(FieldError))
    available = fields.Integer()
    required = fields.Integer()


class WireErrorDetails(AnyObject):
    error_code = fields.String(metadata=_CODE)


class WireErrorBody(Schema):
    class Meta:
        unknown = INCLUDE

    type = fields.String(required=True)
    message = fields.String(required=True)
    details = fields.Nested(WireErrorDetails)


class WireError(Schema):
    """An error as the Messages API has it."""

    class Meta:
        unknown = INCLUDE

    type = fields.String(required=True, validate=validate.Equal("error"))
    error = fields.Nested(WireErrorBody, required=True)
    request_id = fields.String()


def _event() -> dict[str, Any]:
    """What an operator's webhook is sent. What is in `data` is docs/events.md's: an event of each type written out here
    would make the document longer than a connection keeps for a client that reads slowly."""
    text = {"type": "string"}
    about = {"license_id": {"type": ["string", "null"], "format": "uuid"}, "external_id": {"type": ["string", "null"]}}
    properties = {
        # No enum: there will be more.
        "type": {**text, "examples": list(TYPES)},
        "timestamp": {**text, "format": "date-time"},
        "data": {"type": "object", "required": list(about), "properties": about},
    }
    return {
        "summary": "An event, signed as Standard Webhooks has it. It can come twice, with one `webhook-id`.",
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": text}
            for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object", "required": list(properties), "properties": properties}
                }
            },
        },
        "responses": {"2XX": {"description": "Delivered."}, "410": {"description": "Nothing more is wanted."}},
    }


# Whoever comes while it is made waits for it: a hundred first requests at once would make it a hundred times.
MAKING = threading.RLock()


class _Api(Api):
    ERROR_SCHEMA = ProblemSchema

    def document(self) -> dict[str, Any]:
        """All of it; made with the first request, when every blueprint is there."""
        with MAKING:
            if not hasattr(self, "_document"):
                # A copy: what the blueprints made stays as it is.
                self._document = outcomes.complete(deepcopy(self.spec.to_dict()))
            return self._document

    def _openapi_json(self) -> Response:
        # Written once: anybody may ask for it, and it is the longest answer that there is.
        with MAKING:
            if not hasattr(self, "_written"):
                self._written = strict_json.encode(self.document()) + b"\n"
        return Response(self._written, content_type="application/json")


def init(app: Flask) -> Api:
    """Serve the document; blueprints are registered with what this returns."""
    app.config.update(
        API_TITLE="Obol",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={
            "info": {
                "description": f"{ABOUT} "
                "Errors are application/problem+json with a stable `code`; on /v1, which is the wire of the Anthropic "
                "API, they have its shape, with the code in `error.details.error_code`. Every response carries "
                "`request-id`; answers carry `obol-max-tokens` and `obol-credits-held`, `-charged` and `-balance`. "
                "A path that is not here is 404, another method 405, and what is no HTTP is 400.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "webhooks": {"event": {"post": _event()}},
        },
    )
    api = _Api(app)
    api.spec.components.security_scheme("license_key", {"type": "http", "scheme": "bearer"})
    api.spec.components.security_scheme("admin_token", {"type": "http", "scheme": "bearer"})
    api.spec.components.security_scheme("x_api_key", {"type": "apiKey", "in": "header", "name": "x-api-key"})
    api.spec.components.schema("WireError", schema=WireError)
    app.extensions[_EXTENSION] = api
    return api


def api_of(app: Flask) -> Api:
    """What `init` returned for an application."""
    return app.extensions[_EXTENSION]


def document() -> dict[str, Any]:
    """The document of the application that handles the current request."""
    described: dict[str, Any] = api_of(current_app).document()
    return described
