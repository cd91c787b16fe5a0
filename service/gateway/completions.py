"""The heart: hold, ask the model, settle or release. Two round trips to the database.

No database connection is in hand while the model works. What becomes of a hold once it is open
is in live_hold.py, and how a streamed answer is handed through in streams.py.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from .. import strict_json, tracing
from ..db import Database
from ..keys import KeyDigest
from ..lease import Lease
from ..problems import Problem
from ..repository import holds
from ..repository.holds import Admission
from . import rewriting, survey, transcript
from .hold_size import HoldSize
from .live_hold import LiveHold, Receipt
from .message import Message, parse_object, unreadable
from .price_book import PriceBook
from .streams import AnswerStream, ReplayedStream
from .transcript import Transcript
from .upstream import Upstream
from .upstream_call import UpstreamCall
from .usage import MOST_TOKENS

_MESSAGES, _COUNT_TOKENS = "/v1/messages", "/v1/messages/count_tokens"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to the Messages API, on whichever of our paths it came.

    Args:
        body: as an object; once the call is admitted it is emptied, and of its prompt when that is counted.
        raw: the same as the client wrote it; None when the client wrote something else.
        text_bytes: bytes that the text of the prompt cannot exceed in tokens, as `text_bound` tells.
        query: to forward, with its question mark, or empty.
        headers: to forward.
        has_client: whether the client is still there.
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
    has_client: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Answer:
    """A whole answer. `body` is the upstream's, byte for byte; `upstream_ms` is None for a replay."""

    receipt: Receipt
    body: bytes
    message: Message
    document: dict[str, Any]
    upstream_ms: float | None = None


class Completions:
    """Sells answers of one upstream, out of one database.

    Args:
        database: the pool for admission and settlement.
        lease: what the holds of this process live by.
        upstream: who answers.
        replay_keys: the first is to store answers with, all of them open some; none: answers are not stored.
        max_unpaid_tokens: what a license may get in an hour of answers that broke off; None: no limit.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        *,
        upstream: Upstream,
        replay_keys: Sequence[bytes],
        max_unpaid_tokens: int | None = None,
    ) -> None:
        self._db = database
        self._lease = lease
        self._upstream = upstream
        self._replay_keys = replay_keys
        self._max_unpaid_tokens = max_unpaid_tokens
        self._prices = PriceBook(database)

    def is_sold(self, model: str) -> bool:
        """Whether a model has a price now."""
        return self._prices.find_price(model) is not None

    def answer(self, key: KeyDigest, call: Call) -> Answer:
        """Answer a call and charge its usage, or charge nothing.

        Raises:
            Problem: whatever admission, the upstream or the database refused it with.
        """
        hold_id = self._lease.new_hold()
        try:
            admitted = self._admit(key, call, hold_id)
            if isinstance(admitted, _Stored):
                body = b"".join(transcript.pieces(admitted.kept))
                return Answer(admitted.receipt, body, *Message.from_body(body))
            asked_at = time.monotonic()
            admitted.hold.asked.begin()
            try:
                body = self._upstream.post(_MESSAGES + call.query, admitted.request, call.headers)
                message, document = Message.from_body(body)
            except Exception as error:
                admitted.hold.fail(error)
                raise
            upstream_ms = round(1000 * (time.monotonic() - asked_at), 1)
            admitted.hold.transcript.add(body)
            admitted.hold.settle(message)
            return Answer(admitted.hold.receipt, body, message, document, upstream_ms)
        finally:
            self._lease.let_go(hold_id)

    def stream(self, key: KeyDigest, call: Call) -> AnswerStream | ReplayedStream:
        """As `answer`, event by event. Close what is returned, or iterate to its end."""
        hold_id = self._lease.new_hold()
        try:
            admitted = self._admit(key, call, hold_id)
            if isinstance(admitted, _Stored):
                self._lease.let_go(hold_id)
                return ReplayedStream(admitted.receipt, admitted.kept)
            admitted.hold.asked.begin()
            try:
                events = self._upstream.stream(_MESSAGES + call.query, admitted.request, call.headers)
            except Exception as error:
                admitted.hold.fail(error)
                raise
        except BaseException:
            self._lease.let_go(hold_id)
            raise
        return AnswerStream(admitted.hold, events, Message(call.reads_text))

    def _admit(self, key: KeyDigest, call: Call, hold_id: UUID) -> "_Admitted | _Stored":
        """Set aside what the call can cost, or find the answer that its idempotency key names."""
        found = survey.survey(call.body, call.text_bytes)
        rows = [self._prices.find_row(model) for model in found.models]
        size = HoldSize(found, [None if row is None else row.price for row in rows], call.max_credits)
        try:
            opened = self._set_aside(key, call, hold_id, size=size)
        except Problem as problem:
            if problem.code != "insufficient_credits":
                raise
            raise size.insufficient(problem.extra["available"]) from problem
        if opened.outcome == "replayed":
            return self._find_stored(key, opened)

        price = size.frozen_price()
        assert rows[0] is not None
        assert price is not None, "open_hold refuses a model without a price"
        assert opened.amount is not None
        affordable = size.affordable_max_tokens(opened.amount)
        hold = LiveHold(
            database=self._db,
            lease=self._lease,
            key=key,
            receipt=Receipt(hold_id, max_tokens=min(call.body["max_tokens"], affordable), held=opened.amount),
            price=price,
            models=found.models,
            max_credits=call.max_credits,
            transcript=Transcript(() if call.idempotency_key is None else self._replay_keys),
            asked=UpstreamCall(rows[0].pattern),
        )
        try:
            request = call.raw
            if request is None or affordable < found.max_tokens:
                body = call.body if call.raw is None else strict_json.decode(call.raw)
                request = _encode(rewriting.with_max_tokens(body, affordable))
        except Exception as error:
            hold.fail(error)
            raise
        # As objects a request can take thirty times its bytes, and the model may take minutes.
        call.body.clear()
        return _Admitted(hold, request)

    def _set_aside(self, key: KeyDigest, call: Call, hold_id: UUID, *, size: HoldSize) -> Admission:
        """Open the hold; count the prompt before that where nothing else bounds it, or its bound is too dear."""
        if size.needs_count():
            checked = holds.check_admission(
                self._db,
                key,
                hold_id,
                model=size.priced_model(),
                price=size.frozen_price(),
                max_unpaid_tokens=self._max_unpaid_tokens,
                idempotency_key=call.idempotency_key,
                fingerprint=call.fingerprint,
            )
            if checked.outcome == "replayed":
                return checked
            assert checked.available is not None
            self._count(call, size, checked.available)
        try:
            return self._open(key, call, hold_id, size=size)
        except Problem as problem:
            if problem.code != "insufficient_credits" or size.is_counted:
                raise
            # What the bytes allow is too dear: count, and open once more.
            self._count(call, size, problem.extra["available"])
        return self._open(key, call, hold_id, size=size)

    def _open(self, key: KeyDigest, call: Call, hold_id: UUID, *, size: HoldSize) -> Admission:
        # It may have waited for a thread, or for a count, for longer than its client has.
        if not call.has_client():
            raise Problem("client_gone", "The client closed its side before its turn came. Nothing was charged.")
        with tracing.span("open_hold"):
            return holds.open_for_process(
                self._db,
                key,
                hold_id,
                process_id=self._lease.process_id,
                amounts=size.amounts(),
                model=size.priced_model(),
                price=size.frozen_price(),
                max_unpaid_tokens=self._max_unpaid_tokens,
                idempotency_key=call.idempotency_key,
                fingerprint=call.fingerprint,
            )

    def _count(self, call: Call, size: HoldSize, available: int) -> None:
        """Have the upstream count the prompt, for each model that may read it."""
        size.refuse_hopeless(available)
        most = 0
        images = size.survey.image_urls
        counted = rewriting.without_image_urls(call.body) if images else call.body
        requests = [_encode(rewriting.counting_request(counted, model)) for model in size.survey.models]
        if call.raw is not None:
            # As objects a prompt can take thirty times its bytes, and a count may take minutes.
            del counted
            for name in rewriting.COUNTED_FIELDS:
                call.body.pop(name, None)
        for request in requests:
            document = parse_object(self._upstream.post(_COUNT_TOKENS + call.query, request, call.headers))
            tokens = document.get("input_tokens")
            if type(tokens) is not int or not 0 <= tokens <= MOST_TOKENS:
                raise unreadable()
            most = max(most, tokens)
        size.take_count(rewriting.with_margin(most, call.body) + survey.IMAGE_TOKENS * images)

    def _find_stored(self, key: KeyDigest, admission: Admission) -> "_Stored":
        assert admission.hold_id is not None
        assert admission.answer is not None
        kept = transcript.unseal(self._replay_keys, key.license_id, admission.hold_id, sealed=admission.answer)
        if kept is None:
            raise Problem("answer_gone", "The answer is stored under a replay key that is not configured here.")
        return _Stored(Receipt(admission.hold_id, admission.charge, admission.balance, is_stored=True), kept)


class _Stored(NamedTuple):
    """An answer that is paid for and kept for this retry."""

    receipt: Receipt
    kept: bytes


class _Admitted(NamedTuple):
    """A call that may go upstream, and the body to send."""

    hold: LiveHold
    request: bytes


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return strict_json.encode(body)
    except RecursionError as error:
        # json reads a body that is nested a few levels deeper than what it can write.
        raise Problem("malformed_request", "The body is nested too deeply.") from error
