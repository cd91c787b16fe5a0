"""Schemathesis makes every call of /openapi.json, as it should be made and otherwise, with credentials and without:
no 5xx, no status, problem code, header or content type that is not described, no answer that its schema does not
allow, and nothing taken that its schema forbids.

A call that is new is made too, without a word here.
"""

import re
from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig as Config
from schemathesis.specs.openapi import checks
from test_openapi import resolved

from service import operator
from service.repository.admin import SCOPES

# Credentials are set by hand: one that was made up would be replaced, and its call be taken for a wrong one.
CONFIG = Config.from_dict({"generation": {"with-security-parameters": False}})

# For all calls together: however many there are, this takes no longer.
EXAMPLES = 240

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def described(app):
    """The calls, of an application whose answers are read to their end and closed, as a server does."""

    def whole(environ, start_response):
        answer = app(environ, start_response)
        try:
            return list(answer)
        finally:
            answer.close()

    return schemathesis.openapi.from_wsgi("/openapi.json", whole, config=CONFIG)


def says_its_code(_context, response, case):
    """The code of a problem is among those that its status is said to have."""
    document = case.operation.schema.raw_schema
    described = document["paths"][case.operation.path][case.operation.method.lower()]["responses"]
    said = resolved(document, described.get(str(response.status_code)) or described["default"])
    if "x-problem-codes" in said:
        assert code_of(response.json()) in said["x-problem-codes"]


def code_of(document):
    """Of a problem, or of an error of the Messages API; what has none is in the upstream's own words."""
    if "error" in document:
        return document["error"].get("details", {}).get("error_code", "upstream_error")
    return document["code"]


CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
    says_its_code,
]


class Caller:
    """Makes calls with the credentials of one license and one operator, or none, and keeps what went wrong and which
    ids it has seen. It leaves its own license and token alone, or it would be refused from then on."""

    def __init__(self, license_key, token, *, own=frozenset()):
        self.license_key = license_key
        self.token = token
        self.wrong = []
        self.statuses = {}
        self._own = own
        self._ids = []

    def make_all(self, schema, mode):
        operations = [result.ok() for result in schema.get_all_operations()]
        for operation in operations:
            self.statuses[operation.label] = Counter()
            self._make(operation, mode, examples=max(3, EXAMPLES // len(operations)))

    def _make(self, operation, mode, *, examples):
        @given(case=operation.as_strategy(mode), known=st.integers(0, 9))
        @settings(
            max_examples=examples,
            phases=[Phase.generate],
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def make(case, known):
            self._call(case, known)

        try:
            make()
        except Unsatisfiable:
            # What takes nothing cannot be called in a wrong way.
            assert mode.is_negative

    def _call(self, case, known):
        for name in ("Authorization", "x-api-key"):
            case.headers.pop(name, None)
        # Half of the time with an id that was seen, so that a hold that is settled is also one that was opened.
        for name, value in (case.path_parameters or {}).items():
            if known < len(self._ids[-5:]) and UUID.fullmatch(str(value)):
                case.path_parameters[name] = self._ids[-1 - known]
        response = case.call(headers=self._headers(case.operation))
        self.statuses[case.operation.label][response.status_code] += 1
        if "json" in response.headers["content-type"][0]:
            self._ids += [id for id in UUID.findall(response.text) if id not in self._own]
        try:
            case.validate_response(response, checks=CHECKS)
        except (BaseExceptionGroup, AssertionError) as error:
            self.wrong.append(f"{case.operation.label}: {error}")

    def _headers(self, operation):
        wanted = operation.definition.raw.get("security", [])
        if self.license_key is None or not wanted:
            return {}
        of_licenses = any("license_key" in one for one in wanted)
        return {"Authorization": f"Bearer {self.license_key if of_licenses else self.token}"}


@pytest.mark.parametrize(
    ("mode", "credits", "statuses"),
    [
        (GenerationMode.POSITIVE, 10**15, {200, 201, 404, 422}),
        (GenerationMode.NEGATIVE, 10**15, {400, 404, 422}),
        (GenerationMode.POSITIVE, 0, {402}),
        # Their shape is not looked at.
        (GenerationMode.POSITIVE, None, {401}),
    ],
)
def test_every_call(described, owner, new_license, mode, credits, statuses):
    license = new_license(credits=credits or 0)
    new = operator.create_token(owner, name="schemathesis", scopes=SCOPES)
    own = {str(license.id), str(new.token_id)}
    caller = Caller(license.raw_key, new.token, own=own) if credits is not None else Caller(None, None)
    caller.make_all(described, mode)

    assert caller.wrong == []
    # It came further than to the door.
    assert statuses <= {status for of_call in caller.statuses.values() for status in of_call}
