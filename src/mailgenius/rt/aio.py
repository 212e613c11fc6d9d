"""asyncio's half: see the package."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

from mailgenius._native import Reply, deliver

__all__ = [
    "LINGER",
    "Awaits",
    "Event",
    "Lock",
    "Opening",
    "Spawned",
    "Together",
    "blocking",
    "limit",
    "opening",
    "sleep",
    "spawn",
    "together",
    "wait",
]

#: How often something that looks again and again may find nothing before it ends: a task is cheap to start, a thread not.
LINGER = 0

_T = TypeVar("_T")
_Opened = TypeVar("_Opened", bound=AbstractAsyncContextManager[Any])
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


_running: set[asyncio.Task[Any]] = set()  # the event loop itself does not keep them


def spawn(do: Callable[..., Awaitable[Any]], *args: Any) -> Spawned:
    """Starts ``do(*args)``. It does not keep the program from ending."""

    async def run() -> Any:
        return await do(*args)

    task = asyncio.get_running_loop().create_task(run())
    _running.add(task)
    task.add_done_callback(_running.discard)
    return Spawned(task)


async def together(calls: Sequence[Callable[[], Awaitable[_T]]]) -> list[_T | Exception]:
    """What all of them give, or the error of each, begun at once."""
    begun: list[asyncio.Future[_T] | Exception] = []
    found: list[_T | Exception] = []
    for call in calls:
        try:
            begun.append(asyncio.ensure_future(call()))
        except Exception as error:
            begun.append(error)
    try:
        for one in begun:
            try:
                found.append(one if isinstance(one, Exception) else await one)
            except Exception as error:
                found.append(error)
    finally:
        for one in begun[len(found) :]:  # the caller was cancelled
            if isinstance(one, asyncio.Future):
                one.cancel()
    return found


class Together(Generic[_T]):
    """Requests of one turn of the loop go together: ``send(items)`` gets up to ``most`` of them, in order, and gives as
    many replies. Its error is everybody's."""

    def __init__(self, send: Callable[[list[Any]], Awaitable[list[_T]]], most: int) -> None:
        self._send, self._most = send, most
        self._items: list[Any] = []
        self._replies: list[Reply[_T]] = []  # to each item
        self._sending: set[asyncio.Task[None]] = set()
        self._alone = False

    def __call__(self, item: Any) -> Awaitable[_T]:
        """The reply to ``item``, when awaited. Who is cancelled takes nothing from the others."""
        items = self._items
        if not (items or self._sending or self._alone):
            return self._at_once(item)
        loop = asyncio.get_running_loop()
        if not items:
            loop.call_soon(self._go, loop)
        reply: Reply[_T] = Reply(loop)
        items.append(item)
        self._replies.append(reply)
        return reply

    async def _at_once(self, item: Any) -> _T:
        """For one who comes alone: without a task, and without waiting for others."""
        self._alone = True
        try:
            return (await self._send([item]))[0]
        finally:
            self._alone = False

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        items, self._items = self._items, []
        replies, self._replies = self._replies, []
        for at in range(0, len(items), self._most):
            until = at + self._most
            task = loop.create_task(self._carry(items[at:until], replies[at:until]))
            self._sending.add(task)  # the loop itself would forget it
            task.add_done_callback(self._sending.discard)

    async def _carry(self, items: list[Any], replies: list[Reply[_T]]) -> None:
        try:
            values = await self._send(items)
        except BaseException as error:
            for reply in replies:
                if isinstance(error, Exception):
                    reply.fail(error)
                else:
                    reply.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            asyncio.get_running_loop().call_soon(deliver, replies, values)


async def wait(event: Event, seconds: float) -> bool:
    """Until it is set, ``seconds`` at most; whether it was."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def limit(seconds: float) -> AbstractAsyncContextManager[Any]:
    """``async with``: what is in the block may take that long; then TimeoutError."""
    return asyncio.timeout(seconds)


async def blocking(do: Callable[..., _T], *args: Any) -> _T:
    """``do(*args)``, which waits in its own way, in a thread. A cancelled caller waits for its end all the same, so that
    he can undo what it did."""
    task = asyncio.get_running_loop().create_task(asyncio.to_thread(do, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: the cancellation is what the caller hears of
        raise


class Opening(Generic[_Opened]):
    """What is open once it was awaited; in ``async with``, until the end of the block."""

    def __init__(self, do: Callable[..., Awaitable[_Opened]], args: tuple[Any, ...]) -> None:
        self._do, self._args = do, args
        self._made: _Opened | None = None

    async def _open(self) -> _Opened:
        return await self._do(*self._args)

    def __await__(self) -> Generator[Any, None, _Opened]:
        return self._open().__await__()

    async def __aenter__(self) -> _Opened:
        self._made = await self._open()
        return self._made

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._made is not None:
            await self._made.__aexit__(kind, error, trace)


def opening(do: Callable[..., Awaitable[_Opened]], *args: Any) -> Opening[_Opened]:
    """``do(*args)`` opens something, which takes time: when it is awaited, here; at once, in threads."""
    return Opening(do, args)
