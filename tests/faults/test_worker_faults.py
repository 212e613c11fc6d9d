"""Workers behind a network that cuts, loses replies, goes silent: nothing is lost, nothing done twice, nobody gives up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue, Backoff, Policy
from mailgenius.queue.scripts import script
from mailgenius.servers import ValkeyServer, valkey
from mailgenius.worker import Job, Worker
from tests.faults.proxy import FaultProxy, at, through
from tests.rooms.test_worker import holds, nothing_left, numbers, running
from tests.waiting_async import until

JOBS = 3000


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey(tmp_path / "valkey", port=0, settings={"requirepass": "", "save": "", "appendonly": "no"}) as server:
        yield server


@pytest.fixture
def proxy(own_server: ValkeyServer) -> Iterator[FaultProxy]:
    with FaultProxy(at(own_server)) as made:
        yield made


@pytest.mark.parametrize("keeper", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_connections_are_cut_again_and_again(
    own_server: ValkeyServer, proxy: FaultProxy, seed: int, keeper: bool
) -> None:
    async with AsyncRedis(own_server.url) as near, AsyncRedis(through(proxy), timeout=0.5) as far:
        queue = AsyncQueue(near, "mail", unsafe=True)
        worker = Worker(
            AsyncQueue(far, "mail", policy=Policy(backoff=Backoff("fixed", 0.001)), unsafe=True), keeper=keeper
        )
        runs: Counter[int] = Counter()

        @worker.handler("n")
        async def handler(payload: int, job: Job) -> None:
            runs[payload] += 1
            if payload % 50 == 0:
                await asyncio.sleep(0)
            if payload % 70 == 0 and job.attempts == 0:
                raise ValueError("once")

        await queue.add_many("n", range(JOBS))
        for name in ("work", "settle", "note"):  # their texts are longer than what gets through at a time
            await near.script(script(name)).load()
        async with running(worker):
            for cut in range(12):  # in the middle of calls, of greetings, and between them
                proxy.arm(200 + 3777 * ((cut + seed) % 7), proxy.cut)

                async def cut_or_done() -> bool:
                    return proxy.done.is_set() or len(runs) == JOBS

                await until(cut_or_done, 20)
            proxy.at = None

            async def ended() -> bool:
                return (await numbers(queue)).get("dn") == JOBS

            await until(ended, 20)
            assert worker.metrics().lost == 0
        assert all(runs[n] == (2 if n % 70 == 0 else 1) for n in range(JOBS))
        assert (await numbers(queue)).get("stalled", 0) == 0
        await nothing_left(queue)


async def test_a_network_that_goes_silent_is_noticed_and_work_goes_on(
    own_server: ValkeyServer, proxy: FaultProxy
) -> None:
    async with AsyncRedis(own_server.url) as near, AsyncRedis(through(proxy)) as far:
        queue = AsyncQueue(near, "mail", unsafe=True)
        worker = Worker(AsyncQueue(far, "mail", unsafe=True), keeper=False)
        done: list[Any] = []
        errors: list[BaseException] = []

        @worker.handler("n")
        async def handler(payload: Any) -> None:
            done.append(payload)

        worker.on("error", errors.append)
        async with running(worker):
            await queue.add("n", 1)
            await holds(lambda: done == [1])

            async def blocked() -> bool:
                return b"cmd=blpop" in await near.call("CLIENT", "LIST")

            await until(blocked)
            proxy.stall()
            began = monotonic()
            await queue.add("n", 2)
            await holds(lambda: bool(errors), 12)
            assert monotonic() - began < 10
            proxy.cut()
            proxy.mend()
            back = monotonic()
            await holds(lambda: done == [1, 2])
            assert monotonic() - back < 3
