"""What the views work with."""

from dataclasses import dataclass

from flask import Flask, current_app

from ..chores import Chores
from ..db import Database
from ..deductions import Deductions
from ..gateway.completions import Completions
from ..gateway.relay import Relay
from ..gateway.upstream import Upstream
from ..lease import Lease
from ..payments import Cashier
from ..problems import Problem
from ..webhooks import Settings
from .imported_keys import ImportedKeys
from .threads import Threads

_EXTENSION = "obol"


@dataclass(frozen=True)
class Services:
    """What `create_app` wires together, once a process."""

    database: Database
    # Whoever asks whether all is well is not to wait behind the calls, nor they behind it.
    readiness: Database
    lease: Lease
    completions: Completions
    deductions: Deductions
    upstream: Upstream
    relay: Relay
    threads: Threads
    imported_keys: ImportedKeys
    chores: Chores
    webhook_settings: Settings
    replay_key_ids: tuple[bytes, ...]
    default_model: str
    default_max_tokens: int
    session_key: bytes | None
    public_url: str | None
    cashier: Cashier | None = None


def provide(app: Flask, services: Services) -> None:
    """Give an application its services."""
    app.extensions[_EXTENSION] = services


def services_of(app: Flask) -> Services:
    """The services of an application, where no request runs."""
    services: Services = app.extensions[_EXTENSION]
    return services


def services() -> Services:
    """The services of the application that handles the current request."""
    return services_of(current_app)


def cashier() -> Cashier:
    """What there is where payments are configured.

    Raises:
        Problem: payments_not_configured.
    """
    found = services().cashier
    if found is None:
        raise Problem("payments_not_configured", "Nothing is sold by card here. Ask the operator for credits.")
    return found
