"""Open-loop HTTP load: ``python -m benchmarks.load port rate seconds connections < paths`` prints a Load as JSON.

Requests arrive at random times (a Poisson process, seeded) whether or not earlier ones were answered. Each takes a
keep-alive connection that is free, or waits for one; its latency counts from the time at which it was due, so a server that
stalls is charged with all who came meanwhile. ``lag`` is how late the generator itself was with those that had a free
connection, ``cpu`` its share of a core: while both are small, it is not what is measured. The first second is not counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import deque
from typing import Any

import msgspec

WARM = 1.0


class Load(msgspec.Struct):
    rate: float  # answers a second
    p50: float
    p95: float
    p99: float
    failed: int  # answers that were not 200, or never came
    lag: float  # p99
    cpu: float
    slowest: dict[str, float]  # p99 by the last part of the path


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.due = 0.0
        self.path = ""
        self.got = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, due: float, path: str) -> None:
        self.due, self.path = due, path
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        got = self.got = self.got + data if self.got else data
        head = got.find(b"\r\n\r\n")
        if head < 0:
            return
        at = got.lower().find(b"content-length:", 0, head)
        length = int(got[at + 15 : got.find(b"\r", at)])
        if len(got) < head + 4 + length:
            return
        self.got = b""
        self.run.answered(self, got[9:12] == b"200")


class Run:
    def __init__(self, paths: list[str], rate: float, seconds: float) -> None:
        rng = random.Random(rate)
        self.loop = asyncio.get_running_loop()
        self.free: deque[Caller] = deque()
        self.waiting: deque[tuple[float, str]] = deque()
        self.failed = 0
        self.took: list[tuple[float, float, str]] = []  # due, latency, path
        self.lags: list[float] = []
        self.done = self.loop.create_future()
        self.arrivals: list[float] = []
        at = 0.0
        while (at := at + rng.expovariate(rate)) < seconds + WARM:
            self.arrivals.append(at)
        self.paths = [paths[i % len(paths)] for i in range(len(self.arrivals))]
        self.next = 0
        self.open = len(self.arrivals)

    def start(self) -> None:
        self.began = time.perf_counter() + 0.01
        self.arrive()

    def arrive(self) -> None:
        now = time.perf_counter() - self.began
        while self.next < len(self.arrivals) and self.arrivals[self.next] <= now:
            due, path = self.arrivals[self.next], self.paths[self.next]
            self.next += 1
            if self.free:
                self.lags.append(now - due)
                self.free.popleft().ask(due, path)
            else:
                self.waiting.append((due, path))
        if self.next < len(self.arrivals):
            self.loop.call_later(max(self.arrivals[self.next] - now, 0.0), self.arrive)

    def answered(self, caller: Caller, good: bool) -> None:
        self.took.append((caller.due, time.perf_counter() - self.began - caller.due, caller.path))
        self.failed += not good
        self.open -= 1
        if self.waiting:
            caller.ask(*self.waiting.popleft())
        else:
            self.free.append(caller)
        if not self.open and not self.done.done():
            self.done.set_result(None)


def at(sorted_values: list[float], q: float) -> float:
    return sorted_values[min(int(q * len(sorted_values)), len(sorted_values) - 1)] if sorted_values else 0.0


async def load(port: int, rate: float, seconds: float, connections: int, paths: list[str]) -> Load:
    run = Run(paths, rate, seconds)
    callers = []
    for _ in range(connections):
        _, caller = await run.loop.create_connection(lambda: Caller(run), "127.0.0.1", port)
        callers.append(caller)
    run.free.extend(callers)
    cpu, clock = time.process_time(), time.perf_counter()
    run.start()
    await asyncio.wait([run.done], timeout=seconds + WARM + 10)
    cpu = (time.process_time() - cpu) / (time.perf_counter() - clock)
    for caller in callers:
        caller.transport.close()
    await asyncio.sleep(0)
    counted = [(took, path) for due, took, path in run.took if due >= WARM]
    took = sorted(took for took, _ in counted)
    by_path: dict[str, list[float]] = {}
    for each, path in counted:
        by_path.setdefault(path.partition("?")[0].rpartition("/")[2], []).append(each)
    ended = max((due + each for due, each, _ in run.took), default=0.0)
    return Load(
        rate=len(counted) / max(ended - WARM, seconds),
        p50=at(took, 0.5),
        p95=at(took, 0.95),
        p99=at(took, 0.99),
        failed=run.failed + run.open,
        lag=at(sorted(run.lags), 0.99),
        cpu=cpu,
        slowest={name: at(sorted(values), 0.99) for name, values in by_path.items()},
    )


def main() -> None:
    port, rate, seconds, connections = sys.argv[1:5]
    paths = sys.stdin.read().split("\n")
    try:
        import uvloop
    except ImportError:
        run = asyncio.run
    else:
        run = uvloop.run
    found = run(load(int(port), float(rate), float(seconds), int(connections), [path for path in paths if path]))
    print(json.dumps(msgspec.to_builtins(found)))


if __name__ == "__main__":
    main()
