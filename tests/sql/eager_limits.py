"""Limits in plain Python: a list of the calls that counted, from which everything is worked out anew whenever it is
asked for. Nothing is summed up on the way, nothing is corrected, and no window has to be begun."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
MINUTE_US = 60_000_000
NUMBERS = ("requests_per_minute", "concurrent_holds", "credits_per_day", "credits_per_month")


class Described(NamedTuple):
    limit_of: str
    limit: str
    limit_value: int
    used: int
    retry_after_s: int


class Refused(NamedTuple):
    """The code of a problem, and what it says besides."""

    code: str
    extra: dict[str, Any]


@dataclass
class Call:
    """`credits` is what of it counts by now: what it holds while it is open, then what it was charged."""

    at: datetime
    credits: int
    is_open: bool


@dataclass
class Limited:
    """A key or a license; `name` says which. `calls` are those made while a number was limited, each with the
    time that one call had then, None while calls were not limited."""

    name: str
    limits: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[Call, timedelta | None]] = field(default_factory=list)

    @property
    def is_counted(self) -> bool:
        return any(name in self.limits for name in NUMBERS)

    @property
    def a_call(self) -> timedelta | None:
        per_minute = self.limits.get("requests_per_minute")
        return per_minute and ceil(Fraction(MINUTE_US, per_minute)) * MICROSECOND

    def change(self, limits: dict[str, Any]) -> None:
        merged = self.limits | limits
        self.limits = {name: value for name, value in merged.items() if value is not None}

    def count(self, call: Call) -> None:
        if self.is_counted:
            self.calls.append((call, self.a_call))

    def allows(self, model: str | None) -> bool:
        def fits(pattern: str) -> bool:
            return model[: len(pattern) - 1] == pattern[:-1] if pattern[-1] == "*" else model == pattern

        return model is None or "models" not in self.limits or any(map(fits, self.limits["models"]))

    @property
    def busy_until(self) -> datetime | None:
        """Calls stand in a line, and each takes its time: when the last of them would be done."""
        done = None
        for call, lasts in self.calls:
            if lasts is not None:
                begins = call.at if done is None or done < call.at else done
                done = begins + lasts
        return done

    @property
    def free_at(self) -> datetime | None:
        """When one more call may come, None: at any time. It may be as many times early as calls may come at once."""
        if not (lasts := self.a_call) or self.busy_until is None:
            return None
        return self.busy_until - (self.limits["requests_per_minute"] - 1) * lasts

    def describe(self, now: datetime) -> list[Described]:
        """What is used of each limit of numbers, and when one more call or new credits can come."""
        held = sum(call.is_open for call, _ in self.calls)
        day = sum(call.credits for call, _ in self.calls if call.at.date() == now.date())
        month = sum(call.credits for call, _ in self.calls if (call.at.year, call.at.month) == (now.year, now.month))
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        next_month = (midnight.replace(day=1) + timedelta(days=31)).replace(day=1)
        standing = 0
        while self.a_call and self.busy_until is not None and self.busy_until > now + standing * self.a_call:
            standing += 1
        found = (
            ("requests_per_minute", standing, self.free_at or now),
            ("concurrent_holds", held, now),
            ("credits_per_day", day, midnight + timedelta(days=1)),
            ("credits_per_month", month, next_month),
        )
        return [
            Described(self.name, name, self.limits[name], used, max(1, -((now - again_at) // SECOND)))
            for name, used, again_at in found
            if name in self.limits
        ]


def admit(
    subjects: list[Limited], now: datetime, *, model: str | None, amount: int, least: int, is_hold: bool
) -> int | Refused:
    """How many credits a call may use, `least` at least and `amount` at most."""
    for limited in subjects:
        if not limited.allows(model):
            return Refused(
                "model_not_allowed",
                {"limit": "models", "limit_of": limited.name, "allowed": limited.limits["models"]},
            )
    for limited in subjects:
        for found in limited.describe(now):
            wanted = {"requests_per_minute": 1, "concurrent_holds": int(is_hold)}.get(found.limit, least)
            if wanted and found.used + wanted > found.limit_value:
                return Refused("limit_exceeded", found._asdict())
            if found.limit in ("credits_per_day", "credits_per_month"):
                amount = min(amount, max(0, found.limit_value - found.used))
    return amount
