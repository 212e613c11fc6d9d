"""What tests of kept counters share: waiting for a signal, and a server that is killed while many write."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg

from mailgenius.leads import migrate
from mailgenius.servers import postgres

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def wait_until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline


def crash_while_writing(
    home: Path, churn: Callable[..., None], agrees: Callable[[psycopg.Connection[Any]], None], turns: int
) -> None:
    """Two writers (``churn(dsn, number, turns, failures)``), kill -9 once some megabytes of log are written, restart, and
    ``agrees(connection)``; several times. Commits do not wait for the disk, so the crash takes some of them."""
    lazy = {"wal_writer_delay": "100ms", "max_wal_size": "32MB", "min_wal_size": "32MB"}
    with postgres(home, settings=lazy) as server:
        with psycopg.connect(server.dsn, autocommit=True) as conn:
            migrate(conn)
        for turn in range(turns):
            failures: list[BaseException] = []
            dsn = server.dsn + " options='-c synchronous_commit=off'"
            writers = [
                threading.Thread(target=churn, args=(dsn, number, 10**6, failures))
                for number in range(turn * 2, turn * 2 + 2)
            ]
            with psycopg.connect(server.dsn, autocommit=True) as conn:
                before = conn.execute("select pg_current_wal_insert_lsn()").fetchone()[0]  # type: ignore[index]
                for thread in writers:
                    thread.start()
                written = f"select pg_current_wal_insert_lsn() - '{before}'::pg_lsn"
                wait_until(lambda: conn.execute(written.encode()).fetchone()[0] > 4_000_000)  # type: ignore[index]  # noqa: B023
            server.kill()
            for thread in writers:
                thread.join()
            assert all(isinstance(error, psycopg.OperationalError) for error in failures), failures
            server.restart()
            with psycopg.connect(server.dsn, autocommit=True) as conn:
                agrees(conn)
