"""What only tasks, or only threads, can do to a load under way."""

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from mailgenius.cache import aio, threads
from mailgenius.errors import LoadFailed, LoadTimeout


async def test_a_cancelled_caller_takes_nothing_from_the_others() -> None:
    flights, go, loading, loads = aio.Flights(), asyncio.Event(), asyncio.Event(), 0

    async def load() -> str:
        nonlocal loads
        loads += 1
        loading.set()
        await go.wait()
        return "value"

    first, second, third = (asyncio.create_task(flights.load("key", load)) for _ in range(3))
    await loading.wait()
    first.cancel()
    third.cancel()
    await asyncio.wait([first, third])
    assert first.cancelled()
    assert third.cancelled()
    go.set()
    assert await second == "value"
    assert loads == 1


async def test_a_load_whose_callers_are_all_gone_ends_all_the_same() -> None:
    flights, go, ended = aio.Flights(), asyncio.Event(), asyncio.Event()

    async def load() -> None:
        await go.wait()
        ended.set()

    caller = asyncio.create_task(flights.load("key", load))
    await asyncio.sleep(0)
    caller.cancel()
    go.set()
    await asyncio.wait_for(ended.wait(), 20)
    await asyncio.sleep(0)
    assert len(flights) == 0


async def test_a_cancelled_load_is_an_error_of_its_callers_not_their_cancellation() -> None:
    flights = aio.Flights()

    async def load() -> None:
        raise asyncio.CancelledError

    with pytest.raises(LoadFailed, match="was cancelled"):
        await flights.load("key", load)


async def test_a_load_that_will_not_be_cancelled_keeps_nobody_waiting() -> None:
    flights, go = aio.Flights(), asyncio.Event()

    async def stubborn() -> str:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    async def quick() -> str:
        return "quick"

    with pytest.raises(LoadTimeout):
        await flights.load("key", stubborn, limit=0.01)
    assert await flights.load("key", quick) == "quick"
    go.set()
    await flights.close()


async def test_close_cancels() -> None:
    flights = aio.Flights()
    caller = asyncio.create_task(flights.load("key", asyncio.Event().wait))
    await asyncio.sleep(0)
    await flights.close()
    with pytest.raises(LoadFailed):
        await caller
    assert len(flights) == 0


def test_an_interrupt_is_for_its_own_thread() -> None:
    flights, go, said = threads.Flights(), threading.Event(), []

    def load() -> None:
        go.wait(20)
        raise KeyboardInterrupt

    def call() -> None:
        try:
            flights.load("key", load)
        except BaseException as error:
            said.append(type(error))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    while not flights._waiting:
        pass
    go.set()
    for caller in callers:
        caller.join()
    assert sorted(said, key=lambda kind: kind.__name__) == [KeyboardInterrupt, LoadFailed]
    assert len(flights) == 0


def test_an_error_that_nobody_else_waits_for_leaves_nothing_behind() -> None:
    class Large:
        pass

    flights = threads.Flights()
    watched: list[weakref.ref[Any]] = []

    def load() -> None:
        large = Large()
        watched.append(weakref.ref(large))
        raise ValueError

    gc.disable()
    try:
        with pytest.raises(ValueError):  # noqa: PT011
            flights.load("key", load)
        assert watched[0]() is None
    finally:
        gc.enable()
