"""What this service counts and times, for Prometheus. This is the whole list, and how it is told.

Names, labels and their values are few and our own: no license, no key, nothing that a client wrote. A model
is labelled by the pattern of the price book that sells it, a request by its rule and not by its path.

Under gunicorn the workers share a folder (`service.server` makes it), in which each has its figures in a file
that is mapped into its memory: to count is to write into memory, and any worker can tell the sum of all. What a
dead worker has counted stays, and its gauges go. Elsewhere, in tests say, a process tells its own figures.
"""

import os
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from .clock import elapsed

__all__ = ["CONTENT_TYPE"]

# When something began would be a metric of its own for each of them.
disable_created_metrics()

_REGISTRY = CollectorRegistry()
# As prometheus_client has looked at it, too: whether figures are shared is decided with its import.
_SHARED_FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR")

_QUICK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Age:
    """A gauge of the seconds since a moment, as of the scrape: what does not happen any more goes on growing."""

    def __init__(self, name: str, documentation: str) -> None:
        self.name = name
        # One for each process. Which of them counts is decided when they are told: 0 stands for none.
        self._since = Gauge(name, documentation, registry=_REGISTRY, multiprocess_mode="liveall")

    def count_from(self, moment: float | None) -> None:
        """From a moment of `clock.elapsed`, the same for all processes of a machine; None: there is none."""
        self._since.set(moment or 0)

    def told(self, samples: list[Sample]) -> list[Sample]:
        """The age of the oldest, and 0 where there is none."""
        moments = [sample.value for sample in samples if sample.value]
        return [Sample(self.name, {}, max(0.0, elapsed() - min(moments)) if moments else 0.0)]


REQUESTS = Counter(
    "obol_requests",
    "Requests whose answer has ended; code is that of the problem, empty when there was none",
    ("route", "status", "code"),
    registry=_REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "obol_request_seconds",
    "From a request's header to the end of its answer",
    ("route",),
    registry=_REGISTRY,
    buckets=_SLOW_S,
)
THREADS_BUSY = Gauge(
    "obol_threads_busy", "Threads that have a request in hand", registry=_REGISTRY, multiprocess_mode="livesum"
)
STREAMS_OPEN = Gauge(
    "obol_streams_open",
    "Streamed answers on their way to their clients",
    registry=_REGISTRY,
    multiprocess_mode="livesum",
)

CREDITS = Counter(
    "obol_credits",
    "Credits that this service booked, by the kind of their ledger entry; what the obol command books is not in it",
    ("kind",),
    registry=_REGISTRY,
)
SHORTFALL_CREDITS = Counter(
    "obol_shortfall_credits", "Credits of charges that the license could not pay", registry=_REGISTRY
)
UNDELIVERED = Counter(
    "obol_undelivered",
    "Charged answers whose end was not written to their client and that no retry gets",
    registry=_REGISTRY,
)
OPERATOR_LOSS = Counter(
    "obol_operator_loss",
    "Answers that the upstream may charge us for and that nobody was charged for",
    ("reason",),
    registry=_REGISTRY,
)

HOLDS_OPEN = Gauge(
    "obol_holds_open",
    "Holds that a thread of a living worker has in hand",
    registry=_REGISTRY,
    multiprocess_mode="livesum",
)
HOLD_OLDEST_SECONDS = Age("obol_hold_oldest_seconds", "Age of the oldest of these holds; 0 when there is none")
SETTLE_SECONDS = Histogram(
    "obol_settle_seconds",
    "From the end of an answer to its charge in the database, with all attempts",
    registry=_REGISTRY,
    buckets=_QUICK_S,
)
POOL_WAIT_SECONDS = Histogram(
    "obol_pool_wait_seconds",
    "What a call waited for a database connection",
    registry=_REGISTRY,
    buckets=(0.0001, *_QUICK_S, 15, 20),
)
LEASE_AGE_SECONDS = Age(
    "obol_lease_age_seconds", "Time since the last heartbeat that reached the database, of the worker with the oldest"
)
WRONG_REVISION = Gauge(
    "obol_wrong_revision",
    "1 while a worker finds the database at another migration than its release, and sells nothing",
    registry=_REGISTRY,
    multiprocess_mode="livemax",
)

UPSTREAM_SECONDS = Histogram(
    "obol_upstream_seconds",
    "From asking the upstream for an answer to the end of it; model is the price book's pattern, outcome is answered "
    "or the code of the problem",
    ("model", "outcome"),
    registry=_REGISTRY,
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
UPSTREAM_ERRORS = Counter(
    "obol_upstream_errors",
    "Calls of the upstream that failed, by its status, or timeout, connection or unreadable",
    ("status",),
    registry=_REGISTRY,
)
UPSTREAM_REFUSES_US = Counter(
    "obol_upstream_refuses_us", "Calls that the upstream refused because of our account with it", registry=_REGISTRY
)

WEBHOOK_DELIVERIES = Counter(
    "obol_webhook_deliveries",
    "Attempts to deliver an event, by webhook or e-mail: delivered; waiting for the next attempt; failed, which is "
    "given up; or lapsed, when another process had taken it over",
    ("outcome",),
    registry=_REGISTRY,
)
EVENTS_WAITING = Gauge(
    "obol_events_waiting",
    "Deliveries of events that wait, those of paused webhooks included, as of the last minute",
    registry=_REGISTRY,
    multiprocess_mode="livemax",
)

# Prometheus sees no increase in a figure that comes into being with its first 1.
for _kind in ("charge", "deduction", "refund"):
    CREDITS.labels(_kind)
for _reason in ("upstream_error", "upstream_timeout", "usage_missing", "usage_implausible"):
    OPERATOR_LOSS.labels(_reason)
for _outcome in ("delivered", "waiting", "failed"):
    WEBHOOK_DELIVERIES.labels(_outcome)
for _status in ("timeout", "connection", "unreadable", "429", "500", "529"):
    UPSTREAM_ERRORS.labels(_status)

_AGES = {age.name: age for age in (HOLD_OLDEST_SECONDS, LEASE_AGE_SECONDS)}


def scrape() -> bytes:
    """All of it, of all workers, in Prometheus's text format (`CONTENT_TYPE`)."""
    return generate_latest(_Told())


def figures() -> dict[str, float]:
    """The sum of each, over all workers and labels, by the name that its samples have; ages are the oldest."""
    sums: dict[str, float] = {}
    for metric in _Told().collect():
        for sample in metric.samples:
            if metric.name in _AGES:
                sums[sample.name] = max(sums.get(sample.name, 0.0), sample.value)
            else:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


class _Told(Collector):
    """The figures of all workers, with ages in place of moments."""

    def collect(self) -> Iterator[Metric]:
        shared = MultiProcessCollector(None, _SHARED_FOLDER) if _SHARED_FOLDER else _REGISTRY
        for metric in shared.collect():
            if (age := _AGES.get(metric.name)) is not None:
                metric.samples = age.told(metric.samples)
            yield metric
