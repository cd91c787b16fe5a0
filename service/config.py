"""The environment, read once into one frozen object. Wrong values fail at start, by name."""

import base64
import binascii
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from tempfile import gettempdir
from typing import TypeVar
from urllib.parse import urlsplit

from . import keys, smtp
from .db import sqlalchemy_url
from .smtp import SmtpServer

NAMES = (
    "OBOL_ADMIN_TOKEN",
    "OBOL_DATA_DIR",
    "OBOL_DEFAULT_MAX_TOKENS",
    "OBOL_DEFAULT_MODEL",
    "OBOL_DEV",
    "OBOL_LEASE_S",
    "OBOL_METRICS_DIR",
    "OBOL_MIGRATE_URL",
    "OBOL_POOL_SIZE",
    "OBOL_PUBLIC_URL",
    "OBOL_REPLAY_KEYS",
    "OBOL_SESSION_KEY",
    "OBOL_SMTP_FROM",
    "OBOL_SMTP_URL",
    "OBOL_STRIPE_API_BASE",
    "OBOL_STRIPE_SECRET_KEY",
    "OBOL_THREADS",
    "OBOL_THREADS_PER_LICENSE",
    "OBOL_UNPAID_TOKENS_PER_HOUR",
    "OBOL_UPSTREAM_TIMEOUT_S",
    "OBOL_WEBHOOK_ALLOW_PRIVATE",
    "OBOL_WEBHOOK_KEYS",
)

# Kubernetes injects these for a service that is called "obol".
_INJECTED = re.compile(r"OBOL_(PORT|SERVICE_).*")

T = TypeVar("T")


class ConfigError(Exception):
    """A variable that is missing or wrong; the message names it and says what to do."""


@dataclass(frozen=True)
class Config:
    """Everything that can be set. Times in seconds, named `_s`."""

    database_url: str | None
    migrate_url: str | None
    anthropic_api_key: str | None
    anthropic_base_url: str | None
    admin_token: str | None
    public_url: str | None
    stripe_secret_key: str | None
    stripe_api_base: str | None
    port: int
    pool_size: int
    lease_s: float
    threads: int
    threads_per_license: int
    unpaid_tokens_per_hour: int
    upstream_timeout_s: float
    default_model: str
    default_max_tokens: int
    replay_keys: tuple[bytes, ...]
    session_key: bytes | None
    webhook_keys: tuple[bytes, ...]
    webhook_allow_private: bool
    smtp_server: SmtpServer | None
    smtp_from: str | None
    data_dir: Path
    metrics_dir: Path
    dev: bool
    database_is_here: bool

    def require_database_url(self) -> str:
        return _require("DATABASE_URL", self.database_url, "the PostgreSQL to use, postgresql://user:password@host/db")

    def require_migrate_url(self) -> str:
        """The owner's URL, for Alembic and the operator's commands."""
        return self.migrate_url or self.require_database_url()

    def require_anthropic_api_key(self) -> str:
        return _require("ANTHROPIC_API_KEY", self.anthropic_api_key, "the key for the model's API")

    def check_served(self) -> None:
        """That this can be served: nobody's real credits for a sandbox's answers.

        Raises:
            ConfigError: naming what is missing, or OBOL_DEV where it was left on.
        """
        if not self.dev:
            self.require_database_url()
            self.require_anthropic_api_key()
        elif self.anthropic_api_key is None and not self.database_is_here:
            raise ConfigError(
                "OBOL_DEV=1, without ANTHROPIC_API_KEY, would sell the sandbox's answers for the credits of a "
                "DATABASE_URL that is not on this machine. Set ANTHROPIC_API_KEY, or unset OBOL_DEV."
            )


def load(environ: Mapping[str, str]) -> Config:
    """Read and check every variable that is set.

    Raises:
        ConfigError: naming the variable, its limit and, for an unknown one, the nearest name.
    """
    for name in environ:
        if name.startswith("OBOL_") and name not in NAMES and not _INJECTED.fullmatch(name):
            near = difflib.get_close_matches(name, NAMES, 1, 0)[0]
            raise ConfigError(f"{name} is not a setting of Obol. Did you mean {near}?")

    def read(name: str, convert: Callable[[str], T], default: T) -> T:
        value = environ.get(name, "")
        try:
            return convert(value) if value else default
        except ValueError as error:
            raise ConfigError(f"{name} is not valid: {error}.") from error

    database_url = read("DATABASE_URL", _url, None)
    public_url = read("OBOL_PUBLIC_URL", _public_url, None)
    stripe_secret_key = read("OBOL_STRIPE_SECRET_KEY", _stripe_key, None)
    if stripe_secret_key is not None and public_url is None:
        raise ConfigError(
            "OBOL_STRIPE_SECRET_KEY needs OBOL_PUBLIC_URL: the address of this service, to come back to from Stripe."
        )
    threads = read("OBOL_THREADS", _integer(1, 1000), 1000)
    smtp_server, smtp_from = read("OBOL_SMTP_URL", smtp.parse, None), read("OBOL_SMTP_FROM", _address, None)
    if (smtp_server is None) != (smtp_from is None):
        missing, set_ = ("FROM", "URL") if smtp_from is None else ("URL", "FROM")
        raise ConfigError(f"OBOL_SMTP_{missing} is not set, and OBOL_SMTP_{set_} is: mail needs both.")
    return Config(
        database_url=database_url,
        migrate_url=read("OBOL_MIGRATE_URL", _url, None),
        anthropic_api_key=environ.get("ANTHROPIC_API_KEY") or None,
        anthropic_base_url=read("ANTHROPIC_BASE_URL", _base_url, None),
        admin_token=read("OBOL_ADMIN_TOKEN", _admin_token, None),
        public_url=public_url,
        stripe_secret_key=stripe_secret_key,
        stripe_api_base=read("OBOL_STRIPE_API_BASE", _base_url, None),
        port=read("PORT", _integer(1, 65535), 8000),
        pool_size=read("OBOL_POOL_SIZE", _integer(1, 1000), 10),
        lease_s=read("OBOL_LEASE_S", _integer(1, 3600), 30),
        threads=threads,
        unpaid_tokens_per_hour=read("OBOL_UNPAID_TOKENS_PER_HOUR", _integer(1, 10**9), 100_000),
        threads_per_license=read("OBOL_THREADS_PER_LICENSE", _integer(1, 1000), max(1, threads // 2)),
        upstream_timeout_s=read("OBOL_UPSTREAM_TIMEOUT_S", _integer(1, 3600), 600),
        default_model=environ.get("OBOL_DEFAULT_MODEL") or "claude-sonnet-5-5",
        default_max_tokens=read("OBOL_DEFAULT_MAX_TOKENS", _integer(1, 1_000_000), 512),
        replay_keys=read("OBOL_REPLAY_KEYS", _sealing_keys, ()),
        webhook_keys=read("OBOL_WEBHOOK_KEYS", _sealing_keys, ()),
        webhook_allow_private=read("OBOL_WEBHOOK_ALLOW_PRIVATE", _flag, False),
        smtp_server=smtp_server,
        smtp_from=smtp_from,
        session_key=read("OBOL_SESSION_KEY", _key, None),
        data_dir=Path(environ.get("OBOL_DATA_DIR") or ".obol").absolute(),
        metrics_dir=Path(environ.get("OBOL_METRICS_DIR") or gettempdir()).absolute(),
        dev=read("OBOL_DEV", _flag, False),
        database_is_here=database_url is None or _is_here(database_url, environ),
    )


def _require(name: str, value: str | None, meaning: str) -> str:
    if value is None:
        raise ConfigError(
            f"{name} is not set ({meaning}). Set it, or set OBOL_DEV=1 to try Obol out "
            "with an embedded PostgreSQL and a sandbox in place of the model."
        )
    return value


def _integer(least: int, most: int) -> Callable[[str], int]:
    def convert(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return int(value)

    return convert


def _flag(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError("it must be 0 or 1")
    return value == "1"


def _url(value: str) -> str | None:
    try:
        host = sqlalchemy_url(value).host
    except Exception as error:
        # SQLAlchemy's message would repeat the URL, and with it the password.
        raise ValueError("it must be a URL such as postgresql://user:password@host:5432/database") from error
    if "@" in (host or ""):
        # Errors would name the rest of the password as the host that they did not find.
        raise ValueError("an @ in its password must be written as %40")
    return value


def _is_here(url: str, environ: Mapping[str, str]) -> bool:
    """Whether all that a database's URL, or what libpq takes in its place, names is on this machine."""
    parsed = sqlalchemy_url(url)
    named = [parsed.host or environ.get("PGHOST"), environ.get("PGHOSTADDR")]
    for parameter in ("host", "hostaddr", "service"):
        value = parsed.query.get(parameter, ())
        named += [value] if isinstance(value, str) else value
    hosts = [host for several in named if several for host in several.split(",")]
    return all(host.startswith(("/", "@")) or host == "localhost" or _is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _base_url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be a URL such as https://api.example.com")
    return value


def _public_url(value: str) -> str | None:
    url = _base_url(value)
    parts = urlsplit(value)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("it must be an address alone, such as https://credits.example.com")
    return url


def _stripe_key(value: str) -> str | None:
    # It is sent in a header.
    if not re.fullmatch("[!-~]{8,500}", value):
        raise ValueError("it must be a secret key of Stripe, such as sk_live_…")
    return value


def _address(value: str) -> str | None:
    if not smtp.is_address(value):
        raise ValueError("it must be an e-mail address such as billing@example.com")
    return value


def _admin_token(value: str) -> str | None:
    if len(value) < keys.LEAST_TOKEN_LENGTH:
        raise ValueError(
            f"it must have {keys.LEAST_TOKEN_LENGTH} characters at least; `openssl rand -hex 32` makes one"
        )
    # Clients send it in a header, which takes no others, and loses spaces at the ends.
    if not re.fullmatch("[!-~]([ -~]*[!-~])?", value):
        raise ValueError("it may have printable ASCII characters only, and no space at its ends")
    if keys.parse_token(value) is None:
        raise ValueError("it begins with obol_admin_ and is no whole token of that kind")
    return value


def _sealing_keys(value: str) -> tuple[bytes, ...]:
    keys = tuple(_decode_key(part.strip()) for part in value.split(","))
    if None in keys:
        raise ValueError("each key, separated by commas, must be 32 random bytes in base64url")
    return tuple(key for key in keys if key is not None)


def _key(value: str) -> bytes | None:
    key = _decode_key(value)
    if key is None:
        raise ValueError("it must be 32 random bytes in base64url")
    return key


def _decode_key(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        # ValueError: what is not ASCII.
        return None
    return key if len(key) == 32 else None
