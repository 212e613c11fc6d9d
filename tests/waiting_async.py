"""Waiting for what is expected, up to a deadline."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from mailgenius import AsyncCache
from mailgenius.rt import aio as rt

__all__ = ["coherent", "until"]


async def until(holds: Callable[[], rt.Awaits[bool]], seconds: float = 10.0) -> None:
    """Until it holds."""
    end = monotonic() + seconds
    while not await holds():
        assert monotonic() < end, "it did not come about"
        await rt.wait(rt.Event(), 0.001)


async def coherent(cache: AsyncCache) -> None:
    """Until the server tells it of changes in all its regions."""

    async def told() -> bool:
        return cache.coherent and all(shared.coherent for shared in cache._regions.values())

    await until(told)
