"""Runs one contender in a process of its own:

    python -m benchmarks.peers.queues._drive MODULE add URL HOW FIRST COUNT     prints what it took as JSON
    python -m benchmarks.peers.queues._drive MODULE work URL FILE EACH          works until it is killed

HOW: ``one`` by one, ``crowd`` (100 at once), ``many`` (its own bulk call), ``drip`` (one by one, 10 to 30 ms apart: the
times are printed). FILE is appended to: when (float64, monotonic), how many (uint32), the numbers of the jobs handled since
(uint32 each); with EACH 1 at once for each job, else every 20 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import random
import signal
import struct
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

CALLERS = 100
TICK = 0.02  # seconds


def recorder(path: str, each: bool) -> Callable[[], Callable[[int], None]]:
    def record() -> Callable[[int], None]:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if each:
            return lambda n: void(os.write(file, struct.pack("<dII", monotonic(), 1, n)))
        numbers: list[int] = []

        def write() -> None:
            at, pause = 0, threading.Event()
            while not pause.wait(TICK):
                if (end := len(numbers)) > at:
                    os.write(file, struct.pack("<dI", monotonic(), end - at) + array("I", numbers[at:end]).tobytes())
                    at = end

        threading.Thread(target=write, daemon=True).start()
        return numbers.append

    return record


def void(_: object) -> None:
    pass


def pauses(count: int) -> Iterator[float]:
    chance = random.Random(1)
    for _ in range(count):
        yield chance.uniform(0.01, 0.03)


async def add_async(context: Any, how: str, numbers: range) -> dict[str, Any]:
    async with context as producer:
        await producer.add(numbers[0])  # connected, scripts loaded
        times: list[float] = []
        began = monotonic()
        if how == "one":
            for n in numbers[1:]:
                await producer.add(n)
        elif how == "crowd":
            rest = iter(numbers[1:])

            async def caller() -> None:
                for n in rest:
                    await producer.add(n)

            await asyncio.gather(*(caller() for _ in range(CALLERS)))
        elif how == "many":
            await producer.add_many(numbers[1:])
        else:
            loop = asyncio.get_running_loop()
            for n, pause in zip(numbers[1:], pauses(len(numbers)), strict=False):
                waited = loop.create_future()
                loop.call_later(pause, waited.set_result, None)
                await waited
                times.append(monotonic())
                await producer.add(n)
        return {"seconds": monotonic() - began, "times": times}


def add_blocking(context: Any, how: str, numbers: range) -> dict[str, Any]:
    with context as producer:
        producer.add(numbers[0])
        times: list[float] = []
        began = monotonic()
        if how == "one":
            for n in numbers[1:]:
                producer.add(n)
        elif how == "crowd":
            with ThreadPoolExecutor(CALLERS) as threads:
                list(threads.map(producer.add, numbers[1:]))
        elif how == "many":
            producer.add_many(numbers[1:])
        else:
            waiting = threading.Event()
            for n, pause in zip(numbers[1:], pauses(len(numbers)), strict=False):
                waiting.wait(pause)
                times.append(monotonic())
                producer.add(n)
        return {"seconds": monotonic() - began, "times": times}


def end_with_parent() -> None:
    """Whoever started this holds the other end of its standard input."""

    def watch() -> None:
        os.read(0, 1)  # not by sys.stdin, whose lock a fork would copy
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main(name: str, role: str, url: str, *rest: str) -> None:
    module = importlib.import_module(f"{__package__}.{name}")
    if role == "work":
        end_with_parent()
        module.work(url, recorder(rest[0], rest[1] == "1"))
        return
    how, first, count = rest[0], int(rest[1]), int(rest[2])
    context, numbers = module.producer(url), range(first, first + count)
    if hasattr(context, "__aenter__"):
        found = asyncio.run(add_async(context, how, numbers))
    else:
        found = add_blocking(context, how, numbers)
    print(json.dumps(found))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
