"""A PostgreSQL with a standby that follows it, on this machine: for tests of pools with replicas."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mailgenius.servers import PostgresServer, postgres
from mailgenius.servers._binaries import find_install

SETTINGS = {
    "fsync": "off",
    "wal_level": "replica",
    "max_wal_senders": "8",
    "wal_keep_size": "64MB",
    "wal_retrieve_retry_interval": "100ms",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "dynamic_shared_memory_type": "mmap",  # in the data folder: what a killed server leaves goes with it
}


def primary(folder: Path) -> PostgresServer:
    """A server that others can follow."""
    return postgres(folder, port=0, settings=SETTINGS)


def standby(folder: Path, dsn: str, *, port: int = 0, upstream: int | None = None) -> PostgresServer:
    """A new standby in ``folder`` of the server of ``dsn``. ``upstream``: it follows by this port, a proxy's say."""
    copy(folder, dsn, upstream)
    return postgres(folder, port=port, settings=SETTINGS)


def copy(folder: Path, dsn: str, upstream: int | None = None) -> None:
    """A copy of the server of ``dsn`` in ``folder``, to be started as its standby. What was there is gone."""
    given = conninfo_to_dict(dsn)
    pgdata = folder / "pgdata"
    shutil.rmtree(pgdata, ignore_errors=True)
    folder.mkdir(mode=0o755, exist_ok=True)
    (folder / "password").write_text(f"{given['password']}\n")
    program = find_install() / "bin" / "pg_basebackup"
    where = ["--host", str(given["host"]), "--port", str(upstream or given["port"]), "--username", str(given["user"])]
    command = [program, *where, "--pgdata", pgdata, "--checkpoint=fast", "--write-recovery-conf", "--no-sync"]
    subprocess.run(command, env={**os.environ, "PGPASSWORD": str(given["password"])}, check=True, capture_output=True)
    if os.geteuid() == 0:  # the server runs as somebody else
        shutil.chown(pgdata, "nobody")
        for path in pgdata.rglob("*"):
            shutil.chown(path, "nobody")


def caught_up(leader: PostgresServer, follower: PostgresServer) -> None:
    """Waits until the follower has replayed what its leader has written by now."""
    with psycopg.connect(leader.dsn, autocommit=True) as one, psycopg.connect(follower.dsn, autocommit=True) as other:
        row = one.execute("select pg_current_wal_flush_lsn()").fetchone()
        deadline = time.monotonic() + 30
        while other.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone() != (True,):
            assert time.monotonic() < deadline, "the standby does not follow"


def promote(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        assert connection.execute("select pg_promote(true, 30)").fetchone() == (True,)
