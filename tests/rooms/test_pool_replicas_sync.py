# Made from test_pool_replicas_async.py by `python -m tools.twin`: edit that one.
"""Reads on standbys, writes on the primary, in both worlds: this file is for asyncio, its twin for threads."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mailgenius.app import open
from mailgenius.errors import DatabaseUnavailable
from mailgenius.pool import Pool
from mailgenius.rt import threads as rt
from mailgenius.servers import PostgresServer
from tests.standby import caught_up, copy, primary, promote, standby

pytestmark = pytest.mark.timeout(60)
WHO = "select pg_is_in_recovery()"


@pytest.fixture(scope="module")
def pair(fast_path: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its standby, both of which stay what they are."""
    with tempfile.TemporaryDirectory(dir=fast_path, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with primary(Path(name, "a")) as one, standby(Path(name, "b"), one.dsn) as other:
            yield one, other


@pytest.fixture
def fallible(place: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Another two, to be killed and promoted."""
    with primary(place / "a") as one, standby(place / "b", one.dsn) as other:
        yield one, other


def fresh_table(one: PostgresServer, other: PostgresServer) -> None:
    with psycopg.connect(one.dsn, autocommit=True) as direct:
        direct.execute("drop table if exists t; drop sequence if exists s; create table t (n int4); create sequence s")
    caught_up(one, other)


def until(what: Callable[[], rt.Awaits[Any]], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline


def reads_on(pool: Pool, is_replica: bool) -> None:
    def there() -> bool:
        return pool.fetch_value(WHO) is is_replica

    until(there)


def test_reads_go_to_the_replica_and_writes_to_the_primary(pair: tuple[PostgresServer, PostgresServer]) -> None:
    fresh_table(*pair)
    with Pool(pair[0].dsn, replicas=[pair[1].dsn]) as pool:
        assert [node.role for node in pool.nodes()] == ["primary", "replica"]
        reads_on(pool, True)
        assert pool.execute("insert into t values (1)") == 1
        with pool.transaction() as connection:
            cursor = connection.execute(WHO)
            assert cursor.fetchone() == (False,)
        # What looks like a read and is none finds its way; only once by way of the replica.
        for n in range(3):
            assert pool.fetch_value("select nextval('s')") == n + 1
            assert pool.fetch("insert into t values (2) returning n") == [(2,)]
            assert pool.fetch("select n from t where n = 1 for update") == [(1,)]
        with pytest.raises(psycopg.errors.DivisionByZero):
            pool.fetch("select 1 / 0")
        with pytest.raises(psycopg.errors.UndefinedTable):
            pool.fetch("select * from nowhere")
        assert pool.fetch("select %(n)s::int4 as n", {"n": 5}, as_=dict) == [{"n": 5}]
        first, second = pool.nodes()
        assert (first.up, first.lag, first.reads) == (True, 0.0, 0)
        assert second.up
        assert second.lag is not None
        assert second.lag < 1.0
        assert second.reads == pool.stats()["replica_reads"] > 0
        password = str(conninfo_to_dict(pair[0].dsn)["password"])
        assert password not in repr(pool.nodes()) + repr(pool) + repr(pool.settings)
    assert pool.stats()["replicas_up"] == 0


def test_a_replica_that_is_behind_is_not_read(pair: tuple[PostgresServer, PostgresServer]) -> None:
    fresh_table(*pair)
    with psycopg.connect(pair[1].dsn, autocommit=True) as direct:
        with Pool(pair[0].dsn, replicas=[pair[1].dsn], replica_lag=0.2) as pool:
            reads_on(pool, True)
            direct.execute("select pg_wal_replay_pause()")
            try:
                pool.execute("insert into t values (1)")
                written = time.monotonic()
                reads_on(pool, False)
                assert pool.fetch("select * from t") == [(1,)]
                assert time.monotonic() - written < 5
                assert pool.nodes()[1].up
                while time.monotonic() < written + 0.3:
                    assert time.monotonic() < written + 0.2 or pool.fetch("select * from t") == [(1,)]
            finally:
                direct.execute("select pg_wal_replay_resume()")
            reads_on(pool, True)  # by itself
            assert pool.fetch("select * from t") == [(1,)]


def test_replicas_take_turns(database: str) -> None:
    with Pool(database, replicas=[database, database]) as pool:

        def both() -> bool:
            pool.fetch("select 1")
            return pool.stats()["replicas_up"] == 2

        until(both)
        before = [node.reads for node in pool.nodes()]
        for _ in range(100):
            pool.fetch("select 1")
        none, first, second = (node.reads - then for node, then in zip(pool.nodes(), before, strict=True))
        assert none == 0
        assert first + second == 100
        assert min(first, second) > 25


def test_an_idle_primary_does_not_make_its_replica_old(pair: tuple[PostgresServer, PostgresServer]) -> None:
    with psycopg.connect(pair[0].dsn, autocommit=True) as direct:
        direct.execute("select pg_switch_wal()")  # the log ends at the beginning of an empty page
    caught_up(*pair)
    with Pool(pair[0].dsn, replicas=[pair[1].dsn], replica_lag=0.5) as pool:
        reads_on(pool, True)
        began = time.monotonic()
        while time.monotonic() < began + 1.0:
            lag = pool.nodes()[1].lag
            assert lag is not None
            assert lag < 0.5
            pool.fetch("select 1")


def test_a_block_sees_its_own_writes(pair: tuple[PostgresServer, PostgresServer]) -> None:
    fresh_table(*pair)
    with psycopg.connect(pair[1].dsn, autocommit=True) as direct:
        with Pool(pair[0].dsn, replicas=[pair[1].dsn], replica_lag=600) as pool:
            pool._replicas._interval = 0.02  # type: ignore[union-attr]
            reads_on(pool, True)
            direct.execute("select pg_wal_replay_pause()")
            try:
                with pool.read_your_writes():
                    assert pool.fetch_value(WHO) is True  # nothing was written yet
                    pool.execute("insert into t values (1)")
                    assert pool.fetch("select * from t") == [(1,)]
                    assert pool.fetch("select * from t") == [(1,)]
                    with pool.connection() as connection:
                        connection.execute("insert into t values (2)")
                        assert pool.fetch_value("select count(*) from t") == 2
                    assert pool.fetch_value("select count(*) from t") == 2
                assert pool.fetch("select * from t") == []  # old, as the bound allows
                with pool.read_from_primary():
                    assert pool.fetch_value("select count(*) from t") == 2
            finally:
                direct.execute("select pg_wal_replay_resume()")
            with pool.read_your_writes():
                for n in range(3, 100):
                    pool.execute("insert into t values (%s)", (n,))
                    assert pool.fetch_value("select max(n) from t") == n
                reads_on(pool, True)  # once it has replayed the last one
                assert pool.fetch_value("select max(n) from t") == 99


def test_leads_are_read_on_replicas(pair: tuple[PostgresServer, PostgresServer]) -> None:
    url, replicas = pair[0].dsn, [pair[1].dsn]
    with open(url, pool={"replicas": replicas}, migrate=True) as mg:
        reads_on(mg.pool, True)
        for n in range(3):
            with mg.pool.read_your_writes():
                mg.leads.upsert(f"acme{n}", [{"email": f"a{k}@example.com"} for k in range(5)])
                assert mg.leads.count(f"acme{n}") == 5
        mg.leads.ensure_workspace("new")
        assert mg.leads.count("new") == 0  # it is there at once
        with mg.pool.read_your_writes():
            rows = b"email\n" + b"".join(b"n%d@example.com\n" % n for n in range(50))
            report = mg.importer.run(rows, workspace="new")
            assert report.inserted == mg.leads.count("new") == 50
        assert (mg.importer.imports("new"))[0].import_id == report.import_id
        before = mg.pool.stats()["replica_reads"]
        reads_on(mg.pool, True)
        assert mg.leads.count("acme0") == 5
        assert mg.pool.stats()["replica_reads"] > before


def test_a_replica_of_something_else_is_not_read(
    pair: tuple[PostgresServer, PostgresServer], postgres_server: PostgresServer
) -> None:
    with Pool(pair[0].dsn, replicas=[postgres_server.dsn]) as pool:

        def known() -> bool:
            pool.fetch("select 1")
            return "another cluster" in (pool.nodes()[1].error or "")

        until(known)
        assert pool.fetch_value("select count(*) from pg_database where datname = 'nowhere'") == 0
        assert pool.stats()["replica_reads"] == 0


def test_a_replica_goes_and_comes_back(fallible: tuple[PostgresServer, PostgresServer]) -> None:
    one, other = fallible
    with Pool(one.dsn, replicas=[other.dsn]) as pool:
        reads_on(pool, True)
        other.kill()
        longest = 0.0
        for n in range(200):
            began = time.monotonic()
            assert pool.fetch_value("select %s::int4", (n,)) == n
            longest = max(longest, time.monotonic() - began)
        assert longest < 1.0
        reads_on(pool, False)  # its processes outlive their parent by a moment

        def down() -> bool:
            pool.fetch("select 1")
            return not pool.nodes()[1].up

        until(down)
        assert pool.nodes()[1].error
        other.restart()
        reads_on(pool, True)
        assert pool.nodes()[1].error is None


def test_another_primary_is_found(fallible: tuple[PostgresServer, PostgresServer]) -> None:
    one, other = fallible
    fresh_table(one, other)
    with Pool(one.dsn, replicas=[other.dsn]) as pool:
        pool.execute("insert into t values (1)")
        reads_on(pool, True)
        caught_up(one, other)
        port = one.port
        one.kill()
        with pytest.raises(DatabaseUnavailable):
            pool.execute("insert into t values (2)")
        promote(other)

        def written() -> bool:
            try:
                return pool.execute("insert into t values (3)") == 1
            except DatabaseUnavailable:
                return False

        until(written)
        assert pool.fetch("select n from t order by n") == [(1,), (3,)]
        assert [node.role for node in pool.nodes()] == ["replica", "primary"]
        assert f"port={other.port}" in pool.conninfo
        copy(one.data_dir, other.dsn)  # what was the primary follows now, at its old address
        one.restart()
        assert one.port == port
        reads_on(pool, True)
        with pool.read_your_writes():
            pool.execute("insert into t values (4)")
            assert pool.fetch("select max(n) from t") == [(4,)]


@pytest.mark.parametrize("listed", [True, False])
def test_a_primary_that_refuses_writes_is_left(fallible: tuple[PostgresServer, PostgresServer], listed: bool) -> None:
    """A fenced primary keeps its connections. ``listed``: as a replica; else as a second host of the primary."""
    one, other = fallible
    fresh_table(one, other)
    more: dict[str, Any] = {"replicas": [other.dsn]} if listed else {}
    dsn = one.dsn if listed else make_conninfo(one.dsn, host="127.0.0.1,127.0.0.1", port=f"{one.port},{other.port}")
    with Pool(dsn, **more) as pool:
        pool.execute("insert into t values (1)")
        assert pool.fetch("select count(*) from t") == [(1,)]
        caught_up(one, other)
        with psycopg.connect(one.dsn, autocommit=True) as direct:
            direct.execute("alter system set default_transaction_read_only = on")
            direct.execute("select pg_reload_conf()")
            while direct.execute("show default_transaction_read_only").fetchone() != ("on",):
                pass
        promote(other)
        assert pool.execute("insert into t values (2)") == 1  # refused there, so repeated here
        with pool.transaction() as connection:
            connection.execute("insert into t values (3)")
        with pool.read_from_primary():
            assert pool.fetch("select n from t order by n") == [(1,), (2,), (3,)]
        with pool.transaction() as connection:
            connection.execute("set transaction read only")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):  # asked for: that is another matter
                connection.execute("insert into t values (4)")
