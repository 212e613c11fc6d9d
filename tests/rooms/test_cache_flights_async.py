"""One load for each key, whoever asks, leaves, fails or waits too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from mailgenius.cache.aio import Flights, StillLoading
from mailgenius.errors import LoadFailed, LoadTimeout
from mailgenius.rt import aio as rt


class Loader:
    """Counts its loads; each waits until it is let go."""

    def __init__(self, given: Any = "value") -> None:
        self.given = given
        self.loads = 0
        self.go = rt.Event()

    async def __call__(self) -> Any:
        self.loads += 1
        await rt.wait(self.go, 20)
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given


async def nothing() -> None:
    pass


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        await rt.spawn(nothing).join()


def waiting(flights: Flights) -> int:
    return len(flights._waiting)


async def test_one_load_for_all() -> None:
    flights, load = Flights(), Loader()
    callers = [rt.spawn(flights.load, "key", load) for _ in range(50)]
    await until(lambda: load.loads == 1 and waiting(flights) >= 49)
    load.go.set()
    assert [await caller.join() for caller in callers] == ["value"] * 50
    assert load.loads == 1
    assert len(flights) == waiting(flights) == 0
    assert await flights.load("key", load) == "value"
    assert load.loads == 2


async def test_keys_do_not_wait_for_one_another() -> None:
    flights, slow, quick = Flights(), Loader(), Loader()
    quick.go.set()
    caller = rt.spawn(flights.load, "slow", slow)
    assert await flights.load("quick", quick) == "value"
    assert caller.running
    slow.go.set()
    await caller.join()


async def test_a_failure_reaches_all_and_the_next_begins_anew() -> None:
    flights, load = Flights(), Loader(ConnectionError("down"))
    callers = [rt.spawn(flights.load, "key", load) for _ in range(5)]
    await until(lambda: waiting(flights) >= 4)
    load.go.set()
    for caller in callers:
        with pytest.raises(ConnectionError, match="down"):
            await caller.join()
    assert load.loads == 1
    load.given = "up"
    assert await flights.load("key", load) == "up"
    assert len(flights) == waiting(flights) == 0


async def test_who_does_not_want_to_wait_leaves_the_load_to_the_others() -> None:
    flights, load = Flights(), Loader()
    patient = rt.spawn(flights.load, "key", load)
    await until(lambda: load.loads == 1)
    with pytest.raises(StillLoading):
        await flights.load("key", load, wait=0.01)
    load.go.set()
    assert await patient.join() == "value"
    assert load.loads == 1


async def test_the_first_may_leave_too() -> None:
    flights, load = Flights(), Loader()
    with pytest.raises(StillLoading):
        await flights.load("key", load, wait=0.01)
    other = rt.spawn(flights.load, "key", load)
    await until(lambda: waiting(flights) == 1)
    load.go.set()
    assert await other.join() == "value"
    assert load.loads == 1


async def test_a_load_that_takes_too_long() -> None:
    flights, load = Flights(), Loader()
    callers = [rt.spawn(lambda: flights.load("key", load, limit=1.0)) for _ in range(3)]
    for caller in callers:
        with pytest.raises(LoadTimeout):
            await caller.join()
    assert load.loads == 1
    assert len(flights) == 0
    other = Loader("other")
    other.go.set()
    assert await flights.load("key", other, limit=20) == "other"
    load.go.set()
    await flights.close()


async def test_a_load_that_nobody_waits_for() -> None:
    flights, load = Flights(), Loader(ValueError("nobody's"))
    assert flights.start("key", load)
    assert not flights.start("key", load)
    await until(lambda: load.loads == 1)
    load.go.set()
    await until(lambda: len(flights) == 0)
    assert load.loads == 1


async def test_who_comes_later_joins_a_load_that_nobody_waits_for() -> None:
    flights, load = Flights(), Loader()
    flights.start("key", load)
    caller = rt.spawn(flights.load, "key", load)
    await until(lambda: waiting(flights) == 1)
    load.go.set()
    assert await caller.join() == "value"
    assert load.loads == 1


async def test_a_load_that_asks_for_itself() -> None:
    flights = Flights()

    async def load() -> Any:
        return await flights.load("key", load)

    with pytest.raises(LoadFailed, match="wait for one another"):
        await flights.load("key", load)
    assert len(flights) == waiting(flights) == 0


async def test_loads_that_ask_for_one_another() -> None:
    flights = Flights()
    both = {"a": rt.Event(), "b": rt.Event()}

    def loads(key: str, other: str) -> Any:
        async def load() -> Any:
            both[key].set()
            await rt.wait(both[other], 20)
            return await flights.load(other, loads(other, key))

        return load

    callers = [rt.spawn(flights.load, "a", loads("a", "b")), rt.spawn(flights.load, "b", loads("b", "a"))]
    for caller in callers:
        with pytest.raises(LoadFailed, match="wait for one another"):
            await caller.join()
    assert len(flights) == waiting(flights) == 0


async def test_a_load_may_need_another_key() -> None:
    flights, inner = Flights(), Loader(1)
    inner.go.set()

    async def outer() -> int:
        return 1 + await flights.load("inner", inner)

    assert await flights.load("outer", outer) == 2
