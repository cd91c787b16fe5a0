"""Obol: AI answers for prepaid credits, each paid for exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from .config import Config
    from .leases import Leases

# Admission that finds no free connection in this time is refused with over_capacity.
POOL_WAIT_S = 3.0


def create_app(config: Config) -> Flask:
    """The only wiring: from a configuration to a WSGI application.

    The heartbeat is started by the first generation, or by `leases_of(app).start()`.

    Raises:
        ConfigError: naming a variable that is missing.
    """
    # Here and not above, so that the commands and Alembic, which also import this package,
    # do not wait for Flask and the SDK.
    from . import api, sandbox
    from .completions import Completions
    from .db import Database
    from .leases import Leases
    from .logs import log
    from .upstream import Upstream

    database = Database(config.require_database_url(), config.pool_size, POOL_WAIT_S)
    leases = Leases(Database(config.require_database_url(), 1, POOL_WAIT_S), config.lease_s)
    api_key, base_url = config.anthropic_api_key, config.anthropic_base_url
    if config.dev and api_key is None:
        # A base URL that is set wins: somebody's own stand-in for the model.
        api_key = "development"
        if base_url is None:
            base_url = sandbox.start().url
            log.warning("sandbox_upstream", hint="answers come from the sandbox, not from a model", url=base_url)
    client = Upstream(api_key or config.require_anthropic_api_key(), base_url, config.upstream_timeout_s)
    completions = Completions(database, leases, client, config.replay_keys)

    services = api.Services(
        database=database,
        leases=leases,
        completions=completions,
        upstream=client,
        default_model=config.default_model,
        default_max_tokens=config.default_max_tokens,
    )
    return api.create(services)


def warn_of_excess(app: Flask) -> None:
    """Log a warning when the database login can do more than the service needs."""
    from .logs import log
    from .problems import Problem
    from .repository import processes

    try:
        if processes.login_can_do_too_much(app.extensions["obol"].database):
            log.warning(
                "login_can_do_too_much",
                hint="give DATABASE_URL a login that is only IN ROLE obol_service; the owner is for OBOL_MIGRATE_URL",
            )
    except Problem as problem:
        log.warning("login_not_checked", problem=str(problem))


def leases_of(app: Flask) -> Leases:
    """The lease of an application's process, for the hooks of the server that runs it."""
    leases: Leases = app.extensions["obol"].leases
    return leases
