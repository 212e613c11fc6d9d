"""The pool under faults: right answers or clear errors in time, nothing leaked, and at work again as soon as it can be.

``MG_FAULT_ROUNDS`` says how many borrows each fault meets: a hundred times that (1,000 by default, 10,000 with
``make faults``).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from mailgenius.errors import DatabaseUnavailable, QueryTimeout
from mailgenius.pool import AsyncPool
from mailgenius.servers import PostgresServer, postgres

from .proxy import FaultProxy
from .test_import_faults import address, through

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

BORROWS = 100 * int(os.environ.get("MG_FAULT_ROUNDS", "10"))
CALLERS = 20
TIMEOUT = 0.5  # of a statement, and of waiting for a connection
PATIENCE = 5.0  # the longest that any call may take, whatever happens
FAULTS = 10  # while the borrows go on


@pytest.fixture(scope="module")
def server(fast_path: os.PathLike[str]) -> Iterator[PostgresServer]:
    with postgres(f"{fast_path}/pool faults", port=0, settings={"fsync": "off"}) as running:
        yield running


class Trial:
    """Callers that ask for what only they know the answer to, while something goes wrong again and again."""

    def __init__(self, pool: AsyncPool) -> None:
        self.pool = pool
        self.outcomes: Counter[str] = Counter()
        self.longest = 0.0
        self.done = 0
        self._milestone = (0, asyncio.Event())

    async def run(self) -> None:
        await asyncio.gather(*(self._caller(number) for number in range(CALLERS)))

    async def reaches(self, borrows: int) -> None:
        self._milestone = (borrows, asyncio.Event())
        if self.done < borrows:
            await self._milestone[1].wait()

    async def _caller(self, number: int) -> None:
        rng = random.Random(number)
        while self.done < BORROWS:
            self.done += 1
            if self.done >= self._milestone[0]:
                self._milestone[1].set()
            began = time.monotonic()
            try:
                await self._ask(rng, rng.randrange(1 << 30))
                self.outcomes["answered"] += 1
            except (DatabaseUnavailable, QueryTimeout) as error:
                self.outcomes[type(error).__name__] += 1
                await asyncio.sleep(0)
            except psycopg.Error as error:  # inside a block of the caller's own, the driver's words are right
                self.outcomes[type(error).__name__] += 1
                await asyncio.sleep(0)
            self.longest = max(self.longest, time.monotonic() - began)

    async def _ask(self, rng: random.Random, secret: int) -> None:
        kind = rng.randrange(4)
        if kind < 2:
            assert await self.pool.fetch("select %s::int8", (secret,), timeout=TIMEOUT) == [(secret,)]
        elif kind == 2:
            text = f"select {secret}::int8 as secret"
            assert await self.pool.fetch(text, timeout=TIMEOUT, as_=dict) == [{"secret": secret}]
        else:
            assert await self.pool.execute("select generate_series(1, %s)", (3,), timeout=TIMEOUT) == 3


@asynccontextmanager
async def trial(server: PostgresServer, proxy: FaultProxy) -> AsyncIterator[Trial]:
    dsn = through(server.dsn, proxy.port)
    async with AsyncPool(dsn, max_size=5, timeout=TIMEOUT, connect_timeout=2) as pool:
        assert await pool.fetch_value("select 1") == 1
        made = Trial(pool)
        yield made
        # At work again: within a second of the first moment at which it could be.
        proxy.mend()
        server.start()
        began = time.monotonic()
        while True:
            try:
                assert await pool.fetch_value("select 2", timeout=TIMEOUT) == 2
                assert await pool.execute("select 3", timeout=TIMEOUT) == 1
                break
            except (DatabaseUnavailable, QueryTimeout):
                assert time.monotonic() - began < 10
        recovered = time.monotonic() - began
        assert pool.leaks(0) == []
        print(f"{dict(made.outcomes)}, longest {made.longest:.2f} s, recovered in {recovered:.2f} s")
        assert recovered < 1.0
        assert made.longest < PATIENCE
        assert made.outcomes["answered"] > 0
    with psycopg.connect(server.dsn, autocommit=True) as other:
        deadline = time.monotonic() + 10
        while other.execute(
            "select count(*) from pg_stat_activity where application_name = 'mailgenius'"
        ).fetchone() != (0,):
            assert time.monotonic() < deadline, "connections are left on the server"


async def again_and_again(work: Trial, act: Callable[[], None]) -> None:
    """``act`` at equal distances of the work, in a thread: it takes its time."""
    running = asyncio.ensure_future(work.run())
    for number in range(FAULTS):
        await work.reaches(int((number + 0.5) * BORROWS / FAULTS))
        await asyncio.to_thread(act)
    await running


async def test_connections_are_reset(server: PostgresServer) -> None:
    with FaultProxy(address(server.dsn)) as proxy:
        async with trial(server, proxy) as work:
            await again_and_again(work, proxy.cut)


async def test_the_server_restarts(server: PostgresServer) -> None:
    with FaultProxy(address(server.dsn)) as proxy:
        async with trial(server, proxy) as work:
            await again_and_again(work, server.restart)


async def test_the_server_is_killed(server: PostgresServer) -> None:
    def kill() -> None:
        server.kill()
        server.restart()

    with FaultProxy(address(server.dsn)) as proxy:
        async with trial(server, proxy) as work:
            await again_and_again(work, kill)


async def test_the_network_goes_silent(server: PostgresServer) -> None:
    """Every caller gets a clear error in time, and when the network is back, so is the pool."""
    with FaultProxy(address(server.dsn)) as proxy:
        async with trial(server, proxy) as work:
            for _ in range(3):
                proxy.stall()
                began = time.monotonic()
                answers = await asyncio.gather(
                    *(work.pool.fetch("select %s::int4", (n,), timeout=TIMEOUT) for n in range(10)),
                    *(work.pool.execute("select 1", timeout=TIMEOUT) for n in range(10)),
                    return_exceptions=True,
                )
                assert time.monotonic() - began < PATIENCE
                assert all(isinstance(answer, DatabaseUnavailable | QueryTimeout) for answer in answers)
                proxy.mend()
                await work.run()
                work.done = 0


async def test_callers_give_up(server: PostgresServer) -> None:
    with FaultProxy(address(server.dsn)) as proxy:
        async with trial(server, proxy) as work:
            rng = random.Random(5)
            for round_ in range(BORROWS // 50):
                tasks = [asyncio.ensure_future(work.pool.fetch("select %s::int4", (n,))) for n in range(30)]
                tasks += [asyncio.ensure_future(work.pool.execute("select %s::int4", (n,))) for n in range(20)]
                for _ in range(rng.randrange(20)):
                    await asyncio.sleep(0)
                for task in rng.sample(tasks, 20):
                    task.cancel()
                answers = await asyncio.gather(*tasks, return_exceptions=True)
                for n, answer in enumerate(answers[:30]):
                    assert isinstance(answer, asyncio.CancelledError) or answer == [(n,)], round_
                work.outcomes["answered"] += 1
