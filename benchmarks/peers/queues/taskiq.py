"""taskiq with taskiq-redis: a Redis stream (the broker of its that acknowledges), 100 jobs at once, results not kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from . import Producer, Record, payload

_handled: list[Callable[[int], None]] = []


def _broker(url: str) -> tuple[Any, Any]:
    broker = RedisStreamBroker(url)

    @broker.task(task_name="noop")
    async def noop(job: dict[str, Any]) -> None:
        _handled[0](job["n"])

    return broker, noop


@contextlib.asynccontextmanager
async def producer(url: str) -> AsyncIterator[Producer]:
    broker, noop = _broker(url)
    await broker.startup()
    yield Producer(lambda n: noop.kiq(payload(n)))
    await broker.shutdown()


def work(url: str, record: Record) -> None:
    _handled.append(record())
    broker, _ = _broker(url)
    broker.is_worker_process = True
    asyncio.run(run_receiver_task(broker, max_async_tasks=100, run_startup=True))
