"""Alembic's entry: one transaction, one deploy at a time, online and offline."""

import os
from logging.config import fileConfig

from alembic.util import CommandError
from sqlalchemy import create_engine, pool, text

from alembic import context
from service import config as settings
from service import dev
from service.db import ADVISORY_LOCK, sqlalchemy_url
from service.migrations import register_admin_token

config = context.config
if config.config_file_name is not None and not config.attributes.get("quiet"):
    fileConfig(config.config_file_name, disable_existing_loggers=False)

# The advisory lock makes a second deploy wait for the first and then find nothing to do. It is
# taken inside the transaction, so it also works through PgBouncer and ends with a dead deploy.
# DDL after it waits 5 s at most: a migration must not queue the service behind it for longer.
PREPARE = (
    "SET LOCAL lock_timeout = '60s'",
    f"SELECT pg_catalog.pg_advisory_xact_lock({ADVISORY_LOCK})",
    "SET LOCAL lock_timeout = '5s'",
    "CREATE SCHEMA IF NOT EXISTS obol",
)

# alembic_version lives with everything else; on Supabase the schema public is open to clients.
OPTIONS = {"version_table_schema": "obol", "transaction_per_migration": False}


def run_offline() -> None:
    """Print the script that `psql` applies to an empty database."""
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        # With the default paramstyle the percent signs of RAISE formats would be doubled.
        dialect_opts={"paramstyle": "named"},
        **OPTIONS,
    )
    with context.begin_transaction():
        for statement in PREPARE:
            context.execute(statement)
        context.run_migrations()


def run_online(url: str, admin_token: str | None) -> None:
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool, hide_parameters=True)
    with engine.connect() as connection, connection.begin():
        for statement in PREPARE:
            connection.execute(text(statement))
        context.configure(connection=connection, **OPTIONS)
        context.run_migrations()
        if admin_token is not None:
            register_admin_token(connection, admin_token)


def is_upgrade() -> bool:
    """Whether it is `alembic upgrade`: nobody who asks for the current revision wants a token registered."""
    function, *_ = getattr(config.cmd_opts, "cmd", (None,))
    return getattr(function, "__name__", "") == "upgrade"


if context.is_offline_mode():
    run_offline()
elif "url" in config.attributes:
    run_online(config.attributes["url"], config.attributes.get("admin_token"))
else:
    try:
        with dev.environment(os.environ) as environ:
            loaded = settings.load(environ)
            run_online(loaded.require_migrate_url(), loaded.admin_token if is_upgrade() else None)
    except settings.ConfigError as error:
        raise CommandError(str(error)) from error
