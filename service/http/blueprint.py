"""A blueprint: who may use it, how large a body it takes, and how its requests are read."""

from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import flask_smorest
from flask import Response, request
from marshmallow import Schema, ValidationError

from ..problems import Problem
from . import outcomes
from .auth import PROBLEMS, SECURITY, admin_auth
from .body import MEBIBYTE, json_object, limit_body
from .errors import render

# What is said of a request that is wrong in thousands of places must not be longer than the request.
MOST_ERRORS = 20
LONGEST_NAME = 100


class _Reader:
    """Reads the arguments of a view with a schema that is made once, and says which field is wrong, why, and what
    is right. It stands where flask-smorest has the parser of webargs, which makes a schema for each request."""

    DEFAULT_VALIDATION_STATUS = 422

    def use_args(self, schema: type[Schema], *, location: str, **_told_the_description: Any) -> Callable[[Any], Any]:
        """Decorates a view: what was read is its next argument."""
        made = schema()
        # Of the headers only those that it names, under the names that WSGI has for them.
        named = {field.data_key or name: _in_wsgi(field.data_key or name) for name, field in made.fields.items()}

        def headers() -> dict[str, str]:
            environ = request.environ
            return {name: environ[key] for name, key in named.items() if key in environ}

        read = {"json": json_object, "query": _query, "headers": headers}[location]

        def arguments() -> Any:
            # What was read is kept nowhere: of a large body it is much larger than what comes of it.
            try:
                return made.load(read())
            except ValidationError as error:
                raise _refusal(error) from error

        def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(view)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return view(*args, arguments(), **kwargs)

            return wrapper

        return decorate


def _query() -> dict[str, str]:
    if again := {name: ["must be given once"] for name, values in request.args.lists() if len(values) > 1}:
        raise ValidationError(again)
    return request.args.to_dict()


def _in_wsgi(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def _refusal(error: ValidationError) -> Problem:
    found = list(_wrong(error.normalized_messages()))
    errors = [{"field": name, "message": message} for name, message in found[:MOST_ERRORS]]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors)
    if len(found) > MOST_ERRORS:
        detail += f"; and {len(found) - MOST_ERRORS} more"
    return Problem("validation_failed", detail, {"errors": errors})


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

    ARGUMENTS_PARSER = _Reader()

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
