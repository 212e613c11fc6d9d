"""Write-behind: 1 KB values from 100 tasks, accepted by a Valkey that logs them (everysec), and stored in PostgreSQL.

App, flusher (a process of its own), Valkey and PostgreSQL share the machine. A run counts only if every value is in the
database afterwards, and is the last one that was accepted.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from benchmarks import data
from mailgenius import AsyncPool
from mailgenius.cache import AsyncFlusher, AsyncPostgresUpserts, AsyncWriteBehind, Region
from mailgenius.link import AsyncRedis
from mailgenius.servers import valkey

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

REGION = Region(name="bench", serializer="raw")
WRITES, KEYS, CALLERS = 300_000, 20_000, 100
ROOT = Path(__file__).resolve().parents[2]
TABLE = "create table behind (key int primary key, value text, version int8 not null)"


async def flusher(url: str, conninfo: str) -> None:
    async with AsyncRedis(url) as redis, AsyncPool(conninfo) as pool:
        writer = AsyncPostgresUpserts(pool, "behind", key="key", columns="value")
        await AsyncFlusher(redis, REGION, writer, decode=lambda _, value: value.decode(), batch=5000).run()


async def accept(url: str, round_: int) -> tuple[float, float]:
    """Seconds until all are accepted, and until all are in the database."""
    async with AsyncRedis(url) as redis:
        behind = AsyncWriteBehind(redis, REGION, maxlen=10 * WRITES)
        pad = os.urandom(500).hex().encode()
        numbers = iter(range(WRITES))

        async def caller() -> None:
            for n in numbers:
                await behind.put(n % KEYS, b"%d %d %s" % (round_, n, pad))

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        accepted = time.perf_counter() - began
        await behind.flush(120)
        return accepted, time.perf_counter() - began


def run(url: str, conninfo: str, runs: int) -> list[tuple[float, float]]:
    """With a flusher beside it."""
    found = []
    command = [sys.executable, "-m", "benchmarks.scenarios.behind", url, conninfo]
    with subprocess.Popen(command, cwd=ROOT) as process, psycopg.connect(conninfo, autocommit=True) as connection:
        try:
            for round_ in range(runs):
                found.append(asyncio.run(accept(url, round_)))
                rows = connection.execute(
                    "select count(*), count(*) filter (where value like %s || ' ' || (%s + key) || ' %%') from behind",
                    (str(round_), WRITES - KEYS),
                ).fetchone()
                assert rows == (KEYS, KEYS), rows
        finally:
            process.terminate()
    return found


def measure(room: Room, options: Options, results: Results) -> None:
    results.forget("behind")
    database = "behind"
    room.make(database)
    try:
        conninfo = room.conninfo(database)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(TABLE)
        with tempfile.TemporaryDirectory(dir=data.HOME, ignore_cleanup_errors=True) as home, valkey(home) as server:
            options.say(f"behind: {WRITES:,} writes to {KEYS:,} keys")
            found = run(server.url, conninfo, options.runs)
    finally:
        room.drop(database)
    command = options.command("behind")
    results.put("behind/accepted", [WRITES / accepted for accepted, _ in found], "/s", command=command)
    results.put("behind/accepted and stored", [WRITES / stored for _, stored in found], "/s", command=command)


if __name__ == "__main__":
    asyncio.run(flusher(*sys.argv[1:]))
