"""The environment: defaults, limits, and errors that name the variable."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from tempfile import gettempdir

import pytest

from service import create_app
from service.config import NAMES, ConfigError, load

URL = "postgresql://obol:a-password@localhost:5432/obol"


def test_nothing_set_is_the_defaults():
    config = load({"PATH": "/bin"})

    assert (config.port, config.pool_size, config.lease_s, config.default_max_tokens) == (8000, 10, 30, 512)
    assert (config.database_url, config.anthropic_api_key, config.admin_token) == (None, None, None)
    assert (config.replay_keys, config.session_key, config.dev) == ((), None, False)
    assert config.data_dir == Path(".obol").absolute()
    assert config.metrics_dir == Path(gettempdir())
    with pytest.raises(FrozenInstanceError):
        config.port = 1


def test_everything_can_be_set():
    config = load(
        {
            "DATABASE_URL": URL,
            "OBOL_MIGRATE_URL": "postgres://owner@localhost/obol",
            "ANTHROPIC_API_KEY": "key",
            "ANTHROPIC_BASE_URL": "http://localhost:1",
            "OBOL_ADMIN_TOKEN": "t" * 32,
            "PORT": "8080",
            "OBOL_POOL_SIZE": "3",
            "OBOL_LEASE_S": "2",
            "OBOL_THREADS": "8",
            "OBOL_THREADS_PER_LICENSE": "5",
            "OBOL_UPSTREAM_TIMEOUT_S": "60",
            "OBOL_DEFAULT_MODEL": "m",
            "OBOL_DEFAULT_MAX_TOKENS": "100",
            "OBOL_REPLAY_KEYS": f"{'A' * 43}, {'_-' * 21}8=",
            "OBOL_SESSION_KEY": "A" * 43,
            "OBOL_SMTP_FROM": "billing@example.com",
            "OBOL_SMTP_URL": "smtps://me:a%23b@mail.example.com",
            "OBOL_DATA_DIR": "/tmp/obol",
            "OBOL_METRICS_DIR": "/dev/shm",
            "OBOL_DEV": "1",
        }
    )

    assert (config.require_database_url(), config.require_migrate_url()) == (URL, "postgres://owner@localhost/obol")
    assert (config.require_anthropic_api_key(), config.anthropic_base_url) == ("key", "http://localhost:1")
    assert (config.admin_token, config.port, config.pool_size, config.lease_s) == ("t" * 32, 8080, 3, 2)
    assert (config.threads, config.threads_per_license, config.upstream_timeout_s) == (8, 5, 60)
    assert (config.default_model, config.default_max_tokens) == ("m", 100)
    assert config.replay_keys[0] == config.session_key == bytes(32)
    assert [len(key) for key in config.replay_keys] == [32, 32]
    assert config.smtp_server == (True, "mail.example.com", 465, "me", "a#b")
    assert config.smtp_from == "billing@example.com"
    assert (config.data_dir, config.metrics_dir, config.dev) == (Path("/tmp/obol"), Path("/dev/shm"), True)


@pytest.mark.parametrize(("threads", "of_one_license"), [("64", 32), ("7", 3), ("1", 1)])
def test_one_license_may_take_half_of_the_threads(threads, of_one_license):
    assert load({"OBOL_THREADS": threads}).threads_per_license == of_one_license


def test_an_empty_variable_is_not_set():
    assert load(dict.fromkeys((*NAMES, "DATABASE_URL", "PORT", "ANTHROPIC_API_KEY"), "")) == load({})


def test_the_owner_s_url_is_the_service_s_when_there_is_no_other():
    assert load({"DATABASE_URL": URL}).require_migrate_url() == URL


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", "٨٠"),
        ("PORT", "9" * 5000),
        ("OBOL_POOL_SIZE", "0"),
        ("OBOL_POOL_SIZE", "1.5"),
        ("OBOL_LEASE_S", "-1"),
        ("OBOL_LEASE_S", "3601"),
        ("OBOL_THREADS", "1001"),
        ("OBOL_THREADS_PER_LICENSE", "0"),
        ("OBOL_UPSTREAM_TIMEOUT_S", "0"),
        ("OBOL_DEFAULT_MAX_TOKENS", "1000001"),
        ("OBOL_DEV", "true"),
        ("OBOL_DEV", "2"),
        ("OBOL_ADMIN_TOKEN", "t" * 31),
        ("OBOL_PUBLIC_URL", "https://o.example/?a=1"),
        ("OBOL_PUBLIC_URL", "https://me@o.example/"),
        ("OBOL_STRIPE_SECRET_KEY", "sk test 12345678"),
        ("OBOL_STRIPE_API_BASE", "stripe"),
        ("OBOL_ADMIN_TOKEN", "t" * 31 + " "),
        ("OBOL_ADMIN_TOKEN", "é" * 32),
        ("OBOL_ADMIN_TOKEN", "obol_admin_" + "t" * 38),
        ("OBOL_REPLAY_KEYS", "A" * 42),
        ("OBOL_REPLAY_KEYS", "A" * 43 + ","),
        ("OBOL_REPLAY_KEYS", "!" * 43),
        ("OBOL_REPLAY_KEYS", "é" * 43),
        ("OBOL_REPLAY_KEYS", "A"),
        ("OBOL_SESSION_KEY", "A" * 42),
        ("OBOL_SMTP_FROM", "billing"),
        ("OBOL_SMTP_FROM", "a@b\r\nBcc: c@d"),
        ("OBOL_SMTP_URL", "http://mail.example.com"),
        ("OBOL_SMTP_URL", "smtp://"),
        ("OBOL_SMTP_URL", "smtp://mail.example.com/inbox"),
        ("OBOL_SMTP_URL", "smtp://mail.example.com?tls=1"),
        ("OBOL_SMTP_URL", "smtp://mail.example.com:0"),
        ("OBOL_SMTP_URL", "smtp://me@mail.example.com"),
        ("OBOL_SMTP_URL", "smtp://[bad"),
        ("OBOL_SMTP_URL", "smtp://me:a-password#1@mail.example.com"),
        ("OBOL_SMTP_URL", "smtp://me:a-password/1@mail.example.com"),
        ("OBOL_SMTP_URL", "smtp://me:1#a-password@mail.example.com"),
        ("DATABASE_URL", "mysql://root:a-password@localhost/obol"),
        ("DATABASE_URL", "a-password"),
        ("DATABASE_URL", "postgres"),
        ("DATABASE_URL", "postgresql://u:a-password@host:port/db"),
        ("DATABASE_URL", "postgresql://u:a-password@h1:1,h2:port/db"),
        ("OBOL_MIGRATE_URL", "sqlite:///a-password"),
    ],
    ids=lambda value: value[:30],
)
def test_a_wrong_value_is_an_error_by_name(name, value):
    with pytest.raises(ConfigError, match=f"^{name} is not valid: ") as error:
        load({name: value})
    assert "a-password" not in str(error.value)


@pytest.mark.parametrize(
    ("is_set", "value", "missing"),
    [("URL", "smtp://mail.example.com", "FROM"), ("FROM", "billing@example.com", "URL")],
)
def test_mail_needs_a_server_and_a_sender(is_set, value, missing):
    with pytest.raises(ConfigError, match=f"^OBOL_SMTP_{missing} is not set, and OBOL_SMTP_{is_set} is"):
        load({f"OBOL_SMTP_{is_set}": value})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("OBOL_LEASE", "OBOL_LEASE_S"),
        ("OBOL_REPLAY_KEY", "OBOL_REPLAY_KEYS"),
        ("OBOL_MAX_TOKENS", "OBOL_DEFAULT_MAX_TOKENS"),
        ("OBOL_ZZZ", "OBOL_"),
        ("OBOL_", "OBOL_"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_one(name, near):
    with pytest.raises(ConfigError, match=f"{name} is not a setting of Obol. Did you mean {near}"):
        load({name: "1"})


def test_what_kubernetes_injects_is_left_alone():
    injected = {"OBOL_PORT": "tcp://1.2.3.4:80", "OBOL_PORT_80_TCP_ADDR": "1.2.3.4", "OBOL_SERVICE_HOST": "1.2.3.4"}
    assert load(injected) == load({})


@pytest.mark.parametrize("value", ["http://[bad", "ftp://host", "https://", "api.example.com"])
def test_a_base_url_that_is_none(value):
    with pytest.raises(ConfigError, match="ANTHROPIC_BASE_URL is not valid"):
        load({"ANTHROPIC_BASE_URL": value})


HERE = [
    "postgresql://a:b@localhost/c",
    "postgres://a:b@127.0.0.1:5432/c",
    "postgresql://a:b@127.8.9.10/c",
    "postgresql://a:b@[::1]/c",
    "postgresql:///c?host=/var/run/postgresql",
    "postgresql:///c",
    "postgresql://a:b@localhost:5432,127.0.0.1:5433/c?target_session_attrs=read-write",
]
ELSEWHERE = [
    "postgresql://a:b@db.example/c",
    "postgresql://a:b@10.0.0.5/c",
    "postgresql://a:b@[2001:db8::1]/c",
    "postgresql:///c?host=db.example",
    "postgresql://a:b@localhost/c?hostaddr=10.0.0.5",
    "postgresql:///c?host=localhost&host=db.example",
    "postgresql://a:b@localhost:5432,db.example:5433/c",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_the_sandbox_sells_nothing_from_a_database_elsewhere(url):
    left_on = load({"OBOL_DEV": "1", "DATABASE_URL": url})
    with pytest.raises(ConfigError, match=r"^OBOL_DEV=1, without ANTHROPIC_API_KEY, .* not on this machine"):
        left_on.check_served()
    with pytest.raises(ConfigError, match="OBOL_DEV"):
        create_app(left_on)
    # The commands sell nothing, and a model is no sandbox.
    assert left_on.require_migrate_url() == url
    load({"OBOL_DEV": "1", "DATABASE_URL": url, "ANTHROPIC_API_KEY": "k"}).check_served()


@pytest.mark.parametrize("url", [None, *HERE])
def test_the_sandbox_may_use_a_database_of_this_machine(url):
    load({"OBOL_DEV": "1"} | ({} if url is None else {"DATABASE_URL": url})).check_served()


@pytest.mark.parametrize("name", ["PGHOST", "PGHOSTADDR"])
def test_where_a_database_is_may_be_said_to_libpq(name):
    assert not load({"DATABASE_URL": "postgresql:///c", name: "10.0.0.5"}).database_is_here
    assert load({"DATABASE_URL": "postgresql:///c", name: "127.0.0.1"}).database_is_here


def test_whoever_sells_by_card_says_where_clients_see_the_service():
    said = {"OBOL_STRIPE_SECRET_KEY": "sk_test_12345678"}
    with pytest.raises(ConfigError, match="OBOL_PUBLIC_URL"):
        load(said)
    config = load(said | {"OBOL_PUBLIC_URL": "https://o.example"})
    assert (config.public_url, config.stripe_api_base) == ("https://o.example", None)
