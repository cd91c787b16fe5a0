"""Obol: AI answers for prepaid credits, each paid for exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from .config import Config
    from .payments import Cashier

# How long a call waits for a free connection before it is refused with over_capacity. A thousand that come at once have
# threads, and are admitted one after the other: that takes seconds, and a client that is willing to wait for an answer
# would rather wait for them than ask again, and be the last once more.
CALL_WAIT_S = 15.0
# Heartbeat, chores and /readyz have connections of their own.
POOL_WAIT_S = 3.0


def create_app(config: Config) -> Flask:
    """The only wiring: from a configuration to a WSGI application.

    The heartbeat is started by the first generation, or by `services_of(app).lease.start()`; the chores by
    `services_of(app).chores.start()` alone.

    Raises:
        ConfigError: naming a variable that is missing.
    """
    # Here and not above, so that the commands and Alembic, which also import this package,
    # do not wait for Flask and the SDK.
    from functools import partial

    from . import api, chores, metrics, pages, tracing
    from .db import Database
    from .deductions import Deductions
    from .dev import sandbox
    from .gateway.completions import Completions
    from .gateway.relay import Relay
    from .gateway.upstream import Upstream
    from .http.imported_keys import ImportedKeys
    from .http.services import Services
    from .http.threads import Threads
    from .lease import CONNECTIONS, Lease
    from .logs import log
    from .mail import Mailer
    from .repository import imports
    from .sealing import key_id
    from .webhooks import Settings

    config.check_served()
    tracing.set_up()
    database = Database(
        config.require_database_url(), config.pool_size, CALL_WAIT_S, on_wait=metrics.POOL_WAIT_SECONDS.observe
    )
    lease = Lease(Database(config.require_database_url(), CONNECTIONS, POOL_WAIT_S), config.lease_s)
    webhook_settings = Settings(config.webhook_keys, config.webhook_allow_private)
    mailer = Mailer(config.smtp_server, config.smtp_from) if config.smtp_server and config.smtp_from else None
    api_key, base_url = config.anthropic_api_key, config.anthropic_base_url
    if config.dev and api_key is None:
        # A base URL that is set wins: somebody's own stand-in for the model.
        api_key = "development"
        if base_url is None:
            base_url = sandbox.start().url
            log.warning("sandbox_upstream", hint="answers come from the sandbox, not from a model", url=base_url)
    upstream = Upstream(api_key or config.require_anthropic_api_key(), base_url, config.upstream_timeout_s)
    app = api.create(
        Services(
            database=database,
            readiness=Database(config.require_database_url(), 1, POOL_WAIT_S),
            lease=lease,
            completions=Completions(
                database,
                lease,
                upstream=upstream,
                replay_keys=config.replay_keys,
                max_unpaid_tokens=config.unpaid_tokens_per_hour,
            ),
            deductions=Deductions(database, CALL_WAIT_S),
            upstream=upstream,
            relay=Relay(),
            threads=Threads(config.threads_per_license),
            imported_keys=ImportedKeys(partial(imports.find_key, database)),
            chores=chores.Chores(
                Database(config.require_database_url(), chores.CONNECTIONS, POOL_WAIT_S),
                webhook_settings,
                mailer=mailer,
            ),
            webhook_settings=webhook_settings,
            replay_key_ids=tuple(map(key_id, config.replay_keys)),
            default_model=config.default_model,
            default_max_tokens=config.default_max_tokens,
            session_key=config.session_key,
            public_url=config.public_url,
            cashier=_cashier(config),
        )
    )
    pages.init(app)
    return app


def _cashier(config: Config) -> Cashier | None:
    """What sells by card, where that is configured: nobody else waits for Stripe's SDK."""
    if config.stripe_secret_key is None or config.public_url is None:
        return None
    from .payments import Cashier
    from .stripe_api import CHECKOUTS, StripeApi

    stripe = StripeApi(config.stripe_secret_key, config.stripe_api_base)
    return Cashier(stripe, config.public_url, config.stripe_api_base or CHECKOUTS)
