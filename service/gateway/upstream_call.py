"""One call of the upstream for an answer, timed and traced from its beginning to the end of the answer."""

import time
from typing import TYPE_CHECKING

from .. import metrics, tracing
from ..problems import Problem

if TYPE_CHECKING:
    from opentelemetry.trace import Span

ANSWERED = "answered"


class UpstreamCall:
    """What is not begun has no end: a hold can fail before anybody was asked.

    Args:
        pattern: of the price book, for the model that is asked: a client may name models without end.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._began_at: float | None = None
        self._span: Span | None = None

    def begin(self) -> None:
        """The request leaves now."""
        self._began_at = time.monotonic()
        self._span = tracing.begin("upstream", model=self._pattern)

    def end(self, error: Exception | None = None) -> None:
        """The answer has come whole, or the call has failed."""
        if self._began_at is None:
            return
        code = None if error is None else error.code if isinstance(error, Problem) else "internal_error"
        seconds = time.monotonic() - self._began_at
        metrics.UPSTREAM_SECONDS.labels(self._pattern, code or ANSWERED).observe(seconds)
        tracing.end(self._span, code)
        self._began_at = None
