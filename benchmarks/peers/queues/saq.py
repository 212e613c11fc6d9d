"""SAQ: 100 jobs at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio
from saq import Queue, Worker
from saq.queue.redis import RedisQueue

from . import TEXT, Producer, Record


@contextlib.asynccontextmanager
async def producer(url: str) -> AsyncIterator[Producer]:
    queue = Queue.from_url(url)
    await queue.connect()
    yield Producer(lambda n: queue.enqueue("noop", n=n, text=TEXT))
    await queue.disconnect()


def work(url: str, record: Record) -> None:
    handled = record()

    async def noop(_: Any, *, n: int, text: str) -> None:
        handled(n)

    client = redis.asyncio.Redis.from_url(
        url, max_connections=300
    )  # its own number is too few for so many jobs at once
    asyncio.run(Worker(RedisQueue(client), functions=[("noop", noop)], concurrency=100).start())
