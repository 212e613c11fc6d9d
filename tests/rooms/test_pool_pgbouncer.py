"""Behind a real PgBouncer in transaction mode, where the system has one: nothing of a session is used, nothing leaks."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mailgenius.errors import DatabaseUnavailable, QueryTimeout
from mailgenius.pool import AsyncPool, Pool
from mailgenius.servers import PostgresServer, postgres
from tests.standby import primary, standby

PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer on this system")


class Bouncer:
    def __init__(self, folder: Path, server: PostgresServer, ignore: str = "") -> None:
        given = conninfo_to_dict(server.dsn)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        folder.mkdir()
        (folder / "users.txt").write_text(f'"{given["user"]}" "{given["password"]}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={given['host']} port={given['port']}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {folder}/users.txt\n"
            f"pool_mode = transaction\ndefault_pool_size = 3\nignore_startup_parameters = {ignore}\n"
        )
        self.dsn = make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=given["user"],
            password=given["password"],
            dbname=given["dbname"],
        )
        self.command = [str(PROGRAM), str(folder / "pgbouncer.ini")]
        if os.getuid() == 0:  # it refuses to be root
            self.command[1:1] = ["-u", "nobody"]
        folder.chmod(0o755)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                psycopg.connect(self.dsn).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def server(fast_path: Path) -> Iterator[PostgresServer]:
    with postgres(fast_path / "behind", port=0, settings={"fsync": "off"}) as running:
        yield running


@pytest.fixture(params=["", "options,extra_float_digits"])
def bouncer(public: Path, server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Bouncer]:
    made = Bouncer(public / "bouncer", server, request.param)
    yield made
    made.stop()


async def test_many_callers(bouncer: Bouncer) -> None:
    async with AsyncPool(bouncer.dsn) as pool:

        async def caller(mine: int) -> None:
            for n in range(40):
                assert await pool.fetch("select %s::int4, %s::int4", (mine, n)) == [(mine, n)]

        await asyncio.gather(*(caller(mine) for mine in range(20)))
        assert pool.stats()["shared_size"] == 0
        assert await pool.fetch("select count(*) from pg_prepared_statements") == [(0,)]
        with pytest.raises(QueryTimeout):
            await pool.fetch("select pg_sleep(20)", timeout=0.1)
        assert await pool.fetch_value("select 1") == 1


def test_threads_too(bouncer: Bouncer) -> None:
    with Pool(bouncer.dsn) as pool:
        for n in range(40):
            assert pool.fetch("select %s::int4", (n,)) == [(n,)]
        with pytest.raises(QueryTimeout):
            pool.fetch("select pg_sleep(20)", timeout=0.1)


async def test_a_statement_timeout_ends_with_its_transaction(bouncer: Bouncer) -> None:
    async with AsyncPool(bouncer.dsn, max_size=6) as pool:
        for _ in range(4):
            with pytest.raises(psycopg.errors.QueryCanceled):
                async with pool.transaction(statement_timeout=0.02) as connection:
                    await connection.execute("select pg_sleep(20)")
        shown = await asyncio.gather(*(pool.fetch_value("show statement_timeout") for _ in range(20)))
        assert set(shown) == {"0"}


async def test_it_is_restarted(bouncer: Bouncer) -> None:
    async with AsyncPool(bouncer.dsn) as pool:
        assert await pool.fetch_value("select 1") == 1
        await asyncio.to_thread(bouncer.stop)
        with pytest.raises(DatabaseUnavailable):
            await pool.fetch_value("select 1")
        await asyncio.to_thread(bouncer.start)
        began = time.monotonic()
        assert await pool.fetch_value("select 1") == 1
        assert time.monotonic() - began < 1


def test_primary_and_replica_behind_it(place: Path) -> None:
    with primary(place / "a") as one, standby(place / "b", one.dsn) as other:
        place.chmod(0o755)
        doors = Bouncer(place / "to a", one), Bouncer(place / "to b", other)
        try:
            with Pool(doors[0].dsn, replicas=[doors[1].dsn]) as pool:
                deadline = time.monotonic() + 20
                while not pool.fetch_value("select pg_is_in_recovery()"):
                    assert time.monotonic() < deadline
                pool.execute("create table t (n int4)")
                with pool.read_your_writes():
                    for n in range(20):
                        assert pool.fetch_value("insert into t values (%s) returning n", (n,)) == n
                        assert pool.fetch_value("select max(n) from t") == n
        finally:
            for door in doors:
                door.process.terminate()
                door.process.wait()
