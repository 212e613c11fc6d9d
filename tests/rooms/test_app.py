"""mailgenius.open(): embedded or given database, schema, errors that say what to do."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

import mailgenius
from mailgenius import ConfigError, DatabaseUnavailable, SchemaError
from mailgenius.leads import migrations


@pytest.fixture
def home(fast_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(dir=fast_path, ignore_cleanup_errors=True) as name:
        yield name


def test_embedded(home):
    with mailgenius.open(home=home) as mg:
        assert mg.server is not None
        assert mg.leads.ensure_workspace("acme") == 1
        assert mg.migrate() == []
        with mailgenius.open(home=home) as second:  # joins the same server
            assert second.leads.count("acme") == 0
        assert "data" in repr(mg) or "PostgresServer" in repr(mg)
    assert not mg.server.alive
    mg.close()
    with mailgenius.open(home=home) as mg:
        assert mg.leads.workspace_id("acme") == 1


def test_home_from_the_environment(home, monkeypatch):
    monkeypatch.setenv("MAILGENIUS_HOME", home)
    with mailgenius.open() as mg:
        assert str(mg.server.data_dir) == f"{home}/postgres"


def test_url(database, monkeypatch):
    with mailgenius.open(database) as mg:
        assert mg.server is None
        assert mg.leads.ensure_workspace("acme")
    monkeypatch.setenv("MAILGENIUS_DATABASE_URL", database)
    with mailgenius.open(pool={"max_size": 3}) as mg:
        assert mg.settings.pool.max_size == 3
        assert mg.leads.count("acme") == 0


def test_url_without_schema(empty_database):
    with pytest.raises(SchemaError, match=r"is missing.*mailgenius migrate"):
        mailgenius.open(empty_database)
    with mailgenius.open(empty_database, migrate=True) as mg:
        assert len(mg.pool.fetch("select * from mailgenius.schema_migrations")) == len(migrations())


def test_older_schema(database):
    with mailgenius.open(database) as mg:
        mg.pool.execute("delete from mailgenius.schema_migrations where number = %s", (len(migrations()),))
    with pytest.raises(SchemaError, match=r"is older than this version.*1 migrations"):
        mailgenius.open(database)


def test_refusals():
    with pytest.raises(ConfigError, match="did you mean pool"):
        mailgenius.open(poool={})
    with pytest.raises(DatabaseUnavailable, match="as me"):
        mailgenius.open("postgresql://me:s3cret@127.0.0.1:1/none")


def test_secrets_stay_out_of_repr(database):
    with mailgenius.open(database) as mg:
        password = mg.pool.conninfo.partition("password=")[2].split()[0]
        assert password not in repr(mg) + repr(mg.settings) + repr(mg.pool)


def test_public_names():
    assert set(mailgenius.__all__) <= set(dir(mailgenius))
    for name in mailgenius.__all__:
        assert getattr(mailgenius, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mailgenius.nothing  # noqa: B018


def test_import_is_light():
    heavy = "('psycopg', 'numpy', 'msgspec', 'asyncio')"
    code = f"import sys; import mailgenius; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
