"""Pools with replicas under faults: whoever reads does not notice that a replica is gone, and no write is forgotten."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mailgenius.errors import DatabaseUnavailable, OutcomeUnknown, QueryTimeout
from mailgenius.pool import AsyncPool, Pool
from mailgenius.servers import PostgresServer
from tests.standby import caught_up, copy, primary, promote, standby

from .proxy import FaultProxy
from .test_import_faults import address, through
from .trial import BORROWS, CALLERS, PATIENCE, TIMEOUT, Trial, again_and_again, no_connections, nothing_is_left

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FAILOVERS = max(2, BORROWS // 1000)


@pytest.fixture
def pair(fast_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    folder = fast_path / request.node.name
    folder.mkdir(mode=0o755)
    with primary(folder / "a") as one, standby(folder / "b", one.dsn) as other:
        with psycopg.connect(one.dsn, autocommit=True) as direct:
            direct.execute("create table counters (caller int4 primary key, n int4 not null)")
            direct.execute("insert into counters select generate_series(0, %s), 0", (CALLERS - 1,))
        caught_up(one, other)
        yield one, other


class Counting(Trial):
    """Each caller counts in a row of his own. What he reads is what he wrote, wherever he reads it: no less than was
    acknowledged, no more than was tried."""

    def __init__(self, pool: AsyncPool, timeout: float = TIMEOUT) -> None:
        super().__init__(pool, timeout)
        self.counted: Counter[int] = Counter()
        self.unknown: Counter[int] = Counter()
        self._numbers: dict[asyncio.Task[Any], int] = {}

    async def _ask(self, rng: random.Random, secret: int) -> None:
        if rng.randrange(2):
            await super()._ask(rng, secret)
            return
        task = asyncio.current_task()
        assert task is not None
        caller = self._numbers.setdefault(task, len(self._numbers)) % CALLERS
        with self.pool.read_your_writes():
            try:
                text = "update counters set n = n + 1 where caller = %s::int4"
                assert await self.pool.execute(text, (caller,), timeout=self.timeout) == 1
                self.counted[caller] += 1
            except (OutcomeUnknown, QueryTimeout):
                self.unknown[caller] += 1
                raise
            text = "select n from counters where caller = %s::int4"
            n = await self.pool.fetch_value(text, (caller,), timeout=self.timeout)
            least = self.counted[caller]
            assert least <= n <= least + self.unknown[caller]


async def serves(pool: AsyncPool, seconds: float = 10) -> float:
    """Waits until a replica answers; the seconds that took."""
    began = time.monotonic()
    while not await pool.fetch_value("select pg_is_in_recovery()"):
        assert time.monotonic() - began < seconds
    return time.monotonic() - began


@asynccontextmanager
async def counting(one: PostgresServer, replica: str, timeout: float = TIMEOUT) -> AsyncIterator[Counting]:
    async with AsyncPool(one.dsn, replicas=[replica], max_size=5, timeout=TIMEOUT, connect_timeout=2) as pool:
        await serves(pool)
        made = Counting(pool, timeout)
        yield made
        reads = pool.stats()["replica_reads"]
        print(f"{dict(made.outcomes)}, {reads} by replicas, longest {made.longest:.2f} s", end="")
        assert made.longest < PATIENCE
        assert reads > 0
        assert sum(made.outcomes.values()) >= BORROWS
        async with pool.connection() as primary_itself:  # a replica may be behind
            rows = await (await primary_itself.execute("select caller, n from counters")).fetchall()
        assert len(rows) == CALLERS
        for caller, n in rows:
            assert made.counted[caller] <= n <= made.counted[caller] + made.unknown[caller]
        await nothing_is_left(pool)


async def test_a_replica_is_killed(pair: tuple[PostgresServer, PostgresServer]) -> None:
    """Nobody hears of it: reads are answered by the primary, and by the replica again when it is back."""
    one, other = pair
    back: list[float] = []

    def kill_and_restart() -> None:
        other.kill()
        other.restart()

    async with counting(one, other.dsn) as work:
        for _ in range(3):
            other.kill()
            await asyncio.gather(*(work.pool.fetch("select 1") for _ in range(100)))
            other.restart()
            back.append(await serves(work.pool))
        await again_and_again(work, kill_and_restart)
        back.append(await serves(work.pool))
        assert set(work.outcomes) == {"answered"}
    print(f", back after {max(back):.2f} s")
    assert max(back) < 1.0
    for server in pair:
        no_connections(server)


async def test_the_network_to_a_replica_goes_silent(pair: tuple[PostgresServer, PostgresServer]) -> None:
    """Who was asking it then is answered by the primary a second later; nobody else waits."""
    one, other = pair
    back: list[float] = []
    with FaultProxy(address(other.dsn)) as proxy:
        async with counting(one, through(other.dsn, proxy.port), timeout=4) as work:
            for number in range(3):
                running = asyncio.ensure_future(work.run())
                await work.reaches(BORROWS // 4)
                proxy.stall()
                await running
                while work.pool.nodes()[1].up:
                    await work.pool.fetch("select 1")
                began = time.monotonic()
                for n in range(100):
                    assert await work.pool.fetch("select %s::int4", (n,)) == [(n,)]
                assert time.monotonic() - began < 0.5, number
                proxy.mend()
                back.append(await serves(work.pool))
                work.done = 0
            assert set(work.outcomes) == {"answered"}
    print(f", back after {max(back):.2f} s")
    assert max(back) < 1.0
    for server in pair:
        no_connections(server)


def test_threads_do_not_wait_for_a_silent_replica(pair: tuple[PostgresServer, PostgresServer]) -> None:
    one, other = pair
    with FaultProxy(address(other.dsn)) as proxy, ThreadPoolExecutor(20) as threads:
        replica = through(other.dsn, proxy.port)
        with Pool(one.dsn, replicas=[replica], max_size=5) as pool:

            def ask(n: int) -> float:
                began = time.monotonic()
                assert pool.fetch("select %s::int4", (n,), timeout=4) == [(n,)]
                return time.monotonic() - began

            longest = 0.0
            for _ in range(3):
                began = time.monotonic()
                while not pool.fetch_value("select pg_is_in_recovery()"):
                    assert time.monotonic() - began < 10
                assert time.monotonic() - began < 1.0
                work = [threads.submit(ask, n) for n in range(BORROWS)]
                assert work[BORROWS // 4].result() >= 0
                proxy.stall()
                longest = max(longest, *(done.result() for done in work))
                while pool.nodes()[1].up:
                    ask(0)
                assert max(ask(n) for n in range(100)) < 0.5
                proxy.mend()
            print(f"{3 * BORROWS} answered, {pool.stats()['replica_reads']} by replicas, longest {longest:.2f} s")
            assert longest < 4
            assert pool.leaks(0) == []
    for server in pair:
        no_connections(server)


def waits_for(server: PostgresServer, standbys: str) -> None:
    """From now on, the server's commits wait for these standbys."""
    with psycopg.connect(server.dsn, autocommit=True) as direct:
        direct.execute(f"alter system set synchronous_standby_names = '{standbys}'")
        direct.execute("select pg_reload_conf()")
        while direct.execute("show synchronous_standby_names").fetchone() != (standbys,):
            pass


async def test_the_primary_is_killed_and_a_replica_promoted(pair: tuple[PostgresServer, PostgresServer]) -> None:
    """Back and forth. The standby is a synchronous one, so that nothing that was acknowledged may be missing."""
    servers = list(pair)
    waits_for(servers[0], "*")
    back: list[float] = []

    def fail_over() -> float:
        """The time of the promotion."""
        old, new = servers
        old.kill()
        promote(new)
        waits_for(new, "")  # there is none yet
        return time.monotonic()

    def follow() -> None:
        """The old primary follows the new one, which waits for it from then on."""
        old, new = servers
        copy(old.data_dir, new.dsn)
        old.restart()
        servers.reverse()
        waits_for(new, "*")
        caught_up(new, old)

    async with counting(servers[0], servers[1].dsn) as work:
        for number in range(FAILOVERS):
            running = asyncio.ensure_future(work.run())
            await work.reaches(BORROWS // 2)
            promoted = await asyncio.to_thread(fail_over)
            while True:
                try:
                    await work.pool.execute("update counters set n = n where caller = 0", timeout=TIMEOUT)
                    break
                except (DatabaseUnavailable, QueryTimeout):
                    assert time.monotonic() < promoted + 10, number
            back.append(time.monotonic() - promoted)
            await running
            await asyncio.to_thread(follow)
            await serves(work.pool)
            work.done = 0
        await work.run()
    print(f", {FAILOVERS} failovers, writes again after {max(back):.2f} s")
    assert max(back) < 1.0
    for server in pair:
        no_connections(server)
