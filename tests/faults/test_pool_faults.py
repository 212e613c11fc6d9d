"""The pool under faults: right answers or clear errors in time, nothing leaked, and at work again as soon as it can be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import psycopg
import pytest

from mailgenius.errors import DatabaseUnavailable, QueryTimeout
from mailgenius.pool import AsyncPool, Pool
from mailgenius.servers import PostgresServer, postgres

from .proxy import FaultProxy
from .test_import_faults import address
from .trial import BORROWS, PATIENCE, STATE, TIMEOUT, again_and_again, no_connections, nothing_is_left, trial

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(fast_path: os.PathLike[str]) -> Iterator[PostgresServer]:
    with postgres(f"{fast_path}/pool faults", port=0, settings={"fsync": "off"}) as running:
        yield running


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


class Gate:
    """What statements wait for on the server, as long as it is shut: so they are under way for certain."""

    def __init__(self, server: PostgresServer) -> None:
        self._door = psycopg.connect(server.dsn, autocommit=True)
        self._waiting = psycopg.connect(server.dsn, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._door.close()
        self._waiting.close()

    def shut(self) -> None:
        self._door.execute("select pg_advisory_lock(77)")

    def open(self) -> None:
        self._door.execute("select pg_advisory_unlock(77)")

    @property
    def waiting(self) -> int:
        row = self._waiting.execute(
            "select count(*) from pg_locks where locktype = 'advisory' and objid = 77 and not granted"
        ).fetchone()
        assert row is not None
        return int(row[0])

    async def reaches(self, least: int, most: int) -> None:
        deadline = time.monotonic() + 10
        while not least <= self.waiting <= most:
            assert time.monotonic() < deadline, f"{self.waiting} wait, not {least} to {most}"
            await asyncio.sleep(0)


async def test_callers_are_cancelled_in_the_middle_of_a_query(server: PostgresServer) -> None:
    """In either lane: tasks that are cancelled while PostgreSQL works for them. The others get what is theirs."""
    rng = random.Random(6)
    with Gate(server) as gate:
        async with AsyncPool(server.dsn, max_size=5) as pool:
            assert await pool.fetch("select 1") == [(1,)]
            cancelled = 0
            for round_ in range(BORROWS // 50):
                gate.shut()
                # A text of its own, or it would be known for its slowness and never share a connection again.
                text = f"select %s::int4 from pg_advisory_xact_lock_shared(77) r{round_}"
                shared = [asyncio.ensure_future(pool.fetch(text, (n,))) for n in range(25)]
                own = [asyncio.ensure_future(pool.execute(text, (n,))) for n in range(25)]
                await gate.reaches(6, 7)  # five in their own lane, and one that others share
                given_up = rng.sample(shared, 12) + rng.sample(own, 12)
                for task in given_up:
                    task.cancel()
                gate.open()
                answers = await asyncio.gather(*shared, *own, return_exceptions=True)
                for n, (task, answer) in enumerate(zip(shared + own, answers, strict=True)):
                    if task in given_up:
                        assert isinstance(answer, asyncio.CancelledError)
                        cancelled += 1
                    else:
                        assert answer == ([(n,)] if n < 25 else 1), round_
                await gate.reaches(0, 0)
            assert cancelled == BORROWS // 50 * 24
            await nothing_is_left(pool)
            began = time.monotonic()
            assert await pool.fetch("select 2") == [(2,)]
            assert await pool.execute("select 3") == 1
            assert time.monotonic() - began < 1.0
    no_connections(server)


def test_threads_give_up_in_the_middle_of_a_query(server: PostgresServer) -> None:
    """A thread cannot be cancelled; what it asks for can, by its time limit. In either lane."""
    with Gate(server) as gate, ThreadPoolExecutor(20) as threads, Pool(server.dsn, max_size=5) as pool:
        assert pool.fetch("select 1") == [(1,)]

        def ask(n: int) -> Any:
            late = n % 4 < 2
            text = "select %s::int4 from pg_advisory_xact_lock_shared(77)" if late else "select %s::int4"
            try:
                if n % 2:
                    return pool.fetch(text, (n,), timeout=0.02 if late else 10)
                return pool.execute(text, (n,), timeout=0.02 if late else 10)
            except QueryTimeout:
                return late

        for start in range(0, BORROWS, 100):
            gate.shut()
            for n, answer in enumerate(threads.map(ask, range(start, start + 100)), start):
                if n % 4 < 2:
                    assert answer is True, n
                else:
                    assert answer == ([(n,)] if n % 2 else 1), n
            gate.open()
            assert gate.waiting == 0
        assert pool.leaks(0) == []
        for _ in range(10):
            with pool.connection() as connection:
                assert connection.execute(STATE).fetchone() == (0, 0)
    no_connections(server)


async def test_the_pool_is_exhausted(server: PostgresServer) -> None:
    """Who waits for a connection in vain is told so, in his time; afterwards there is room for all."""
    patience, rounds = 0.05, BORROWS // 100
    async with AsyncPool(server.dsn, max_size=3, timeout=patience) as pool:
        longest = 0.0

        async def ask(n: int) -> str | int:
            nonlocal longest
            began = time.monotonic()
            try:
                return await pool.execute("select %s::int4", (n,))
            except DatabaseUnavailable as error:
                return str(error)
            finally:
                longest = max(longest, time.monotonic() - began)

        for _ in range(rounds):
            async with contextlib.AsyncExitStack() as held:
                for _ in range(3):
                    await held.enter_async_context(pool.connection(timeout=5))
                answers = await asyncio.gather(*(ask(n) for n in range(100)))
                assert all("became free within 0.05 s; all of at most 3" in str(answer) for answer in answers)
                assert await pool.fetch("select 1") == [(1,)]  # reads that share a connection do not mind
            assert longest < patience + 1.0
            assert await ask(1) == 1  # there is room at once
            assert pool.stats()["requests_waiting"] == 0
            assert pool.stats()["pool_size"] <= 3
        print(f"{rounds * 100} refused, the longest after {longest:.2f} s")
        await nothing_is_left(pool)
    no_connections(server)


def test_threads_exhaust_the_pool(server: PostgresServer) -> None:
    patience = 0.05
    with Pool(server.dsn, max_size=3, timeout=patience) as pool, ThreadPoolExecutor(50) as threads:

        def ask(n: int) -> tuple[str, float]:
            began = time.monotonic()
            try:
                pool.execute("select %s::int4", (n,))
            except DatabaseUnavailable as error:
                return str(error), time.monotonic() - began
            return "", 0.0

        longest = 0.0
        for _ in range(BORROWS // 100):
            with contextlib.ExitStack() as held:
                for _ in range(3):
                    held.enter_context(pool.connection(timeout=5))
                for text, took in threads.map(ask, range(100)):
                    assert "became free within 0.05 s; all of at most 3" in text
                    longest = max(longest, took)
            assert longest < patience + 1.0
            assert pool.execute("select 1", timeout=5) == 1
            assert pool.stats()["requests_waiting"] == 0
        assert pool.leaks(0) == []
    no_connections(server)
