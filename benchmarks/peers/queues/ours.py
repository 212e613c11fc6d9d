"""mailgenius: AsyncQueue, and a worker with an async handler."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue
from mailgenius.worker import Worker

from . import Producer, Record, payload


@contextlib.asynccontextmanager
async def producer(url: str) -> AsyncIterator[Producer]:
    async with AsyncRedis(url) as redis:
        queue = AsyncQueue(redis, "bench")

        async def one(n: int) -> None:
            await queue.add("noop", payload(n))

        async def many(numbers: Iterable[int]) -> None:
            await queue.add_many("noop", map(payload, numbers))

        yield Producer(one, many)


def work(url: str, record: Record) -> None:
    handled = record()
    worker = Worker("bench", url=url, concurrency=100)

    @worker.handler("noop")
    async def noop(job: dict[str, Any]) -> None:
        handled(job["n"])

    worker.main()
