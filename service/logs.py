"""Structured logs: one JSON object a line on stdout. Never prompts, answers or keys."""

import structlog

log = structlog.get_logger()


def configure() -> None:
    """Set up the process's logs, once at start."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
