"""streaq: 100 jobs at once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from streaq import Worker

from . import Producer, Record, payload

_handled: list[Callable[[int], None]] = []


def _worker(url: str) -> tuple[Any, Any]:
    worker = Worker(redis_url=url, concurrency=100)

    @worker.task(name="noop")
    async def noop(job: dict[str, Any]) -> None:
        _handled[0](job["n"])

    return worker, noop


@contextlib.asynccontextmanager
async def producer(url: str) -> AsyncIterator[Producer]:
    worker, noop = _worker(url)
    async with worker:

        async def one(n: int) -> None:
            await noop.enqueue(payload(n))

        async def many(numbers: Iterable[int]) -> None:
            numbers = list(numbers)
            for at in range(0, len(numbers), 1000):
                await worker.enqueue_many([noop.enqueue(payload(n)) for n in numbers[at : at + 1000]])

        yield Producer(one, many)


def work(url: str, record: Record) -> None:
    _handled.append(record())
    worker, _ = _worker(url)
    worker.run_sync()
