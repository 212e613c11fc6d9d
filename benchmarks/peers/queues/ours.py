"""mailgenius: AsyncQueue, and a worker with an async handler. ``#3`` behind the URL: in three shards."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue, AsyncShardedQueue
from mailgenius.worker import Worker

from . import Producer, Record, payload


@contextlib.asynccontextmanager
async def producer(url: str) -> AsyncIterator[Producer]:
    address, _, shards = url.partition("#")
    async with AsyncRedis(address) as redis:
        queue: AsyncQueue | AsyncShardedQueue = AsyncQueue(redis, "bench")
        if shards:
            queue = AsyncShardedQueue(redis, "bench", shards=int(shards))

        async def one(n: int) -> None:
            await queue.add("noop", payload(n))

        async def many(numbers: Iterable[int]) -> None:
            await queue.add_many("noop", map(payload, numbers))

        yield Producer(one, many)


def work(url: str, record: Record) -> None:
    handled = record()
    address, _, shards = url.partition("#")
    worker = Worker("bench", url=address, shards=int(shards) if shards else None, concurrency=100)

    @worker.handler("noop")
    async def noop(job: dict[str, Any]) -> None:
        handled(job["n"])

    worker.main()
