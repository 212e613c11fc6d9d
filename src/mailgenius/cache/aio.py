"""One load for each key, however many tasks ask for it (asyncio); ``threads`` has the same names.

Invariants:
- While a load of a key is under way in this ``Flights``, nobody begins another.
- A load is a task of its own: a caller who is cancelled, or does not want to wait any longer, takes nothing from the
  others, and what nobody waits for any more still comes to its end and can be stored.
- What a load gives or raises reaches all who wait; then it is forgotten, so that the next caller begins anew.

A ``Flights`` belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from mailgenius.errors import LoadFailed, LoadTimeout

__all__ = ["Flights", "StillLoading"]

_T = TypeVar("_T")


class StillLoading(Exception):
    """The caller did not want to wait any longer; the load goes on."""


class Flight:
    """A load under way, and who waits for it."""

    __slots__ = ("limit", "task", "waiters")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.waiters: list[asyncio.Future[Any]] = []
        self.limit: asyncio.TimerHandle | None = None

    def tell(self, result: Any, error: BaseException | None) -> None:
        for waiter in self.waiters:
            if waiter.done():  # cancelled, or impatient
                continue
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(result)


class Flights:
    """Loads under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}
        self._late: set[asyncio.Task[Any]] = set()  # cancelled by their limit, and not yet ended
        self._waiting: dict[asyncio.Task[Any] | None, Flight] = {}  # what a task waits for

    def __len__(self) -> int:
        return len(self._flights)

    async def load(
        self, key: Hashable, do: Callable[[], Awaitable[_T]], *, wait: float | None = None, limit: float | None = None
    ) -> _T:
        """What ``do`` gives, or what the load gives that is under way.

        ``wait``: seconds that this caller waits before ``StillLoading``; the load goes on. ``limit``: seconds that a load
        which begins now may take; then it is cancelled, and all who wait get ``LoadTimeout``. ``LoadFailed``: somebody else
        cancelled it, or loads wait for one another.
        """
        caller = asyncio.current_task()
        flight = self._flights.get(key)
        if flight is None:
            flight = self._begin(key, do, limit)
        else:
            self._check(caller, flight)
        waiter: asyncio.Future[_T] = flight.task.get_loop().create_future()
        flight.waiters.append(waiter)
        timer = None if wait is None else waiter.get_loop().call_later(wait, _impatient, waiter)
        self._waiting[caller] = flight
        try:
            return await waiter
        finally:
            del self._waiting[caller]
            if timer is not None:
                timer.cancel()
            del flight, waiter  # they hold the error, whose traceback holds this frame

    def start(self, key: Hashable, do: Callable[[], Awaitable[Any]], *, limit: float | None = None) -> bool:
        """Begins a load that nobody waits for; its error is nobody's. False: one is under way."""
        if key in self._flights:
            return False
        self._begin(key, do, limit)
        return True

    async def close(self) -> None:
        """Cancels all loads, and waits for their end."""
        tasks = {flight.task for flight in self._flights.values()} | self._late
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, key: Hashable, do: Callable[[], Awaitable[Any]], limit: float | None) -> Flight:
        loop = asyncio.get_running_loop()
        task = loop.create_task(_result(do))
        flight = self._flights[key] = Flight(task)
        if limit is not None:
            flight.limit = loop.call_later(limit, self._over, key, flight)
        task.add_done_callback(lambda _: self._landed(key, flight))
        return flight

    def _landed(self, key: Hashable, flight: Flight) -> None:
        task = flight.task
        error = LoadFailed("The load was cancelled.") if task.cancelled() else task.exception()
        if self._flights.get(key) is flight:
            del self._flights[key]
            if flight.limit is not None:
                flight.limit.cancel()
            flight.tell(None if error is not None else task.result(), error)
        else:
            self._late.discard(task)

    def _over(self, key: Hashable, flight: Flight) -> None:
        if flight.task.done():  # it lands in this very turn
            return
        del self._flights[key]
        self._late.add(flight.task)
        flight.task.cancel()
        flight.tell(None, LoadTimeout("The load took longer than its hard timeout, and was cancelled."))

    def _check(self, caller: asyncio.Task[Any] | None, flight: Flight) -> None:
        """Refuses to wait for what waits for the caller."""
        after: Flight | None = flight
        while after is not None:
            if after.task is caller:
                raise LoadFailed("Loads wait for one another: a load asks for a key whose load needs its own.")
            after = self._waiting.get(after.task)


async def _result(do: Callable[[], Awaitable[_T]]) -> _T:
    return await do()


def _impatient(waiter: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_exception(StillLoading())
