"""/openapi.json, made from the blueprints."""

from importlib.metadata import version

from flask import Flask
from flask_smorest import Api
from marshmallow import INCLUDE, Schema, fields

VERSION = version("obol")


class FieldError(Schema):
    field = fields.String()
    message = fields.String()


class ProblemSchema(Schema):
    """RFC 9457; some codes have more members, which their `detail` tells of."""

    class Meta:
        unknown = INCLUDE

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    instance = fields.String()
    code = fields.String(metadata={"description": "stable; branch on this"})
    errors = fields.List(fields.Nested(FieldError))
    available = fields.Integer()
    required = fields.Integer()


class _Api(Api):
    ERROR_SCHEMA = ProblemSchema

    def _register_responses(self) -> None:
        # The responses that it has ready are errors; what a view answers is JSON.
        self.DEFAULT_RESPONSE_CONTENT_TYPE = "application/problem+json"
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE


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
                "description": "AI answers for prepaid credits: every delivered answer is paid for exactly once. "
                "Errors are application/problem+json with a stable `code`; on /v1, which is the wire of the Anthropic "
                "API, they have its shape, with the code in `error.details.error_code`. Every response carries "
                "`request-id`; answers carry `obol-max-tokens` and `obol-credits-held`, `-charged` and `-balance`."
            }
        },
    )
    api = _Api(app)
    api.spec.components.security_scheme("license_key", {"type": "http", "scheme": "bearer"})
    api.spec.components.security_scheme("admin_token", {"type": "http", "scheme": "bearer"})
    api.spec.components.security_scheme("x_api_key", {"type": "apiKey", "in": "header", "name": "x-api-key"})
    return api
