"""A ledger in plain Python that does at once what the database puts off: each use is taken from its grants when it
happens, and what starts or ends does so in its moment."""

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass
class Grant:
    """`ends` is the moment of expiry, None for never; `place` the order in which grants were made."""

    amount: int
    priority: int
    starts: datetime
    ends: datetime | None
    place: int
    left: int = 0
    lapsed: int = 0
    has_started: bool = False
    is_voided: bool = False

    def has_ended(self, now: datetime) -> bool:
        return self.is_voided or (self.ends is not None and self.ends <= now)

    def state(self, now: datetime) -> str:
        if self.is_voided:
            return "voided"
        if self.has_started and self.left == 0 and self.lapsed == 0:
            return "used_up"
        if self.has_ended(now):
            return "expired"
        return "active" if self.has_started else "scheduled"


@dataclass
class Ledger:
    """One license. What is refused is the caller's to know: nothing here looks whether there is enough."""

    now: datetime
    held: int = 0
    grants: list[Grant] = field(default_factory=list)
    # By cause: what was taken from which grant, in the order of the taking.
    draws: dict[object, list[tuple[Grant, int]]] = field(default_factory=dict)
    refunded: dict[object, int] = field(default_factory=dict)

    @property
    def balance(self) -> int:
        return sum(grant.left for grant in self.grants)

    @property
    def available(self) -> int:
        return self.balance - self.held

    def grant(self, amount: int, priority: int, starts: datetime, ends: datetime | None) -> Grant:
        grant = Grant(amount, priority, starts, ends, len(self.grants))
        self.grants.append(grant)
        self._catch_up()
        return grant

    def void(self, grant: Grant) -> None:
        grant.is_voided = True
        if not grant.has_started:
            grant.lapsed = grant.amount
        self._lapse()

    def use(self, cause: object, amount: int) -> None:
        self.draws[cause] = []
        for grant in self._in_burn_order():
            taken = min(amount, grant.left)
            if taken:
                grant.left -= taken
                amount -= taken
                self.draws[cause].append((grant, taken))
        assert amount == 0

    def hold(self, amount: int) -> None:
        self.held += amount

    def settle(self, cause: object, held: int, amount: int) -> int:
        """Returns the balance before what the hold protected lapses."""
        self.use(cause, amount)
        self.held -= held
        balance = self.balance
        self._lapse()
        return balance

    def release(self, held: int) -> None:
        self.held -= held
        self._lapse()

    def refundable(self, cause: object) -> int:
        return sum(taken for _, taken in self.draws[cause]) - self.refunded.get(cause, 0)

    def refund(self, cause: object, amount: int) -> int:
        """What was drawn last comes back first. Returns how much of it had ended."""
        done, ended = self.refunded.get(cause, 0), 0
        self.refunded[cause] = done + amount
        for grant, taken in reversed(self.draws[cause]):
            skipped = min(done, taken)
            done -= skipped
            back = min(amount, taken - skipped)
            amount -= back
            grant.left += back
            if grant.has_ended(self.now):
                ended += back
        self._lapse()
        return ended

    def pass_time(self, until: datetime) -> None:
        moments = {at for grant in self.grants for at in (grant.starts, grant.ends) if at is not None}
        for moment in sorted(at for at in moments if self.now < at <= until):
            self.now = moment
            self._catch_up()
        self.now = until

    def _in_burn_order(self) -> list[Grant]:
        started = (grant for grant in self.grants if grant.has_started)
        never = datetime.max.replace(tzinfo=UTC)
        return sorted(started, key=lambda g: (g.priority, never if g.ends is None else g.ends, g.place))

    def _catch_up(self) -> None:
        for grant in self.grants:
            if not grant.has_started and not grant.is_voided and grant.starts <= self.now:
                grant.has_started, grant.left = True, grant.amount
        self._lapse()

    def _lapse(self) -> None:
        """Of what has ended only that stays which holds cover: they cover what burns first."""
        covered = self.held
        for grant in self._in_burn_order():
            protected = min(grant.left, covered)
            covered -= protected
            if grant.has_ended(self.now):
                grant.lapsed += grant.left - protected
                grant.left = protected
