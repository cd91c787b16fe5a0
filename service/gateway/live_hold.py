"""A hold of this process while a call is in flight, and its two ends.

    held --settle--> settled        the answer's end leaves only after this commit
      '---release--> released       the model gave no answer: nothing is charged

On every line between the two, this process may die: the hold then ends with its lease, and nobody
is charged.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import structlog

from .. import metrics, pricing, tracing
from ..db import Database
from ..keys import KeyDigest
from ..lease import Lease
from ..problems import Problem
from ..repository import holds
from .message import Message, unreadable
from .sse import Event
from .transcript import ANSWER_TTL_S, Transcript
from .upstream_call import UpstreamCall
from .usage import count_tokens, count_unpriced, read_usage

log = structlog.get_logger()

# A charge above its hold is taken, because a bound can be wrong: by the form of a text it was five times, by a
# description that the upstream adds some thousand tokens. One of more than this many times the hold, and of
# more tokens than a small hold can be wrong by, is a figure that nobody should pay before somebody has looked.
_PLAUSIBLE_TIMES = 10
_PLAUSIBLE_TOKENS = 100_000

T = TypeVar("T")


@dataclass
class Receipt:
    """What a call cost: `charged` and `balance` once its hold has ended (no balance when nothing
    was charged); whether the answer `is_stored` for a retry; `max_tokens` and `held` of the call that
    was made, None for a replay."""

    hold_id: UUID
    charged: int | None = None
    balance: int | None = None
    max_tokens: int | None = None
    held: int | None = None
    is_stored: bool = False


# Of an event with a piece of an answer: what stands around the piece, and what of it is a token. Estimates:
# nothing of an answer that breaks off is counted by the upstream.
_EVENT_FRAMING_BYTES = 120
_BYTES_PER_TOKEN = 4


@dataclass
class LetThrough:
    """What the client of a stream has got so far."""

    events: int = 0
    bytes: int = 0
    tokens: int = 0

    def add(self, event: Event) -> None:
        self.events += 1
        self.bytes += len(event.raw)
        if event.name == "content_block_delta":
            self.tokens += max(1, (len(event.raw) - _EVENT_FRAMING_BYTES) // _BYTES_PER_TOKEN)


@dataclass(frozen=True, kw_only=True)
class LiveHold:
    """Credits set aside for one call.

    Args:
        receipt: filled in when the hold is settled.
        price: frozen when the hold was opened; usage is charged at it whatever the book says since.
        models: the one that was asked for, and those that may answer in its place.
        max_credits: what the client will pay at most; None: whatever it costs.
        transcript: keeps the answer for a retry; it keeps nothing for a call without a key.
        asked: the call of the upstream; whoever makes it begins it, and it ends here.
        let_through: what has left before the charge; it is unpaid when there is none.
    """

    database: Database
    lease: Lease
    key: KeyDigest
    receipt: Receipt
    price: pricing.Price
    models: Sequence[str]
    max_credits: int | None
    transcript: Transcript
    asked: UpstreamCall
    let_through: LetThrough = field(default_factory=LetThrough)

    def settle(self, message: Message) -> None:
        """Charge what an answer used that came whole. An empty refusal is delivered and costs nothing.

        Raises:
            Problem: the answer must not be delivered. Nothing was charged, or it is given back.
        """
        self.asked.end()
        if message.is_empty_refusal():
            # The upstream shows tokens for these and charges nothing; nor do we.
            self._release(None)
            self.receipt.charged = 0
            return
        usage = read_usage(message.usage, answered_by=message.model, models=self.models, price=self.price)
        if usage is None:
            log.error("usage_missing", hold_id=str(self.receipt.hold_id))
            self._lose("usage_missing", message.usage)
            raise unreadable()
        if unpriced := count_unpriced(message.usage):
            log.error("usage_unpriced", hold_id=str(self.receipt.hold_id), requests=unpriced)
        amount = pricing.charge(self.price, usage)
        held = self.receipt.held or 0
        if amount > _PLAUSIBLE_TIMES * held and count_tokens(usage) > _PLAUSIBLE_TOKENS:
            # More than any bound can be wrong by: it would be taken from a balance that nobody set aside.
            ids = {"hold_id": str(self.receipt.hold_id), "license_id": str(self.key.license_id)}
            log.error("usage_implausible", **ids, held=held, amount=amount, upstream_usage=usage)
            self._lose("usage_implausible", message.usage)
            raise Problem(
                "upstream_error",
                "The model's API says that this answer used far more than its request can. The answer was withheld and "
                "nothing was charged; the operator was told.",
            )
        if amount > held:
            # The hold was meant to be an upper bound. Something costs more than survey.py knows.
            log.error("hold_exceeded", hold_id=str(self.receipt.hold_id), held=held, amount=amount)
        self._charge(amount, usage)

    def _charge(self, amount: int, usage: pricing.Usage) -> None:
        sealed = self.transcript.seal(self.key.license_id, self.receipt.hold_id)
        try:
            with metrics.SETTLE_SECONDS.time(), tracing.span("settle_hold"):
                settled = self._repeat_while_alive(
                    lambda: holds.settle(
                        self.database,
                        self.key,
                        self.receipt.hold_id,
                        amount=amount,
                        process_id=self.lease.process_id,
                        usage=usage,
                        answer=sealed,
                        answer_ttl_s=ANSWER_TTL_S,
                        max_credits=self.max_credits,
                    )
                )
        except Problem as problem:
            # Charged or not, the answer stays here; the heartbeat undoes what there is to undo.
            self.lease.withhold(self.key, self.receipt.hold_id, self._unpaid("answer_withheld"))
            log.error("answer_withheld", hold_id=str(self.receipt.hold_id), problem=str(problem), upstream_usage=usage)
            raise Problem(
                "database_error",
                "The answer could not be paid for and was withheld. With the same Idempotency-Key you get it if it "
                "was charged after all; without one, such a charge is given back.",
                retry_after_s=problem.retry_after,
            ) from problem
        metrics.CREDITS.labels("charge").inc(settled.charge)
        if settled.shortfall:
            metrics.SHORTFALL_CREDITS.inc(settled.shortfall)
            log.error("shortfall", hold_id=str(self.receipt.hold_id), credits=settled.shortfall)
        self.receipt.charged, self.receipt.balance = settled.charge, settled.balance
        self.receipt.is_stored = sealed is not None

    def fail(self, error: Exception, usage: dict[str, Any] | None = None) -> None:
        """Release the hold because there will be no answer.

        Args:
            error: why.
            usage: what the upstream said so far that it has used; it may charge us for it.
        """
        self.asked.end(error)
        self._lose(error.code if isinstance(error, Problem) else type(error).__name__, usage or {})

    def _lose(self, reason: str, usage: dict[str, Any]) -> None:
        counts = {name: count for name, count in usage.items() if type(count) is int}
        unpaid = self._unpaid(reason)
        if counts or unpaid:
            metrics.OPERATOR_LOSS.labels(reason).inc()
            log.warning(
                "operator_loss",
                license_id=str(self.key.license_id),
                hold_id=str(self.receipt.hold_id),
                reason=reason,
                upstream_usage=counts,
                **asdict(self.let_through),
            )
        self._release(unpaid)

    def _unpaid(self, reason: str) -> holds.Unpaid | None:
        return holds.Unpaid(reason, **asdict(self.let_through)) if self.let_through.events else None

    def _release(self, unpaid: holds.Unpaid | None) -> None:
        try:
            self._repeat_while_alive(
                lambda: holds.release(
                    self.database, self.key, self.receipt.hold_id, process_id=self.lease.process_id, unpaid=unpaid
                )
            )
        except Problem as problem:
            log.error("release_left_to_heartbeat", hold_id=str(self.receipt.hold_id), problem=str(problem))
            self.lease.withhold(self.key, self.receipt.hold_id, unpaid)

    def let_go(self) -> None:
        """Nothing more will be done with the hold here."""
        self.lease.let_go(self.receipt.hold_id)

    def _repeat_while_alive(self, call: Callable[[], T]) -> T:
        """Ask until the database answers, for as long as the lease lives: unlike admission, an
        end must not give up because the pool is busy or the server restarts."""
        pause_s = 0.05
        while True:
            try:
                return call()
            except Problem as problem:
                # Retry-After is on the problems that time can mend; a missing right is not one.
                if problem.retry_after is None or not self.lease.is_alive():
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)
