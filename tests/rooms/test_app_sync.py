# Made from test_app_async.py by `python -m tools.twin`: edit that one.
"""mailgenius.open(): embedded or given database, schema, errors that say what to do; its twin is for open()."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import mailgenius
import mailgenius.queue
from mailgenius import ConfigError, DatabaseUnavailable, NotFound, SchemaError
from mailgenius.leads import migrations
from mailgenius.servers import ValkeyServer
from tests.waiting_sync import until


@pytest.fixture
def home(fast_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(dir=fast_path, ignore_cleanup_errors=True) as name:
        yield name


def test_embedded(home: str) -> None:
    with mailgenius.open(home=home) as mg:
        assert mg.server is not None
        assert mg.leads.ensure_workspace("acme") == 1
        assert mg.migrate() == []
        with mailgenius.open(home=home) as second:  # joins the same server
            assert second.leads.count("acme") == 0
        assert "PostgresServer" in repr(mg)
    assert not mg.server.alive
    mg.close()
    with mailgenius.open(home=home) as mg:
        assert mg.leads.workspace_id("acme") == 1


def test_home_from_the_environment(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILGENIUS_HOME", home)
    with mailgenius.open() as mg:
        assert mg.server is not None
        assert str(mg.server.data_dir) == f"{home}/postgres"


def test_url(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with mailgenius.open(database) as mg:
        assert mg.server is None
        assert mg.leads.ensure_workspace("acme")
    monkeypatch.setenv("MAILGENIUS_DATABASE_URL", database)
    with mailgenius.open(pool={"max_size": 3}) as mg:
        assert mg.settings.pool.max_size == 3
        assert mg.leads.count("acme") == 0


def test_without_a_block(database: str) -> None:
    mg = mailgenius.open(database)
    assert mg.leads.ensure_workspace("acme")
    mg.close()
    mg.close()
    with pytest.raises(DatabaseUnavailable, match="is closed"):
        mg.leads.count("acme")


def test_url_without_schema(empty_database: str) -> None:
    with pytest.raises(SchemaError, match=r"is missing.*mailgenius migrate"):
        mailgenius.open(empty_database)
    with mailgenius.open(empty_database, migrate=True) as mg:
        assert len(mg.pool.fetch("select * from mailgenius.schema_migrations")) == len(migrations())


def test_older_schema(database: str) -> None:
    with mailgenius.open(database) as mg:
        mg.pool.execute("delete from mailgenius.schema_migrations where number = %s", (len(migrations()),))
    with pytest.raises(SchemaError, match=r"is older than this version.*1 migrations"):
        mailgenius.open(database)


def test_the_server_is_left_if_opening_fails(home: str) -> None:
    with mailgenius.open(home=home) as mg:
        mg.pool.execute("insert into mailgenius.schema_migrations values (9999, 'later', 'x')")
        with pytest.raises(SchemaError, match="newer"):
            mailgenius.open(home=home)
    assert mg.server is not None
    assert not mg.server.alive  # we were its last user


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="did you mean pool"):
        mailgenius.open(poool={})
    with pytest.raises(DatabaseUnavailable, match="as me"):
        mailgenius.open("postgresql://me:s3cret@127.0.0.1:1/none")


def test_secrets_stay_out_of_repr(database: str) -> None:
    with mailgenius.open(database) as mg:
        password = mg.pool.conninfo.partition("password=")[2].split()[0]
        assert password not in repr(mg) + repr(mg.settings) + repr(mg.pool)


def test_the_importer(database: str, tmp_path: Path) -> None:
    source = tmp_path / "leads.csv"
    source.write_text("email,name\nana@example.com,Ana\nbad,Bo\n")
    seen: list[int] = []
    with mailgenius.open(database) as mg:
        assert mg.importer is mg.importer
        assert (mg.importer.preview(source)).mapping["email"] == "email"
        report = mg.importer.run(
            source, workspace="acme", tags=["expo"], on_progress=lambda progress: seen.append(progress.rows_read)
        )
        assert (report.inserted, report.rejected) == (1, 1)
        assert seen[-1] == 2
        assert (mg.importer.resume(report.import_id)).inserted == 1
        assert [entry.state for entry in mg.importer.imports("acme")] == ["done"]
        assert (mg.importer.undo(report.import_id)).deleted == 1
        assert mg.leads.count("acme") == 0
        with pytest.raises(NotFound):
            mg.importer.undo(4711)


def test_the_cache_of_an_embedded_valkey(home: str, database: str) -> None:
    with mailgenius.open(database, home=home) as mg:
        assert not (Path(home) / "valkey").exists()  # nobody asked for it
        lead = mg.cache.region("lead")
        assert mg.cache is mg.cache

        def load(key: int) -> str:
            return "loaded"

        assert lead.get_or_load(1, load) == "loaded"
        with mailgenius.open(database, home=home) as second:
            there = second.cache.region("lead")

            def found() -> bool:  # at first the connection may take longer than the cache waits for Redis
                return bool(there.get(1) == "loaded")

            until(found)


def test_queues_share_the_link_of_the_cache(home: str, database: str) -> None:
    with mailgenius.open(database, home=home) as mg:
        queue = mg.queue("email-sending")
        assert queue is mg.queue("email-sending")
        assert queue.policy.attempts == 5
        assert queue.redis is mg.redis
        assert queue.add("send-email", {"lead_id": 1})  # the embedded server is a safe one
        assert (queue.counts()).waiting == 1
        assert mg.queue("other", policy=mailgenius.queue.Policy(attempts=1)).policy.attempts == 1


def test_the_cache_of_a_given_redis(database: str, redis_server: ValkeyServer) -> None:
    url = redis_server.url
    with mailgenius.open(database, redis_url=url, cache={"local": False, "budget": 1}) as mg:
        mg.cache.region("stats", ttl=120, prefix="campaign:stats:", stale_for=60, early=1).set(1, {"opens": 3})
        assert redis_server.ask("EXISTS", "campaign:stats:1") == 1
        assert mg.settings.cache.budget == 1
