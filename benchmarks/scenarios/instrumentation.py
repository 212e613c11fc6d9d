"""What it costs that the pool counts statements and times connections: with it and without it, in turns.

The same pool with its switch (``PoolSettings.statistics``) thrown between blocks of calls, so that both halves use the
very same connection. A run is the median over many pairs of blocks, each pair in the other order than the one before.

- *a call*: nanoseconds of the instrumentation alone: no server, ``fetch`` has its rows at once, and caches are warm.
- *added to select 1*: what it adds to the time of a round trip, in per cent; one caller, a real server.

A time limit needs to know when a call began, so that the clock is read at that point with it and without it.
"""

from __future__ import annotations

import asyncio
import statistics
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from benchmarks.room import EMPTY, Room
from mailgenius.pool import AsyncPool, Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.results import Results

    from . import Options

ROWS = [(1,)]
CALLS = 100  # of a block: 2 to 8 milliseconds of a server's time
PAIRS = 300


class Answered(Pool):
    """Asks nobody."""

    def _rows(self, *_: Any) -> list[Any]:
        return ROWS


class AnsweredAsync(AsyncPool):
    async def _rows(self, *_: Any) -> list[Any]:
        return ROWS


def in_turns(pool: Pool, call: Callable[[str], object], calls: int, pairs: int) -> list[tuple[float, float]]:
    """Nanoseconds a call, (with, without), of each pair of blocks."""
    found = []
    for pair in range(pairs):
        took = {}
        for counting in (pair % 2 == 0, pair % 2 == 1):
            pool._counting = counting
            began = perf_counter_ns()
            for _ in range(calls):
                call("select 1")
            took[counting] = (perf_counter_ns() - began) / calls
        found.append((took[True], took[False]))
    return found


async def in_turns_async(
    pool: AsyncPool, call: Callable[[str], Awaitable[object]], calls: int, pairs: int
) -> list[tuple[float, float]]:
    found = []
    for pair in range(pairs):
        took = {}
        for counting in (pair % 2 == 0, pair % 2 == 1):
            pool._counting = counting
            began = perf_counter_ns()
            for _ in range(calls):
                await call("select 1")
            took[counting] = (perf_counter_ns() - began) / calls
        found.append((took[True], took[False]))
    return found


def difference(found: list[tuple[float, float]]) -> float:
    return statistics.median(on - off for on, off in found)


def added(found: list[tuple[float, float]]) -> float:
    """Per cent."""
    return 100 * (statistics.median(on / off for on, off in found) - 1)


def alone(pairs: int) -> dict[str, float]:
    async def later() -> float:
        async with AnsweredAsync("host=/nowhere") as pool:
            return difference(await in_turns_async(pool, pool.fetch, 1000, pairs))

    with Answered("host=/nowhere") as pool:
        sync = difference(in_turns(pool, pool.fetch, 1000, pairs))
    return {"a call, Pool.fetch": sync, "a call, AsyncPool.fetch": asyncio.run(later())}


def round_trips(conninfo: str, pairs: int) -> dict[str, float]:
    """By what is called: what is added, and microseconds of a round trip, with it."""
    found: dict[str, list[tuple[float, float]]] = {}
    with Pool(conninfo) as pool:
        for name in ("fetch", "execute"):
            call = getattr(pool, name)
            in_turns(pool, call, CALLS, 4)
            found[f"Pool.{name}"] = in_turns(pool, call, CALLS, pairs)

    async def later() -> None:
        async with AsyncPool(conninfo) as pool:
            for name in ("fetch", "execute"):
                call = getattr(pool, name)
                await in_turns_async(pool, call, CALLS, 4)
                found[f"AsyncPool.{name}"] = await in_turns_async(pool, call, CALLS, pairs)

    asyncio.run(later())
    shares = {f"added to select 1, {name}": added(pairs_of) for name, pairs_of in found.items()}
    times = {
        f"round trip, {name}": statistics.median(on for on, _ in pairs_of) / 1000 for name, pairs_of in found.items()
    }
    return shares | times


def measure(room: Room, options: Options, results: Results) -> None:
    conninfo = room.fresh(EMPTY)
    pairs = 30 if options.quick else PAIRS
    results.forget("instrumentation")
    runs: dict[str, list[float]] = {}
    for _ in range(max(options.runs, 1)):
        for name, value in (alone(pairs) | round_trips(conninfo, pairs)).items():
            runs.setdefault(name, []).append(value)
    for name, values in runs.items():
        unit = "ns" if name.startswith("a call") else "µs" if name.startswith("round trip") else "%"
        value = results.put(f"instrumentation/{name}", values, unit, command=options.command("instrumentation"))
        options.say(f"instrumentation: {name:<44}{value:12.3f} {unit}")
