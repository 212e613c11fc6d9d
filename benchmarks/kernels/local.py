"""LocalStore: nanoseconds for a hit, a store and an invalidation, beside dict and the local caches of rivals, if installed.

    python -m benchmarks.kernels.local

One value of 10,000 keys a call, from Python, one thread. Each figure is the least of several rounds, which other users of
the machine disturb the least; the loop itself is measured and taken off. Rivals are as their documentation shows them:
cachetools' TTLCache, cachebox's TTLCache, redis-py's DefaultCache, cashews' memory backend (which is asynchronous: an await
that never waits). None of them but cachebox does more than ours: no sizes in bytes, no tags, no stale values.
"""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mailgenius._native import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = [f"lead:{i:06}" for i in range(10_000)]
ROUNDS = 15
MILLION = 1_000_000


def each(call: Callable[[Any], object], values: list[Any], rounds: int = ROUNDS) -> float:
    """Nanoseconds a call."""
    best = empty = float("inf")
    for _ in range(rounds):
        began = time.perf_counter_ns()
        for value in values:  # noqa: B007
            pass
        middle = time.perf_counter_ns()
        for value in values:
            call(value)
        ended = time.perf_counter_ns()
        empty = min(empty, middle - began)
        best = min(best, ended - middle)
    return (best - empty) / len(values)


def ours() -> dict[str, float]:
    store = LocalStore(1 << 30)
    for key in KEYS:
        store.put(key, key, 200, 3600)
    figures = {
        "hit, ns": each(store.get, KEYS),
        "look, ns": each(store.look, KEYS),
        "put, ns": each(lambda key: store.put(key, key, 200, 3600), KEYS),
    }
    del store
    store = LocalStore(1 << 30)
    for i in range(MILLION):
        store.put(f"{i}", i, 0, 3600)
    middle = [f"{i}".encode() for i in range(500_000, 510_000)]
    figures["invalidation among a million, ns"] = each(store.pop, middle, 1)
    began = time.perf_counter_ns()
    store.clear()
    figures["clear of a million, ns"] = time.perf_counter_ns() - began
    figures["put while they are let go, ns"] = each(lambda key: store.put(key, key, 200, 3600), KEYS, 1)
    return figures


def rivals() -> dict[str, float]:
    plain = {key: key for key in KEYS}
    figures = {"hit, ns, dict": each(plain.get, KEYS)}
    if find_spec("cachetools"):
        from cachetools import TTLCache

        tools = TTLCache(1 << 20, ttl=3600)
        tools.update(plain)
        figures["hit, ns, cachetools"] = each(tools.get, KEYS)
    if find_spec("cachebox"):
        import cachebox

        box: Any = cachebox.TTLCache(1 << 20, 3600)
        box.update(plain)
        figures["hit, ns, cachebox"] = each(box.get, KEYS)
    if find_spec("redis"):
        from redis.cache import CacheConfig, CacheEntry, CacheEntryStatus, CacheFactory, CacheKey

        cache = CacheFactory(CacheConfig(max_size=1 << 20)).get_cache()
        asked = [CacheKey(command="GET", redis_keys=(key,), redis_args=("GET", key)) for key in KEYS]
        for key in asked:
            cache.set(CacheEntry(key, b"value", CacheEntryStatus.VALID, None))  # type: ignore[arg-type]
        figures["hit, ns, redis-py"] = each(cache.get, asked, 3)
        figures["invalidation among 10,000, ns, redis-py"] = each(
            cache.delete_by_redis_keys, [[key.encode()] for key in KEYS[:20]], 1
        )
    if find_spec("cashews"):
        figures["hit, ns, cashews"] = asyncio.run(cashews())
    return figures


async def cashews() -> float:
    from cashews.backends.memory import Memory

    memory = Memory(size=1 << 20)
    for key in KEYS:
        await memory.set(key, key, expire=3600)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter_ns()
        for key in KEYS:
            await memory.get(key)
        best = min(best, time.perf_counter_ns() - began)
    await memory.close()
    return best / len(KEYS)


def measure() -> dict[str, float]:
    return ours() | rivals()


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:<44}{value:12,.1f}")
