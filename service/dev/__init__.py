"""Development mode (OBOL_DEV=1): what is missing in the environment is filled in.

In production a missing variable is an error at start: Obol never opens an empty ledger or
sells sandbox answers by accident. In development a variable that is set wins.
"""

import base64
import contextlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..config import ConfigError, load
from .embedded import EmbeddedPostgres
from .private_file import write_private


@contextmanager
def environment(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment with, in development, an embedded PostgreSQL and keys of its own.

    The server runs for as long as the block, or longer if another process uses it.

    Raises:
        ConfigError, EmbeddedError.
    """
    filled = dict(environ)
    config = load(environ)
    if not config.dev:
        yield filled
        return
    if not config.replay_keys:
        filled["OBOL_REPLAY_KEYS"] = _own_key(config.data_dir, "replay.key")
    if config.session_key is None:
        filled["OBOL_SESSION_KEY"] = _own_key(config.data_dir, "session.key")
    if not config.webhook_keys:
        filled["OBOL_WEBHOOK_KEYS"] = _own_key(config.data_dir, "webhook.key")
    if config.database_url is not None:
        yield filled
        return
    if config.migrate_url is not None:
        raise ConfigError("OBOL_MIGRATE_URL is set and DATABASE_URL is not. Set both, or neither for the embedded one.")
    server = EmbeddedPostgres(config.data_dir)
    try:
        # Ctrl-C may come when the server runs already.
        urls = server.acquire()
        filled["DATABASE_URL"] = urls.service
        filled["OBOL_MIGRATE_URL"] = urls.owner
        yield filled
    finally:
        server.release()


def _own_key(data_dir: Path, name: str) -> str:
    """32 random bytes, made once and kept in a file of this name."""
    file = data_dir / name
    if not file.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        mine = file.with_name(f"{name}.{secrets.token_hex(8)}")
        write_private(mine, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        # Of several processes that start at once the first one's key is everybody's.
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(mine)
        mine.unlink()
    return file.read_text()
