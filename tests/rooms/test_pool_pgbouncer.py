"""Behind a real PgBouncer in transaction mode, where the system has one: nothing of a session is used, nothing leaks.

``MG_PGBOUNCER`` names further programs to try, with colons between them: a system has one version, and they differ.
"""

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

FOUND = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
PROGRAMS = [name for name in (FOUND, *os.environ.get("MG_PGBOUNCER", "").split(":")) if name]
pytestmark = pytest.mark.skipif(not PROGRAMS, reason="there is no pgbouncer on this system")
#: Which can carry prepared statements.
ABLE = (1, 21)


def version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.split()[1].split("."))


class Bouncer:
    def __init__(
        self, folder: Path, server: PostgresServer, program: str = "", ignore: str = "", prepared: int | None = None
    ) -> None:
        program = program or PROGRAMS[0]
        self.version = version(program)
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
            + (f"max_prepared_statements = {prepared}\n" if prepared is not None and self.version >= ABLE else "")
        )
        self.dsn = make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=given["user"],
            password=given["password"],
            dbname=given["dbname"],
        )
        self.command = [program, str(folder / "pgbouncer.ini")]
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
        self.process.kill()  # asked to end, versions from 1.23 on wait for their clients
        self.process.wait()


@pytest.fixture(scope="module")
def server(fast_path: Path) -> Iterator[PostgresServer]:
    with postgres(fast_path / "behind", port=0, settings={"fsync": "off"}) as running:
        yield running


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["", "options,extra_float_digits"])
def bouncer(public: Path, server: PostgresServer, program: str, request: pytest.FixtureRequest) -> Iterator[Bouncer]:
    made = Bouncer(public / "bouncer", server, program, request.param)
    yield made
    made.stop()


async def test_many_callers(bouncer: Bouncer) -> None:
    async with AsyncPool(bouncer.dsn) as pool:

        async def caller(mine: int) -> None:
            for n in range(40):
                assert await pool.fetch("select %s::int4, %s::int4", (mine, n)) == [(mine, n)]

        await asyncio.gather(*(caller(mine) for mine in range(20)))
        assert pool.stats()["shared_size"] == 0
        names = [name for (name,) in await pool.fetch("select name from pg_prepared_statements")]
        assert all(name.startswith("PGBOUNCER_") for name in names)
        assert not names or bouncer.version >= ABLE
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
                door.stop()


@pytest.mark.parametrize("most", [None, 2, 0])  # None: what it does by default; 2: it forgets most of them
async def test_prepared_statements(public: Path, server: PostgresServer, program: str, most: int | None) -> None:
    """Used where the pooler carries them, and every answer is the right one, whichever session it came from."""
    bouncer = Bouncer(public / "bouncer", server, program, prepared=most)
    # Before 1.24, none by default.
    able = bouncer.version >= (ABLE if most else (1, 24)) and most != 0
    try:
        async with AsyncPool(bouncer.dsn, min_size=8, max_size=8) as pool:

            async def caller(mine: int) -> None:
                for n in range(60):
                    kind = (mine + n) % 12  # twelve statements, alike but for what they add; none asks for another's
                    assert await pool.fetch(f"select %s::int4 + {kind}, {kind}", (n,)) == [(n + kind, kind)]

            await asyncio.gather(*(caller(mine) for mine in range(16)))
            names: set[str] = set()
            for _ in range(20):
                names |= {name for (name,) in await pool.fetch("select name from pg_prepared_statements")}
            assert bool(names) == able
            assert all(name.startswith("PGBOUNCER_") for name in names)

            await pool.execute("create table if not exists kept (n int)")
            for _ in range(20):
                assert await pool.execute("insert into kept values (%s)", (1,)) == 1
            assert await pool.fetch_value("select count(*) from kept") == 20
            await pool.execute("drop table kept")
    finally:
        bouncer.stop()


@pytest.mark.skipif(not any(version(name) >= ABLE for name in PROGRAMS), reason="needs PgBouncer 1.21: MG_PGBOUNCER=…")
def test_threads_use_prepared_statements(public: Path, server: PostgresServer) -> None:
    program = next(name for name in PROGRAMS if version(name) >= ABLE)
    bouncer = Bouncer(public / "bouncer", server, program, prepared=100)
    try:
        with Pool(bouncer.dsn) as pool:
            for n in range(20):
                assert pool.fetch("select %s::int4", (n,)) == [(n,)]
            names = {name for (name,) in pool.fetch("select name from pg_prepared_statements")}
            assert names
            assert all(name.startswith("PGBOUNCER_") for name in names)
    finally:
        bouncer.stop()
