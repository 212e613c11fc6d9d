"""Adding and taking in a queue with a million delayed jobs (``--large``: ten), and in one without, in turns."""

from __future__ import annotations

import asyncio
import statistics
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks import queues
from benchmarks.peers.queues import payload
from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue
from mailgenius.worker import Worker

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

CALLERS, JOBS = 500, 100_000


def measure(room: Room | None, options: Options, results: Results) -> None:
    delayed = 10_000_000 if options.large else 100_000 if options.quick else 1_000_000
    scenario = "queue_delayed 10m" if options.large else "queue_delayed"
    results.forget(scenario)
    with queues.server() as (url, _):
        found = asyncio.run(_turns(url, delayed, options))
    command = options.command("queue_delayed")
    for what, rates in found.items():
        results.put(f"{scenario}/{what}", rates, "/s", command=command)
    for what in ("add", "take"):
        pairs = zip(found[f"{what}, none delayed"], found[f"{what}, {delayed:,} delayed"], strict=True)
        slower = [100 * (without / beside - 1) for without, beside in pairs]
        results.put(f"{scenario}/{what}: slower by", [statistics.median(slower)], "%", command=command)


async def _turns(url: str, delayed: int, options: Options) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    async with AsyncRedis(url) as redis:
        ways = {"none": AsyncQueue(redis, "empty"), f"{delayed:,}": AsyncQueue(redis, "full", timeout=60)}
        await _delay(ways[f"{delayed:,}"], delayed)
        options.say(f"queue_delayed: {delayed:,} delayed jobs are there")
        for turn in range(2 * options.runs + 1):
            for name, queue in ways.items() if turn % 2 else reversed(ways.items()):
                add, take = await _add(queue), await _take(queue)
                if turn:  # the first one warms up
                    found.setdefault(f"add, {name} delayed", []).append(add)
                    found.setdefault(f"take, {name} delayed", []).append(take)
    return found


async def _delay(queue: AsyncQueue, count: int) -> None:
    numbers = iter(range(count))

    async def caller() -> None:
        for n in numbers:
            await queue.add("noop", payload(n), delay=3600 + n % 3600)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def _add(queue: AsyncQueue) -> float:
    numbers = iter(range(JOBS))

    async def caller() -> None:
        for n in numbers:
            await queue.add("noop", payload(n))

    began = perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return JOBS / (perf_counter() - began)


async def _take(queue: AsyncQueue) -> float:
    left = iter(range(JOBS - 1))
    worker = Worker(queue, concurrency=100)
    times = []

    @worker.handler("noop")
    async def noop(job: dict[str, Any]) -> None:
        if next(left, None) is None:
            times.append(perf_counter())
            worker.stop()
        elif not times:
            times.append(perf_counter())

    await worker.run()
    return JOBS / (times[-1] - times[0])
