"""The heart: hold, ask the model, settle or release. Two round trips to the database.

    held --settle--> settled        the answer leaves only after this commit
      |---release--> released       the model gave no answer: nothing is charged
      '---lapse----> expired        this process died: the client never got the answer

No database connection is in hand while the model works. On every line between a hold and its
end, this process may die: the hold then ends with its lease, and nobody is charged.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog

from . import pricing, replay, upstream
from .db import Database
from .keys import LicenseKey
from .leases import Leases
from .pricing import PriceRow
from .problems import Problem
from .repository import holds, prices

log = structlog.get_logger()

# The price book is read this often at most; a price that is set takes effect within it.
PRICE_BOOK_TTL_S = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """What a client asked for. `fingerprint` is of the whole request, for the idempotency key."""

    prompt: str
    system: str | None
    model: str
    max_tokens: int
    idempotency_key: str | None
    fingerprint: bytes


@dataclass(frozen=True)
class Answer:
    """A paid answer. `message` has id, model, text, stop_reason and usage.

    `max_tokens`, `held` and `upstream_ms` are of the call that was made; None when replayed.
    """

    hold_id: UUID
    message: dict[str, Any]
    charged: int
    balance: int
    max_tokens: int | None
    held: int | None
    upstream_ms: float | None


class Completions:
    """Sells answers of one upstream, out of one database.

    Args:
        database: the pool for admission and settlement.
        leases: the lease that this process's holds live by.
        client: the upstream.
        replay_keys: keys to store answers with, newest first; none: answers are not stored.
    """

    def __init__(
        self, database: Database, leases: Leases, client: upstream.Upstream, replay_keys: Sequence[bytes]
    ) -> None:
        self._db = database
        self._leases = leases
        self._client = client
        self._replay_keys = replay_keys
        self._book: list[PriceRow] = []
        self._book_read_at = float("-inf")

    def generate(self, key: LicenseKey, call: Call) -> Answer:
        """Answer a call and charge its usage, or charge nothing.

        Raises:
            Problem: whatever admission, the upstream or the database refused it with.
        """
        price = self._price(call.model)
        hold_id = self._leases.new_hold()
        try:
            return self._answer(key, call, price, hold_id)
        finally:
            self._leases.ended(hold_id)

    def _answer(self, key: LicenseKey, call: Call, price: pricing.Price | None, hold_id: UUID) -> Answer:
        input_tokens = pricing.input_bound([call.prompt, call.system or ""])
        size = pricing.HoldSize(0, 0) if price is None else pricing.hold_size(price, input_tokens, call.max_tokens)
        opened = holds.open_for_process(
            self._db,
            key,
            hold_id,
            self._leases.process_id,
            size,
            call.model,
            price,
            call.idempotency_key,
            call.fingerprint,
        )
        if opened.outcome == "replayed":
            return self._replayed(key, opened)
        assert price is not None, "open_hold refuses a model without a price"

        max_tokens = pricing.affordable_max_tokens(price, input_tokens, call.max_tokens, opened.amount)
        asked_at = time.monotonic()
        try:
            message = self._client.create_message(_body(call, max_tokens))
        except Exception:
            self._release(key, hold_id)
            raise
        upstream_ms = round(1000 * (time.monotonic() - asked_at), 1)
        usage = upstream.usage_of(message)
        assert usage is not None, "create_message refuses an answer without usage"
        answer = {
            "id": str(hold_id),
            "model": message["model"],
            "text": upstream.text_of(message),
            "stop_reason": message["stop_reason"],
            "usage": message["usage"],
        }
        settled = self._settle(key, hold_id, pricing.charge(price, usage), usage, call, answer)
        return Answer(hold_id, answer, settled.charge, settled.balance, max_tokens, opened.amount, upstream_ms)

    def _settle(
        self, key: LicenseKey, hold_id: UUID, amount: int, usage: pricing.Usage, call: Call, answer: dict[str, Any]
    ) -> Any:
        sealed = None
        if call.idempotency_key is not None and self._replay_keys:
            sealed = replay.seal(self._replay_keys, key.license_id, hold_id, json.dumps(answer).encode())
        try:
            settled = self._while_alive(
                lambda: holds.settle(
                    self._db, key, hold_id, amount, self._leases.process_id, usage, sealed, replay.ANSWER_TTL_S
                )
            )
        except Problem as problem:
            # Charged or not, the answer stays here; the heartbeat undoes what there is to undo.
            self._leases.withhold(key, hold_id)
            log.error("answer_withheld", hold_id=str(hold_id), problem=str(problem), upstream_usage=usage)
            raise Problem(
                "database_error",
                "The answer could not be paid for and was withheld. Ask again: with the same Idempotency-Key you get "
                "it if it was charged after all; without one, such a charge is given back.",
                retry_after_s=1,
            ) from problem
        if settled.shortfall:
            log.error("shortfall", hold_id=str(hold_id), credits=settled.shortfall)
        return settled

    def _release(self, key: LicenseKey, hold_id: UUID) -> None:
        try:
            self._while_alive(lambda: holds.release(self._db, key, hold_id, self._leases.process_id))
        except Problem as problem:
            log.error("release_left_to_heartbeat", hold_id=str(hold_id), problem=str(problem))
            self._leases.withhold(key, hold_id)

    def _while_alive(self, call: Callable[[], T]) -> T:
        """Ask until the database answers, for as long as the lease lives: unlike admission, an
        end must not give up because the pool is busy or the server restarts."""
        pause_s = 0.05
        while True:
            try:
                return call()
            except Problem as problem:
                # Retry-After is on the problems that time can mend; a missing right is not one.
                if problem.retry_after is None or not self._leases.alive():
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)

    def _replayed(self, key: LicenseKey, opened: Any) -> Answer:
        answer = replay.unseal(self._replay_keys, key.license_id, opened.hold_id, opened.answer)
        if answer is None:
            raise Problem("answer_gone", "The answer is stored under a replay key that is no longer configured.")
        return Answer(opened.hold_id, json.loads(answer), opened.charge, opened.balance, None, None, None)

    def _price(self, model: str) -> pricing.Price | None:
        now = time.monotonic()
        if now >= self._book_read_at + PRICE_BOOK_TTL_S:
            self._book, self._book_read_at = prices.book(self._db), now
        return pricing.price_of(self._book, model, datetime.now(UTC))


def _body(call: Call, max_tokens: int) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": call.model,
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": call.prompt}],
    }
    if call.system is not None:
        body["system"] = call.system
    return body
