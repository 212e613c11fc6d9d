"""Processes that work on a queue until they are killed.

``python -m tests.faults.queue_child worker URL JOURNAL [key=value …]``. A worker notes each job that ends in its journal, a
file that outlives it, Redis and the network (NOTE: the number that was its payload, attempts and stalls before, the
worker's process). A producer adds batches, and notes those that were confirmed (its NOTEs have the number of the batch).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import struct
import sys
import time
from pathlib import Path

from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue, AsyncShardedQueue, Backoff, Policy
from mailgenius.rt import aio as rt
from mailgenius.worker import Job, Worker

NOTE = struct.Struct("<IBBxxI")
QUEUE = "jobs"
LEASE = 1.5  # seconds
BATCH = 6_000  # jobs of a producer's batch: three calls
#: Whoever dies is at fault, never the job: it may be with as many workers that die as there are.
POLICY = Policy(lease=LEASE, attempts=3, backoff=Backoff("fixed", 0.01, jitter=0), max_stalled=200, keep_failed=-1)


class Journal:
    """Records that are appended whole, whatever happens to who appends them."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, number: int, job: Job | None = None) -> None:
        attempts, stalls = (0, 0) if job is None else (job.attempts, job.stalls)
        os.write(self._file, NOTE.pack(number, attempts, stalls, os.getpid()))


async def waits(seconds: float) -> None:
    """As a job does for a provider's answer."""
    await rt.wait(rt.Event(), seconds)


def hold_the_interpreter(seconds: float) -> None:
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def handlers(worker: Worker, journal: Journal, keys: Path) -> None:
    """Of all kinds. The name of a job says what it does."""

    @worker.handler("note")
    async def note(number: int, job: Job) -> None:
        if number % 10 == 0:
            await waits(0.001 * (number % 7))
        journal.note(number, job)

    @worker.handler("plain", concurrency=4)
    def plain(number: int, job: Job) -> None:
        journal.note(number, job)

    @worker.handler("slow")
    async def slow(number: int, job: Job) -> None:
        await waits(0.05)
        journal.note(number, job)

    @worker.handler("once")
    async def once(number: int, job: Job) -> None:
        """What it does is done once for each key, as with a provider that knows Idempotency-Key."""
        await waits(0.001)
        try:
            os.close(os.open(keys / str(number), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        journal.note(number, job)

    @worker.handler("hold", concurrency=1)
    def hold(number: int, job: Job) -> None:
        hold_the_interpreter(3 * LEASE)
        journal.note(number, job)

    @worker.handler("poison", concurrency=1)
    async def poison(number: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def queue_of(
    redis: AsyncRedis, flags: dict[str, str], policy: Policy, timeout: float = 5.0
) -> AsyncQueue | AsyncShardedQueue:
    """``shards=3``: of so many."""
    if "shards" not in flags:
        return AsyncQueue(redis, QUEUE, policy=policy, timeout=timeout)
    return AsyncShardedQueue(redis, QUEUE, shards=int(flags["shards"]), policy=policy, timeout=timeout)


async def work(url: str, path: str, flags: dict[str, str]) -> None:
    async with AsyncRedis(url) as redis:
        stalls = int(flags.get("stalls", POLICY.max_stalled))
        policy = Policy(**{name: getattr(POLICY, name) for name in POLICY.__struct_fields__} | {"max_stalled": stalls})
        queue = queue_of(redis, flags, policy)
        worker = Worker(
            queue, unsafe="unsafe" in flags, keeper="alone" not in flags, grace=float(flags.get("grace", 20))
        )
        handlers(worker, Journal(path), Path(path + ".keys"))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        worker.on("error", lambda error: print(os.getpid(), repr(error), file=sys.stderr, flush=True))
        await worker.run()


async def produce(url: str, path: str, flags: dict[str, str]) -> None:
    """The same batch under the same name, however often it was begun before."""
    batch = int(flags["batch"])
    async with AsyncRedis(url) as redis:
        queue = queue_of(redis, flags, POLICY, timeout=30)
        await queue.add_many("note", range(batch * BATCH, (batch + 1) * BATCH), batch=f"batch-{batch}")
    Journal(path).note(batch)


async def produce_singly(url: str, path: str, flags: dict[str, str]) -> None:
    """Numbers from ``first``, each noted once it was confirmed."""
    number, journal = int(flags["first"]), Journal(path)
    async with AsyncRedis(url) as redis:
        queue = queue_of(redis, flags, POLICY, timeout=30)

        async def add(number: int) -> None:
            while True:
                await queue.add("note", number)
                journal.note(number)
                number += 8

        await asyncio.gather(*(add(number + i) for i in range(8)))


def shift_the_clock(by: float, jumps: bool) -> None:
    """From now on this process reads another time of day; ``jumps``: another one each time."""
    true, turn = time.time, [1.0]

    def false() -> float:
        if jumps:
            turn[0] = -turn[0]
        return true() + by * turn[0]

    time.time = false


if __name__ == "__main__":
    kind, url, path, *words = sys.argv[1:]
    flags = dict(word.split("=") for word in words)
    if "clock" in flags:
        shift_the_clock(float(flags["clock"]), "jumps" in flags)
    asyncio.run({"worker": work, "producer": produce, "singly": produce_singly}[kind](url, path, flags))
