"""Settings: precedence, refusals with their path, secrets out of sight."""

from __future__ import annotations

import msgspec
import pytest

from mailgenius.config import ImporterSettings, PoolSettings, Settings, load, redact
from mailgenius.errors import ConfigError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_defaults():
    settings = load(environ={})
    assert settings == Settings()
    assert settings.database_url is None
    assert 1 <= settings.importer.threads <= 8
    assert settings.importer.lanes == 2
    assert msgspec.structs.asdict(settings.pool)["max_size"] == 10


def test_precedence(tmp_path):
    (tmp_path / "mailgenius.toml").write_text(
        'database_url = "postgresql://file/db"\nhome = "/from/file"\n'
        "[pool]\nmin_size = 2\nmax_size = 7\n[importer]\nlanes = 3\n"
    )
    environ = {"MAILGENIUS_HOME": "/from/env", "MAILGENIUS_POOL_MAX_SIZE": "8", "MAILGENIUS_IMPORTER_TEMP_DIR": "/fast"}
    settings = load(environ=environ, database_url="postgresql://argument/db", pool={"timeout": 3})
    assert settings.database_url == "postgresql://argument/db"
    assert settings.home == "/from/env"
    assert (settings.pool.min_size, settings.pool.max_size, settings.pool.timeout) == (2, 8, 3.0)
    assert (settings.importer.lanes, settings.importer.temp_dir) == (3, "/fast")


def test_named_file(tmp_path):
    (tmp_path / "other.toml").write_text("[pool]\nmax_size = 3\n")
    assert load("other.toml", environ={}).pool.max_size == 3
    assert load(environ={"MAILGENIUS_CONFIG": str(tmp_path / "other.toml")}).pool.max_size == 3
    with pytest.raises(ConfigError, match=r"^\$: cannot read none.toml"):
        load("none.toml", environ={})
    (tmp_path / "bad.toml").write_text("pool = [")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load("bad.toml", environ={})


def test_settings_stand_alone():
    given = Settings(pool=PoolSettings(max_size=4))
    settings = load(given, environ={"MAILGENIUS_POOL_MAX_SIZE": "9"}, home="/x")
    assert (settings.pool.max_size, settings.home) == (4, "/x")
    assert load(given, pool=PoolSettings(max_size=5)).pool.max_size == 5
    assert load(given, pool={"timeout": 1.5}).pool == PoolSettings(max_size=4, timeout=1.5)


@pytest.mark.parametrize(
    ("overrides", "environ", "message"),
    [
        ({"databse_url": "x"}, {}, r"^\$\.databse_url: unknown setting; did you mean database_url\?"),
        ({"pool": {"maxsize": 1}}, {}, r"^\$\.pool\.maxsize: unknown setting; did you mean max_size\?"),
        ({"pool": {"min_size": 11}}, {}, r"^\$\.pool\.min_size: 11 is more than \$\.pool\.max_size"),
        ({"pool": {"max_size": 0}}, {}, r"^\$\.pool\.max_size: 0 is out of range"),
        ({"pool": {"max_size": "many"}}, {}, r"^\$\.pool\.max_size: Expected `int`, got `str`"),
        ({"pool": 5}, {}, r"^\$\.pool: Expected `object`, got `int`"),
        ({"importer": {"lanes": 11}}, {}, r"^\$\.importer\.lanes: 11 is more than \$\.pool\.max_size"),
        ({"importer": {"max_field_bytes": 1 << 25}}, {}, r"^\$\.importer\.max_field_bytes: .*max_row_bytes"),
        ({"importer": {"max_bytes": 0}}, {}, r"^\$\.importer\.max_bytes"),
        ({"database_url": " "}, {}, r"^\$\.database_url: is empty"),
        ({}, {"MAILGENIUS_DATABASEURL": "x"}, r"^\$\.databaseurl: unknown setting \(MAILGENIUS_DATABASEURL\)"),
        ({}, {"MAILGENIUS_POOL_SIZE": "1"}, r"^\$\.pool\.size: unknown setting"),
        ({}, {"MAILGENIUS_POOL_MAX_SIZE": "ten"}, r"^\$\.pool\.max_size: Expected `int`, got `str`, got 'ten'"),
    ],
)
def test_refusals(overrides, environ, message):
    with pytest.raises(ConfigError, match=message):
        load(environ=environ, **overrides)


def test_checks_hold_for_structs_made_by_hand():
    with pytest.raises(ConfigError, match=r"^\$\.pool\.min_size"):
        PoolSettings(min_size=5, max_size=2)
    with pytest.raises(ConfigError, match=r"^\$\.importer\.threads"):
        ImporterSettings(threads=-1)
    with pytest.raises(AttributeError):
        PoolSettings().max_size = 3


def test_variables_of_a_kubernetes_service_are_not_settings():
    environ = {
        "MAILGENIUS_SERVICE_HOST": "10.0.0.1",
        "MAILGENIUS_PORT": "tcp://10.0.0.1:80",
        "MAILGENIUS_PORT_80_TCP_ADDR": "10.0.0.1",
        "MAILGENIUS_POOL_SERVICE_PORT_HTTP": "80",
    }
    assert load(environ=environ) == Settings()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:s3cret@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u:a:s3cret@x@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d?password=s3cret&sslmode=require", "postgresql://u@h/d?password=***&sslmode=require"),
        ("redis://:s3cret@h:6379/0", "redis://:***@h:6379/0"),
        ("host=h password=s3cret user=u", "host=h password=*** user=u"),
        ("host=h password = 's3c\\'ret x' user=u", "host=h password = *** user=u"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
    ],
)
def test_secrets_are_not_shown(text, shown):
    assert redact(text) == shown
    assert "s3c" not in repr(Settings(database_url=text, redis_url=text))
