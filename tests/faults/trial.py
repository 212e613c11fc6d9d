"""Callers of a pool who check each answer, while something goes wrong again and again.

``MG_FAULT_ROUNDS`` says how many borrows each fault meets: a hundred times that (1,000 by default, 10,000 with
``make faults``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg

from mailgenius.errors import DatabaseUnavailable, QueryTimeout
from mailgenius.pool import AsyncPool
from mailgenius.servers import PostgresServer

from .proxy import FaultProxy
from .test_import_faults import through

BORROWS = 100 * int(os.environ.get("MG_FAULT_ROUNDS", "10"))
CALLERS = 20
TIMEOUT = 0.5  # of a statement, and of waiting for a connection
PATIENCE = 5.0  # the longest that any call may take, whatever happens
FAULTS = 10  # while the borrows go on


class Trial:
    """Callers that ask for what only they know the answer to, while something goes wrong again and again."""

    def __init__(self, pool: AsyncPool, timeout: float = TIMEOUT) -> None:
        self.pool = pool
        self.timeout = timeout  # of a statement
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
            assert await self.pool.fetch("select %s::int8", (secret,), timeout=self.timeout) == [(secret,)]
        elif kind == 2:
            text = f"select {secret}::int8 as secret"
            assert await self.pool.fetch(text, timeout=self.timeout, as_=dict) == [{"secret": secret}]
        else:
            assert await self.pool.execute("select generate_series(1, %s)", (3,), timeout=self.timeout) == 3


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
        await nothing_is_left(pool)
        print(f"{dict(made.outcomes)}, longest {made.longest:.2f} s, recovered in {recovered:.2f} s")
        assert recovered < 1.0
        assert made.longest < PATIENCE
        assert made.outcomes["answered"] > 0
    no_connections(server)


async def nothing_is_left(pool: AsyncPool) -> None:
    """No connection is lent, and none remembers anything of those who had it."""
    assert pool.leaks(0) == []
    async with contextlib.AsyncExitStack() as all_of_them:
        for _ in range(pool.settings.max_size):
            connection = await all_of_them.enter_async_context(pool.connection(timeout=5))
            assert connection.autocommit
            cursor = await connection.execute(STATE)
            assert await cursor.fetchone() == (0, 0)


#: Settings made by somebody in the session, and locks that it holds.
STATE = """
select (select count(*) from pg_settings where source = 'session'),
       (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory')
"""


#: A standby's own connection has this name too, by its ``cluster_name``.
LENT = """
select count(*) from pg_stat_activity where application_name = 'mailgenius' and backend_type = 'client backend'
"""


def no_connections(server: PostgresServer) -> None:
    """The pool is closed, and the server knows."""
    with psycopg.connect(server.dsn, autocommit=True) as other:
        deadline = time.monotonic() + 10
        while other.execute(LENT).fetchone() != (0,):
            assert time.monotonic() < deadline, "connections are left on the server"


async def again_and_again(work: Trial, act: Callable[[], None]) -> None:
    """``act`` at equal distances of the work, in a thread: it takes its time."""
    running = asyncio.ensure_future(work.run())
    for number in range(FAULTS):
        await work.reaches(int((number + 0.5) * BORROWS / FAULTS))
        await asyncio.to_thread(act)
    await running
