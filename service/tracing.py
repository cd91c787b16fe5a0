"""Traces, for who has installed `obol[otel]` and has set OTEL_EXPORTER_OTLP_ENDPOINT; for others nothing.

A span has a name and what stands here in the code: a rule, a status, a code, an id of ours, an amount. Never a
prompt, a key, an answer, or the words of an error, which can quote any of them. Traces begin here: what a client
says of its own trace is not taken, and ours is not told to the upstream.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from .problems import Problem

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

log = structlog.get_logger()

# How long the end of a process waits for a collector that does not answer.
_FLUSH_S = 2

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_provider: TracerProvider | None = None
_tracer: Tracer | None = None
_request: ContextVar[Span | None] = ContextVar("request_span", default=None)
_OFF: AbstractContextManager[None] = contextlib.nullcontext()

Attribute = str | int


def set_up() -> None:
    """Begin to trace, if the environment says so, once in a process."""
    global _provider, _tracer
    if _provider is not None or not _is_wanted():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("traces_not_installed", hint="pip install 'obol[otel]', or unset OTEL_EXPORTER_OTLP_ENDPOINT")
        return
    ours = Resource({"service.name": "obol", "service.version": version("obol")})
    # Ours alone, and not the process's: libraries that trace by themselves would tell it of prompts.
    _provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("obol", version("obol"))


def stop() -> None:
    """Send what is not sent yet, and trace no more."""
    global _provider, _tracer
    if _provider is not None:
        # By itself it would try again and again.
        sending = threading.Thread(target=_provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(_FLUSH_S)
        _provider = _tracer = None


def begin_request(name: str) -> Span | None:
    """A trace's first span, which the thread's other spans are under; give it to `end`."""
    if _tracer is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind

    span = _tracer.start_span(name, Context(), SpanKind.SERVER)
    # A thread serves one request at a time. Whatever was before has ended, whether it was told so or not.
    _request.set(span)
    return span


def begin(name: str, **attributes: Attribute) -> Span | None:
    """A span of the thread's request; give it to `end`."""
    if _tracer is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    request = _request.get()
    context = Context() if request is None else set_span_in_context(request, Context())
    return _tracer.start_span(name, context, attributes=_named(attributes))


def end(span: Span | None, failed: str | None = None, **attributes: Attribute | None) -> None:
    """End a span; `failed`: the code of a problem."""
    if span is None:
        return
    span.set_attributes(_named(attributes))
    if failed is not None:
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("obol.code", failed)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def span(name: str) -> AbstractContextManager[None]:
    """A span around a block."""
    return _OFF if _tracer is None else _around(name)


@contextmanager
def _around(name: str) -> Iterator[None]:
    began = begin(name)
    failed: str | None = None
    try:
        yield
    except Exception as error:
        failed = error.code if isinstance(error, Problem) else type(error).__name__
        raise
    finally:
        end(began, failed)


def _named(attributes: dict[str, Attribute] | dict[str, Attribute | None]) -> dict[str, Attribute]:
    """Under the names that OpenTelemetry has for them, or in our own room."""
    return {_NAMES.get(name, f"obol.{name}"): value for name, value in attributes.items() if value is not None}


_NAMES = {"method": "http.request.method", "route": "http.route", "status": "http.response.status_code"}


def _is_wanted() -> bool:
    """As the standard's own variables say; there is one kind of exporter."""
    environ = os.environ
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    return any(environ.get(name) for name in _ENDPOINTS)
