"""The one table of errors: code, SQLSTATE, prefix in SQL, HTTP status, title.

Everything that can go wrong for a client is a `Problem` with a code from this table. SQL
functions raise the SQLSTATE with the prefix, `db` turns it into a Problem by the SQLSTATE
alone, and `http.errors` renders it. Nothing else knows a status or a code.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ProblemType:
    """One row: `retry_after_s` is sent as Retry-After where asking again can help; `wire_status` is for
    /v1, where programs for that wire expect another."""

    code: str
    status: int
    title: str
    sqlstate: str | None = None
    prefix: str | None = None
    retry_after_s: int | None = None
    wire_status: int | None = None

    @property
    def path(self) -> str:
        """Its name in a problem document, and the page of the service that says more."""
        return f"/problems/{self.code}"


_TABLE = (
    ProblemType("insufficient_credits", 402, "Not enough credits", "OB402", "INSUFFICIENT_CREDITS"),
    ProblemType("license_invalid", 403, "The license key is not valid", "OB403", "INVALID_LICENSE", wire_status=401),
    ProblemType("license_inactive", 403, "The license is not active", "OB413", "INACTIVE_LICENSE"),
    ProblemType("license_expired", 403, "The license has expired", "OB423", "EXPIRED_LICENSE"),
    ProblemType("credentials_missing", 401, "Credentials are needed"),
    ProblemType("admin_forbidden", 403, "The admin token does not allow this", "OB433", "ADMIN_FORBIDDEN"),
    ProblemType("keys_not_allowed", 403, "No key can be made with this one", "OB453", "KEYS_NOT_ALLOWED"),
    ProblemType("model_not_allowed", 403, "The key may not use this model", "OB443", "MODEL_NOT_ALLOWED"),
    # What an operator asks for by its id; who holds a key is told license_invalid.
    ProblemType("license_not_found", 404, "There is no such license"),
    ProblemType("key_not_found", 404, "There is no such key", "OB444", "KEY_NOT_FOUND"),
    ProblemType("already_exists", 409, "There is one already", "OB449", "ALREADY_EXISTS"),
    ProblemType("hold_not_found", 404, "There is no such hold", "OB404", "HOLD_NOT_FOUND"),
    ProblemType("hold_not_open", 409, "The hold is not open", "OB409", "HOLD_NOT_OPEN"),
    ProblemType("settle_exceeds_hold", 422, "More than is held", "OB421", "SETTLE_EXCEEDS_HOLD"),
    ProblemType(
        "idempotency_in_progress", 409, "The first call is still running", "OB419", "IDEMPOTENCY_IN_PROGRESS", 1
    ),
    ProblemType(
        "idempotency_key_reused", 422, "The idempotency key was used before", "OB422", "IDEMPOTENCY_KEY_REUSED"
    ),
    ProblemType("answer_gone", 410, "The answer is no longer stored", "OB410", "ANSWER_GONE"),
    ProblemType("payments_not_configured", 404, "Nothing is sold by card here"),
    ProblemType("package_not_found", 404, "There is no such package", "OB425", "PACKAGE_NOT_FOUND"),
    ProblemType("payment_not_found", 404, "There is no such payment", retry_after_s=60),
    ProblemType("signature_invalid", 400, "The signature is not valid"),
    ProblemType("stripe_error", 502, "Stripe gave no answer"),
    ProblemType("limit_exceeded", 429, "A limit is reached", "OB429", "LIMIT_EXCEEDED", 1),
    ProblemType("grant_not_found", 404, "There is no such grant", "OB414", "GRANT_NOT_FOUND"),
    ProblemType("grant_ended", 409, "The grant has ended", "OB415", "GRANT_ENDED"),
    ProblemType("refund_exceeds_charge", 422, "More than is left of the charge", "OB416", "REFUND_EXCEEDS_CHARGE"),
    ProblemType("amount_invalid", 422, "The amount is not valid", "OB400", "INVALID_AMOUNT"),
    ProblemType("model_not_priced", 422, "The model has no price", "OB424", "MODEL_NOT_PRICED", wire_status=404),
    ProblemType("cost_unbounded", 422, "The cost of the request cannot be bounded"),
    ProblemType("thread_unsupported_request", 400, "Threads are not taken"),
    ProblemType("max_credits_exceeded", 422, "The request can cost more than its obol-max-credits"),
    ProblemType("malformed_request", 400, "The request cannot be read"),
    ProblemType("validation_failed", 422, "The request is not valid", wire_status=400),
    ProblemType("payload_too_large", 413, "The body is too large"),
    ProblemType("unsupported_media_type", 415, "The body must be JSON"),
    ProblemType("not_found", 404, "There is nothing here"),
    ProblemType("method_not_allowed", 405, "The method is not allowed here"),
    # A status that servers write into their logs; nobody is there to read it.
    ProblemType("client_gone", 499, "The client has left"),
    ProblemType("upstream_error", 502, "The model gave no answer"),
    ProblemType("upstream_timeout", 504, "The model took too long", retry_after_s=1),
    ProblemType("over_capacity", 503, "No capacity at the moment", retry_after_s=1),
    ProblemType("database_error", 500, "The database did not answer"),
    ProblemType("internal_error", 500, "Something went wrong here"),
)

BY_CODE = {row.code: row for row in _TABLE}
BY_SQLSTATE = {row.sqlstate: row for row in _TABLE if row.sqlstate}


@dataclass(frozen=True)
class Reply:
    """An error of the upstream: the headers that may cross, in lower case, and the body as it came
    (empty when it has not the shape of an error)."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Problem(Exception):
    """An error that a client may see.

    Args:
        code: a code of the table.
        detail: one sentence on what happened and what to do; never a key, prompt or answer.
        extra: members added to the problem document, such as `available` and `required`.
        retry_after_s: overrides the table where a retry can help only in this case.
        outcome_unknown: the same id must be asked again: the database may have done what was
            asked (a lost connection), or another call came between (a serialization failure).
        reply: the upstream's own words, where a client that speaks its wire gets them untouched.
    """

    code: str
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)
    retry_after_s: int | None = None
    outcome_unknown: bool = False
    reply: Reply | None = None

    def __post_init__(self) -> None:
        super().__init__(f"{self.code}: {self.detail}")

    @property
    def type(self) -> ProblemType:
        return BY_CODE[self.code]

    def document(self, request_id: str) -> dict[str, Any]:
        """The problem as RFC 9457 has it."""
        return {
            "type": self.type.path,
            "title": self.type.title,
            "status": self.type.status,
            "detail": self.detail,
            "instance": f"urn:obol:request:{request_id}",
            "code": self.code,
            **self.extra,
        }

    @property
    def retry_after(self) -> int | None:
        """Seconds for the Retry-After header, or None for no header."""
        return self.retry_after_s if self.retry_after_s is not None else self.type.retry_after_s
