"""A queue with 2M waiting, 100,000 delayed and 100,000 failed jobs is looked at, paused, drained and cleaned: how long each
single call to the server kept it busy, by its own log of slow commands, set to log all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks import queues
from benchmarks.peers.queues import payload
from mailgenius import AsyncRedis
from mailgenius.errors import JobFailed
from mailgenius.queue import AsyncQueue, Policy
from mailgenius.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_many"
PAGES = 200


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    less = 10 if options.quick else 1
    with queues.server() as (url, _):
        found = asyncio.run(_all(url, 2_000_000 // less, 100_000 // less, options))
    command = options.command(SCENARIO)
    for what, times in found.items():
        results.put(f"{SCENARIO}/{what}: p99", [times[int(len(times) * 0.99)]], "ms", command=command)
        results.put(f"{SCENARIO}/{what}: longest", [times[-1]], "ms", command=command)
    results.put(f"{SCENARIO}/worst p99", [max(t[int(len(t) * 0.99)] for t in found.values())], "ms", command=command)
    results.put(f"{SCENARIO}/longest", [max(t[-1] for t in found.values())], "ms", command=command)


async def _all(url: str, waiting: int, others: int, options: Options) -> dict[str, list[float]]:
    async with AsyncRedis(url) as redis:
        queue = AsyncQueue(redis, "bench", policy=Policy(keep_failed=-1), timeout=60)
        await _fail(queue, others)
        numbers = iter(range(others))

        async def caller() -> None:
            for n in numbers:
                await queue.add("noop", payload(n), delay=3600 + n % 3600)

        await asyncio.gather(*(caller() for _ in range(500)))
        await queue.add_many("noop", map(payload, range(waiting)))
        counts = await queue.counts()
        assert (counts.waiting, counts.delayed, counts.failed) == (waiting, others, others), counts
        options.say(f"{SCENARIO}: {waiting:,} waiting, {others:,} delayed, {others:,} failed")
        await redis.call("CONFIG", "SET", "slowlog-max-len", 1_000_000)
        await redis.call("CONFIG", "SET", "slowlog-log-slower-than", 0)

        async def pages() -> None:
            for state in ("waiting", "delayed", "failed"):
                after = None
                for _ in range(PAGES):
                    page = await queue.page(state, 100, after=after)
                    after = page.after
                    if after is None:
                        break

        async def count() -> None:
            for _ in range(PAGES):
                await queue.counts()

        async def pause() -> None:
            for _ in range(PAGES):
                assert await queue.pause()
                assert await queue.resume()

        async def drain() -> None:
            assert await queue.drain() == waiting

        async def clean() -> None:
            assert await queue.clean("failed") == others
            assert await queue.clean("delayed") == others

        what: dict[str, Callable[[], Awaitable[Any]]] = {
            "count": count, "list": pages, "pause and resume": pause, "drain": drain, "clean": clean,
        }  # fmt: skip
        found = {}
        for name, do in what.items():
            await redis.call("SLOWLOG", "RESET")
            await do()
            log = await redis.call("SLOWLOG", "GET", -1)
            # What scripts call stands there as well, and is not to water down the times of the scripts.
            scripts = [entry[2] / 1e3 for entry in log if entry[3][0].upper() in (b"EVALSHA", b"EVAL")]
            plain = [entry[2] / 1e3 for entry in log if entry[3][0].upper() not in (b"EVALSHA", b"EVAL", b"SLOWLOG")]
            for kind, times in (("scripts", scripts), ("plain commands", plain)):
                if times:
                    found[f"{name}, {kind}"] = sorted(times)
                    options.say(f"{SCENARIO}: {name}, {len(times):,} {kind}, longest {max(times):.2f} ms")
    return found


async def _fail(queue: AsyncQueue, count: int) -> None:
    await queue.add_many("broken", map(payload, range(count)))
    left = iter(range(count - 1))
    worker = Worker(queue, concurrency=100)

    @worker.handler("broken")
    async def broken(job: dict[str, Any]) -> None:
        if next(left, None) is None:
            worker.stop()
        raise JobFailed("it is broken")

    await worker.run()
