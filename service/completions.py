"""The heart: hold, ask the model, settle or release. Two round trips to the database.

No database connection is in hand while the model works. What becomes of a hold once it is open
is in open_hold.py, and how a streamed answer is handed through in streams.py.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from . import admission, metering, pricing, replay, wire
from .budget import Budget
from .db import Database
from .keys import LicenseKey
from .leases import Leases
from .open_hold import OpenHold, Receipt
from .pricing import PriceRow
from .problems import Problem
from .repository import holds, prices
from .streams import AnswerStream, ReplayedStream
from .upstream import Upstream

# The price book is read this often at most; a price that is set takes effect within it.
PRICE_BOOK_TTL_S = 5

_MESSAGES, _COUNT_TOKENS = "/v1/messages", "/v1/messages/count_tokens"


@dataclass(frozen=True)
class Call:
    """A request to the Messages API, on whichever of our paths it came.

    Args:
        body: as an object; it is emptied once the call is admitted.
        raw: the same as the client wrote it; None when the client wrote something else.
        text_bytes: bytes of UTF-8 that hold all text of the prompt.
        query: to forward, with its question mark, or empty.
        headers: to forward.
        fingerprint: of the whole request, for the idempotency key.
        reads_text: whether the client of a stream is told its text, and not its bytes.
        max_credits: what the client will pay at most; None: whatever it costs.
    """

    body: dict[str, Any]
    raw: bytes | None
    text_bytes: int
    idempotency_key: str | None
    fingerprint: bytes
    max_credits: int | None = None
    reads_text: bool = False
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A whole answer. `body` is the upstream's, byte for byte; `upstream_ms` is None for a replay."""

    receipt: Receipt
    body: bytes
    message: wire.Message
    document: dict[str, Any]
    upstream_ms: float | None = None


class Completions:
    """Sells answers of one upstream, out of one database.

    Args:
        database: the pool for admission and settlement.
        leases: the lease that this process's holds live by.
        client: the upstream.
        replay_keys: keys to store answers with, newest first; none: answers are not stored.
    """

    def __init__(self, database: Database, leases: Leases, client: Upstream, replay_keys: Sequence[bytes]) -> None:
        self._db = database
        self._leases = leases
        self._client = client
        self._replay_keys = replay_keys
        self._book: list[PriceRow] = []
        self._book_read_at = float("-inf")

    def answer(self, key: LicenseKey, call: Call) -> Answer:
        """Answer a call and charge its usage, or charge nothing.

        Raises:
            Problem: whatever admission, the upstream or the database refused it with.
        """
        hold_id = self._leases.new_hold()
        try:
            admitted = self._admit(key, call, hold_id)
            if isinstance(admitted, _Stored):
                body = b"".join(replay.pieces(admitted.kept))
                return Answer(admitted.receipt, body, *wire.Message.whole(body))
            asked_at = time.monotonic()
            try:
                body = self._client.post(_MESSAGES + call.query, admitted.request, call.headers)
                message, document = wire.Message.whole(body)
            except Exception as error:
                admitted.hold.fail(error)
                raise
            upstream_ms = round(1000 * (time.monotonic() - asked_at), 1)
            admitted.hold.transcript.add(body)
            admitted.hold.settle(message)
            return Answer(admitted.hold.receipt, body, message, document, upstream_ms)
        finally:
            self._leases.ended(hold_id)

    def stream(self, key: LicenseKey, call: Call) -> AnswerStream | ReplayedStream:
        """As `answer`, event by event. Close what is returned, or iterate to its end."""
        hold_id = self._leases.new_hold()
        try:
            admitted = self._admit(key, call, hold_id)
            if isinstance(admitted, _Stored):
                self._leases.ended(hold_id)
                return ReplayedStream(admitted.receipt, admitted.kept)
            try:
                events = self._client.stream(_MESSAGES + call.query, admitted.request, call.headers)
            except Exception as error:
                admitted.hold.fail(error)
                raise
        except BaseException:
            self._leases.ended(hold_id)
            raise
        return AnswerStream(admitted.hold, events, wire.Message(call.reads_text))

    def _admit(self, key: LicenseKey, call: Call, hold_id: UUID) -> "_Admitted | _Stored":
        """Set aside what the call can cost, or find the answer that its idempotency key names."""
        survey = admission.survey(call.body, call.text_bytes)
        budget = Budget(survey, [self._price(model) for model in survey.models], call.max_credits)
        if budget.must_be_counted():
            checked = holds.check_admission(
                self._db,
                key,
                hold_id,
                budget.priced_model(),
                budget.frozen_price(),
                call.idempotency_key,
                call.fingerprint,
            )
            if checked.outcome == "replayed":
                return self._stored(key, checked)
            self._count(call, budget, checked.available)
        try:
            opened = self._open(key, call, hold_id, budget)
        except Problem as problem:
            if problem.code != "insufficient_credits" or budget.is_counted:
                raise
            # What the bytes allow is too dear: count, and open once more.
            self._count(call, budget, problem.extra["available"])
            opened = self._open(key, call, hold_id, budget)
        if opened.outcome == "replayed":
            return self._stored(key, opened)

        price = budget.frozen_price()
        assert price is not None, "open_hold refuses a model without a price"
        affordable = budget.affordable_max_tokens(opened.amount)
        max_tokens = min(call.body["max_tokens"], affordable)
        receipt = Receipt(hold_id, max_tokens=max_tokens, held=opened.amount)
        transcript = replay.Transcript(() if call.idempotency_key is None else self._replay_keys)
        hold = OpenHold(self._db, self._leases, key, receipt, price, survey.models, call.max_credits, transcript)
        try:
            request = call.raw
            if request is None or affordable < survey.max_tokens:
                request = _encoded(admission.with_max_tokens(call.body, affordable))
        except Exception as error:
            hold.fail(error)
            raise
        # As objects a request can take thirty times its bytes, and the model may take minutes.
        call.body.clear()
        return _Admitted(hold, request)

    def _open(self, key: LicenseKey, call: Call, hold_id: UUID, budget: Budget) -> Any:
        return holds.open_for_process(
            self._db,
            key,
            hold_id,
            self._leases.process_id,
            budget.hold_size(),
            budget.priced_model(),
            budget.frozen_price(),
            call.idempotency_key,
            call.fingerprint,
        )

    def _count(self, call: Call, budget: Budget, available: int) -> None:
        """Have the upstream count the prompt, for each model that may read it."""
        budget.check_hope(available)
        counted = 0
        for model in budget.survey.models:
            request = _encoded(admission.counting_request(call.body, model))
            document = wire.parsed(self._client.post(_COUNT_TOKENS + call.query, request, call.headers))
            tokens = document.get("input_tokens")
            if type(tokens) is not int or not 0 <= tokens <= metering.MOST_TOKENS:
                raise wire.unreadable()
            counted = max(counted, tokens)
        budget.counted(admission.with_margin(counted, call.body))

    def _stored(self, key: LicenseKey, opened: Any) -> "_Stored":
        kept = replay.unseal(self._replay_keys, key.license_id, opened.hold_id, opened.answer)
        if kept is None:
            raise Problem("answer_gone", "The answer is stored under a replay key that is no longer configured.")
        return _Stored(Receipt(opened.hold_id, opened.charge, opened.balance), kept)

    def _price(self, model: str) -> pricing.Price | None:
        now, read_at = time.monotonic(), self._book_read_at
        if now >= read_at + PRICE_BOOK_TTL_S or not self._book:
            # From here on the others go on with the old one, so that not all read it at once.
            self._book_read_at = now
            try:
                self._book = prices.book(self._db)
            except Problem:
                self._book_read_at = read_at
                raise
        return pricing.price_of(self._book, model, datetime.now(UTC))


class _Stored(NamedTuple):
    """An answer that is paid for and kept for this retry."""

    receipt: Receipt
    kept: bytes


class _Admitted(NamedTuple):
    """A call that may go upstream, and the body to send."""

    hold: OpenHold
    request: bytes


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, separators=(",", ":")).encode()
    except RecursionError as error:
        # Reading goes a little deeper than writing.
        raise Problem("malformed_request", "The body is nested too deeply.") from error
