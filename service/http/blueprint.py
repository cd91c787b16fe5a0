"""A blueprint: who may use it, how large a body it takes, and how its requests are read."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import flask_smorest
from flask import Response
from marshmallow import ValidationError
from webargs.flaskparser import FlaskParser

from ..problems import Problem
from . import outcomes
from .auth import PROBLEMS, SECURITY, admin_auth
from .body import MEBIBYTE, json_object, limit_body
from .errors import render

# What is said of a request that is wrong in thousands of places must not be longer than the request.
MOST_ERRORS = 20
LONGEST_NAME = 100


class _Parser(FlaskParser):
    """Reads requests as `body` does, and says which field is wrong, why, and what is right."""

    def load_json(self, req: Any, schema: Any) -> Any:
        return json_object()

    def load_querystring(self, req: Any, schema: Any) -> Any:
        if again := {name: ["must be given once"] for name, values in req.args.lists() if len(values) > 1}:
            raise ValidationError(again)
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: ValidationError, req: Any, schema: Any, *, error_status_code: Any, error_headers: Any
    ) -> NoReturn:
        # Where the fields stand (in the body, the query, a header) goes without saying.
        found = [field for fields in error.normalized_messages().values() for field in _wrong(fields)]
        errors = [{"field": name, "message": message} for name, message in found[:MOST_ERRORS]]
        detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors)
        if len(found) > MOST_ERRORS:
            detail += f"; and {len(found) - MOST_ERRORS} more"
        raise Problem("validation_failed", detail, {"errors": errors})


def _wrong(messages: Any, *path: str) -> Iterator[tuple[str, str]]:
    """Each field that is wrong, by its path (`messages.1`), and why."""
    if isinstance(messages, dict):
        for name, inner in messages.items():
            yield from _wrong(inner, *path, str(name)[:LONGEST_NAME])
    else:
        yield ".".join(path), str(messages[0])


class Blueprint(flask_smorest.Blueprint):
    """A blueprint that says who may use it, and how large a body it takes.

    Args:
        auth: of `http.auth`; runs before every view.
        body_limit: bytes.
        description: what its calls are about, in a sentence.
    """

    # webargs would ignore unknown query parameters; each schema here says what it does with them.
    ARGUMENTS_PARSER = _Parser(unknown=None)

    def __init__(
        self, name: str, auth: Callable[[], None], body_limit: int = MEBIBYTE, *, description: str = ""
    ) -> None:
        super().__init__(name, __name__, description=description)
        self.auth = auth
        self.before_request(auth)
        self.before_request(partial(limit_body, body_limit))

    @classmethod
    def problems(cls, *codes: str) -> Callable[[Any], Any]:
        """The problems of a view that do not follow from who may use it and what it reads."""
        decorate: Callable[[Any], Any] = cls.doc(**{outcomes.CODES: codes})
        return decorate

    def add_url_rule(self, rule: str, endpoint: Any = None, view_func: Any = None, *args: Any, **options: Any) -> None:
        """As Flask's. The view's name is the operation's, which programs made from /openapi.json call it by."""
        said: dict[str, Any] = {
            "operationId": view_func.__name__,
            outcomes.CODES: outcomes.codes_of(rule, getattr(view_func, "_apidoc", {}), PROBLEMS[self.auth]),
        }
        if SECURITY[self.auth]:
            said["security"] = SECURITY[self.auth]
        super().add_url_rule(rule, endpoint, self.doc(**said)(view_func), *args, **options)


class AdminBlueprint(Blueprint):
    """A blueprint of the admin API. Each of its views names, with `scope`, what a token needs for it."""

    def __init__(self, name: str, *, description: str) -> None:
        self.scopes: dict[str, str] = {}
        super().__init__(f"admin_{name}", admin_auth, description=description)
        self.register_error_handler(Problem, _of_an_operator)

    def add_url_rule(
        self, rule: str, endpoint: Any = None, view_func: Any = None, *args: Any, scope: str, **options: Any
    ) -> None:
        """As Flask's."""
        self.scopes[view_func.__name__] = scope
        named = self.doc(description=f"Needs the scope `{scope}`.")(view_func)
        super().add_url_rule(rule, endpoint or view_func.__name__, named, *args, **options)


def _of_an_operator(problem: Problem) -> Response:
    """A license that is asked for by its id is there or not; no key was wrong."""
    if problem.code == "license_invalid":
        problem = Problem("license_not_found", problem.detail)
    return render(problem)
