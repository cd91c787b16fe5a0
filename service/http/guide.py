"""What a person is told of each problem: when it comes, what to do, and what one looks like.

`problems` is the table that programs go by; this is its words, for the page that a problem's `type` leads
to and for the examples in /openapi.json. Which of several problems is told is in docs/errors.md.
"""

from dataclasses import dataclass, field
from typing import Any

from ..problems import Problem

REQUEST_ID = "req_58a317c1853f40cbbc9a5a6648704173"


@dataclass(frozen=True)
class Advice:
    """Args:
    when: it comes, and what has happened then.
    remedy: what helps.
    detail: as it can come.
    extra: members that the document has besides.
    """

    when: str
    remedy: str
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)


def _wrong(field: str, message: str) -> dict[str, Any]:
    return {"errors": [{"field": field, "message": message}]}


ADVICE = {
    "insufficient_credits": Advice(
        "The license has fewer credits available than the request needs. `required` is what must be available: for an "
        "answer that is the prompt's bound and the fewest tokens of answer that are worth asking for. `max_cost` is "
        "what such an answer could have cost at most. Credits that are held for other calls are not available. "
        "Nothing was charged.",
        "Have credits granted and send the same request again, or ask for less: a smaller amount, a shorter prompt, a "
        "smaller `max_tokens`.",
        "1000000 credits are needed and 98464 are available. Have credits granted, or ask for less.",
        {"required": 1000000, "available": 98464},
    ),
    "license_invalid": Advice(
        "The license key is malformed, unknown, or no longer in force. The words are the same for all of these, so "
        "that nobody learns anything of a key by trying.",
        "Look whether the whole key was sent, to its end, and whether it was replaced by a newer one. "
        "The same request will not succeed with the same key.",
        "The license key is not valid.",
    ),
    "license_inactive": Advice(
        "The license was suspended. Answers that were paid for before can still be had with their Idempotency-Key, "
        "and holds that were opened before can still be settled and released.",
        "Ask the operator to resume the license.",
        "The license is suspended. Ask the operator to resume the license.",
    ),
    "license_expired": Advice(
        "The license has expired. Answers that were paid for before can still be had with their Idempotency-Key, "
        "and holds that were opened before can still be settled and released.",
        "Ask the operator for a new expiry or a new license.",
        "The license expired at 2026-01-31 00:00:00+00. Ask the operator for a new expiry or a new license.",
    ),
    "credentials_missing": Advice(
        "The request says nothing of who asks.",
        "Send the license key as `Authorization: Bearer KEY` or as `x-api-key: KEY`.",
        "Send the license key as `Authorization: Bearer KEY` or as `x-api-key: KEY`.",
    ),
    "admin_forbidden": Advice(
        "The admin token is unknown, revoked or expired, or lacks the scope that `scope` names. Nothing was done.",
        "Use a token that is in force and has the scope; `obol token create` makes one.",
        "The admin token lacks the scope grant. Use a token that has it.",
        {"scope": "grant"},
    ),
    "model_not_allowed": Advice(
        "The key, or its license, is limited to the models that `allowed` lists: names, or the beginning of names and "
        "a `*`. `limit_of` says which of the two. The model was not asked, and nothing was charged.",
        "Use a model that is allowed, or another key.",
        "The key may not use the model claude-opus-4-1. Use a model that is allowed, or another key.",
        {"limit": "models", "limit_of": "key", "allowed": ["claude-haiku-*"]},
    ),
    "keys_not_allowed": Advice(
        "Whoever holds the license may make no keys, or so many are good already; or the key that was used is one that "
        "was made so, is limited, or ends. Nothing was made or changed.",
        "Use a key that the operator made, without limits and without an end; revoke a key that is no longer needed, "
        "or ask the operator, who allows it with `own_keys`.",
        "This license may not make keys. Ask the operator for a key, or to allow it.",
    ),
    "license_not_found": Advice(
        "There is no license of this id. Only the admin API says so: who holds a key is told `license_invalid`.",
        "Look the id up with `GET /api/v1/admin/licenses`.",
        "There is no license 549168a8-a341-43c8-83d9-e4789f508cf7.",
    ),
    "key_not_found": Advice(
        "The license has no key of this id, or that key was revoked and stays so. Nothing was changed.",
        "Look the id up with `GET /api/v1/admin/licenses/{license_id}/keys`, or, of keys that your own key made, with "
        "`GET /api/v1/license/keys`; or make another key.",
        "This license has no key f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c that is not revoked.",
    ),
    "already_exists": Advice(
        "Another license has this `external_id`, or another token that is in force this `name`; or, of an import, a "
        "license has this key, or the key was imported before with another value. `field` says which. Nothing was "
        "made.",
        "Use the one that is there, or another name.",
        "Another license has the external id customer-12. Look that license up by it, or use another one.",
        {"field": "external_id"},
    ),
    "grant_not_found": Advice(
        "The license has no grant of this id.",
        "Look the id up with `GET /api/v1/admin/licenses/{license_id}/grants`.",
        "This license has no grant f19ad8d2-31cd-4ba2-9ea0-6c8ba21bdc6c.",
    ),
    "grant_ended": Advice(
        "The grant is used up or has expired, so there is nothing left of it to take. Nothing was changed.",
        "Correct the balance with an adjustment, if it has to be.",
        "The grant is used_up. There is nothing left of it to take. An adjustment corrects a balance.",
    ),
    "refund_exceeds_charge": Advice(
        "More is to be given back than is left of the charge: `refundable` is what has not come back yet. Nothing was "
        "given back.",
        "Give back `refundable` at most, or leave `amount` out for all of it.",
        "1300 credits were to be given back, and 1200 of the charge are left. Give back 1200 at most.",
        {"refundable": 1200},
    ),
    "hold_not_found": Advice(
        "The license has no hold of this id. A hold that ended without a charge is known for thirty days. A charge "
        "that is in the archive is not here any more, and the detail says so.",
        "Take the `id` that the call which opened the hold answered with, and the license that opened it.",
        "This license has no hold 661fd0b6-db64-4522-bd48-222e4259ca01.",
    ),
    "hold_not_open": Advice(
        "The hold was settled at another amount, released, or its time is over. Its credits are charged or given "
        "back already; this call changed nothing.",
        "Open a new hold, or deduct the amount.",
        "The hold is expired. Open a new hold, or deduct the amount.",
    ),
    "settle_exceeds_hold": Advice(
        "A hold is to be settled at more than it holds. It is still open, and nothing was charged.",
        "Settle at most what is `held`, and deduct the rest.",
        "1300 is more than the 1200 credits held. Settle at most what is held, and deduct the rest.",
        {"required": 1300, "held": 1200},
    ),
    "idempotency_in_progress": Advice(
        "The first call with this Idempotency-Key has not ended. It will be charged once, whatever is sent meanwhile.",
        "Send the same request again after Retry-After seconds: it gets the answer of the first call.",
        "The first call with this idempotency key is still running. Ask again in a moment.",
    ),
    "idempotency_key_reused": Advice(
        "This Idempotency-Key was used with another request. A key stands for one request of a license: its method, "
        "path, version headers and the very bytes of its body. Nothing was charged.",
        "Take a new key for each new request. A retry has to send the same bytes.",
        "This idempotency key was used with another payload. Use a new key for a new request.",
    ),
    "answer_gone": Advice(
        "This Idempotency-Key belongs to an answer that was paid for and is no longer stored, or to a charge that was "
        "refunded. Answers are stored for a day, where the operator has them stored at all. Nothing was charged now.",
        "Use a new key for a new answer.",
        "The answer to this idempotency key is no longer stored. Nothing was charged now. Use a new key for a new "
        "answer.",
    ),
    "payments_not_configured": Advice(
        "The operator sells nothing by card here.",
        "Ask the operator for credits.",
        "Nothing is sold by card here. Ask the operator for credits.",
    ),
    "package_not_found": Advice(
        "There is no package of this id, or it is sold no more. Nothing was paid.",
        "Use the `id` of a package of `GET /api/v1/license/packages`.",
        "No package gold is sold.",
    ),
    "payment_not_found": Advice(
        "Stripe speaks of a payment of this service that it has not told of yet: a dispute that came first. Nothing "
        "was booked.",
        "Nothing has to be done: Stripe sends the event again.",
        "Nothing is known of this payment yet. Send the event again later.",
    ),
    "signature_invalid": Advice(
        "An event of Stripe is not signed with a signing secret that the database knows, was changed on its way, or is "
        "more than five minutes old. Nothing was booked.",
        "Tell the database the signing secret of the webhook with `obol stripe secret set`, and look at the clocks.",
        "The Stripe-Signature is not one of this payload, or is too old. `obol stripe secret set` tells the database "
        "the signing secret.",
    ),
    "stripe_error": Advice(
        "Stripe did not answer, or refused; the log of the service says which. Nothing was paid.",
        "With Retry-After: send the same request again after that many seconds, with the same Idempotency-Key. "
        "Without: tell the operator the `instance`.",
        "Stripe did not make a checkout. Nothing was paid.",
    ),
    "limit_exceeded": Advice(
        "`limit` names what is used up, `limit_value` what it allows and `used` what was used. "
        "`requests_per_minute`, `concurrent_holds`, `credits_per_day` and `credits_per_month` are limits that the "
        "operator has set, and `limit_of` says whether for the `key` or for its whole `license`. `threads`: the "
        "license has as many calls in hand as it may. `unpaid_tokens_per_hour`: too many answers broke off that were "
        "not charged. `pending_payments`: too many payments were begun and not paid. Nothing was charged.",
        "Send the same request again after Retry-After seconds, which is when the limit may let it pass. Days and "
        "months are those of UTC. Only the operator can raise a limit.",
        "This license has 32 calls in hand here, and may have no more. Ask again when one has ended.",
        {"limit": "threads", "limit_value": 32, "used": 32, "retry_after_s": 1},
    ),
    "amount_invalid": Advice(
        "The amount is no number of credits that can be moved: it is not whole, below 1, or too large.",
        "Send a whole number of credits, from 1 to 9223372036854775807.",
        "amount must be a whole number of credits from 1 to 9223372036854775807.",
        _wrong("amount", "must be a whole number of credits from 1 to 9223372036854775807"),
    ),
    "model_not_priced": Advice(
        "The model has no price here, so it is not sold. It is never answered for nothing.",
        "Use a model of `GET /api/v1/prices` or `GET /v1/models`.",
        "The model claude-unknown has no price. Use a model that the price book names.",
    ),
    "cost_unbounded": Advice(
        "A part of the request can cost any number of credits, and nobody could tell beforehand how many to hold: a "
        "document by URL, a file by id, a server tool without a limit. Nothing was charged.",
        "Leave out the field that `errors` names, or send its content in the request.",
        "container is not taken: what it costs cannot be bounded. Leave it out.",
        _wrong("container", "is not taken: what it costs cannot be bounded. Leave it out"),
    ),
    "thread_unsupported_request": Advice(
        "The request continues a thread that the model's API keeps. Its length is not known here, so neither is its "
        "cost. Nothing was charged.",
        "Send the whole conversation, without `thread`.",
        "thread is not taken: what it remembers has no bound. Send the whole conversation without it.",
        {"unsupported": []},
    ),
    "max_credits_exceeded": Advice(
        "The request needs more credits than its own header `obol-max-credits` allows, even with the shortest answer "
        "that is worth asking for. Nothing was charged.",
        "Raise the header to `required` or more, or ask for less.",
        "obol-max-credits is 10, and this request needs 289 at least. Raise it, or ask for less.",
        {"required": 289},
    ),
    "malformed_request": Advice(
        "The request cannot be read: its body is no JSON object in UTF-8, names a field twice, holds too many values, "
        "or did not arrive whole and in time. `detail` says where.",
        "Send what `detail` asks for.",
        "The body is not valid JSON (character 12: Expecting value).",
        _wrong("body", "The body is not valid JSON (character 12: Expecting value)."),
    ),
    "validation_failed": Advice(
        "One or more fields are not what they must be. `errors` lists each with its path, what is wrong and what is "
        "right. Nothing was done.",
        "Correct the fields that `errors` lists.",
        "amount: must be a whole number, written without quotes, fraction or exponent",
        _wrong("amount", "must be a whole number, written without quotes, fraction or exponent"),
    ),
    "payload_too_large": Advice(
        "The body has more bytes than this call takes: `limit_bytes` is the most. It is 32 MiB for prompts and 1 MiB "
        "for everything else.",
        "Send less.",
        "The body may have 1048576 bytes at most.",
        {"limit_bytes": 1048576},
    ),
    "unsupported_media_type": Advice(
        "The body is not said to be JSON.",
        "Send JSON, and the header `Content-Type: application/json`.",
        "Send the body as JSON, with the header `Content-Type: application/json`.",
    ),
    "not_found": Advice(
        "There is nothing at this path. Where a client has built it of a wrong base URL, `detail` says which is right.",
        "Look the path up in `/docs`.",
        "There is nothing at this path; /docs and /openapi.json list what there is.",
    ),
    "method_not_allowed": Advice(
        "The path is right and its method is not. The header Allow lists those that it takes.",
        "Use a method of the header Allow.",
        "This path does not take this method; the Allow header says which it takes.",
    ),
    "client_gone": Advice(
        "The client closed its side before its turn came, so the model was not asked. It stands in the log of the "
        "service; nobody is there to get it. Nothing was charged.",
        "Wait longer for an answer, or send the request again.",
        "The client closed its side before its turn came. Nothing was charged.",
    ),
    "upstream_error": Advice(
        "The model's API gave no answer, or none that came whole. `upstream_status` is the status that it answered "
        "with, when it did. Nothing was charged, and an Idempotency-Key is free again.",
        "Send the same request again. When `detail` says what is wrong with the request, correct that first; when it "
        "says that the model's API refuses this service, only the operator can help.",
        "The model's API answered with status 529. Nothing was charged.",
        {"upstream_status": 529},
    ),
    "upstream_timeout": Advice(
        "The model was silent for too long. Nothing was charged, and an Idempotency-Key is free again.",
        "Send the same request again after Retry-After seconds. With `stream` an answer shows that it is coming.",
        "The model did not answer in time. Nothing was charged.",
    ),
    "over_capacity": Advice(
        "The service has no connection to its database free, cannot reach it, or is being updated. The request was not "
        "begun, and nothing was charged.",
        "Send the same request again after Retry-After seconds.",
        "No database connection came free in time. Ask again.",
    ),
    "database_error": Advice(
        "The database did not do what it was asked for, or did not say whether it has. With the same Idempotency-Key "
        "a call is charged once all the same.",
        "With Retry-After: send the same request again after that many seconds, with the same Idempotency-Key. "
        "Without: tell the operator the `instance`.",
        "The connection to the database was lost. Ask again.",
    ),
    "internal_error": Advice(
        "Nobody foresaw this. The log of the service has it under the request id that `instance` names.",
        "Tell the operator the `instance`.",
        "Something went wrong; the log has it under this request id.",
    ),
}


def example(code: str) -> Problem:
    """A problem as it can come."""
    advice = ADVICE[code]
    return Problem(code, advice.detail, advice.extra)


def example_document(code: str) -> dict[str, Any]:
    """The document of that problem."""
    return example(code).document(REQUEST_ID)
