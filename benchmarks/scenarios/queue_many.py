"""A queue with 2M waiting, 100,000 delayed and 100,000 failed jobs is looked at, paused, drained and cleaned: how long each
single call to the server kept it busy, by its own log of slow commands."""

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
LOGGED = 100  # microseconds; shorter calls are only counted
SCRIPTS = ("evalsha", "eval")
OURS = ("slowlog", "config", "info")  # what measures is not measured


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    less = 10 if options.quick else 1
    with queues.server() as (url, _):
        found = asyncio.run(_all(url, 2_000_000 // less, 100_000 // less, options))
    command = options.command(SCENARIO)
    for what, (p99, longest) in found.items():
        results.put(f"{SCENARIO}/{what}: p99", [p99], "ms", command=command)
        results.put(f"{SCENARIO}/{what}: longest", [longest], "ms", command=command)
    results.put(f"{SCENARIO}/worst p99", [max(p99 for p99, _ in found.values())], "ms", command=command)
    results.put(f"{SCENARIO}/longest", [max(longest for _, longest in found.values())], "ms", command=command)


async def _all(url: str, waiting: int, others: int, options: Options) -> dict[str, tuple[float, float]]:
    """Of each kind of call the p99 and the longest, in milliseconds."""
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
        await redis.call("CONFIG", "SET", "slowlog-log-slower-than", LOGGED)

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
            await redis.call("CONFIG", "RESETSTAT")
            await do()
            calls = _calls((await redis.call("INFO", "commandstats")).decode())
            log = await redis.call("SLOWLOG", "GET", -1)
            logged = [(entry[3][0].decode().lower(), entry[2] / 1e3) for entry in log]
            logged = [(word, ms) for word, ms in logged if word not in OURS]
            # What scripts call is counted as well, and is not to water down the times of the scripts.
            for kind, scripts in (("scripts", True), ("plain commands", False)):
                count = sum(n for word, n in calls.items() if (word in SCRIPTS) == scripts)
                times = sorted((ms for word, ms in logged if (word in SCRIPTS) == scripts), reverse=True)
                if count:
                    p99 = times[count // 100] if count // 100 < len(times) else LOGGED / 1e3
                    found[f"{name}, {kind}"] = p99, times[0] if times else LOGGED / 1e3
                    options.say(f"{SCENARIO}: {name}, {count:,} {kind}, p99 and longest {found[f'{name}, {kind}']}")
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


def _calls(commandstats: str) -> dict[str, int]:
    lines = (line.removeprefix("cmdstat_").split(":calls=") for line in commandstats.splitlines() if ":calls=" in line)
    return {word: int(rest.partition(",")[0]) for word, rest in lines if word not in ("config|resetstat", "info")}
