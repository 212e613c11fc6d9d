"""asyncio's half: see the package."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

__all__ = ["LINGER", "Awaits", "Event", "Lock", "Spawned", "sleep", "spawn"]

#: How often something that looks again and again may find nothing before it ends: a task is cheap to start, a thread not.
LINGER = 0

_T = TypeVar("_T")
Awaits: TypeAlias = Awaitable[_T]  # what an async function gives
Lock = asyncio.Lock
Event = asyncio.Event
sleep = asyncio.sleep


class Spawned:
    """Something that runs beside its caller. Its error, if any, comes out of ``join``."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task

    @property
    def running(self) -> bool:
        return not self._task.done()

    async def join(self) -> Any:
        """Waits for its end; its result."""
        return await self._task


def spawn(do: Callable[..., Awaitable[Any]], *args: Any) -> Spawned:
    """Starts ``do(*args)``. It does not keep the program from ending."""

    async def run() -> Any:
        return await do(*args)

    return Spawned(asyncio.get_running_loop().create_task(run()))
