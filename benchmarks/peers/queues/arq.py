"""arq: 100 jobs at once; it polls, here each 10 ms; results not kept."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from . import Producer, Record, payload


@contextlib.asynccontextmanager
async def producer(url: str) -> AsyncIterator[Producer]:
    pool = await create_pool(RedisSettings.from_dsn(url))
    yield Producer(lambda n: pool.enqueue_job("noop", payload(n)))
    await pool.close()


def work(url: str, record: Record) -> None:
    handled = record()

    async def noop(_: Any, job: dict[str, Any]) -> None:
        handled(job["n"])

    Worker(
        functions=[func(noop, name="noop")],
        redis_settings=RedisSettings.from_dsn(url),
        max_jobs=100,
        poll_delay=0.01,
        keep_result=0,
    ).run()
