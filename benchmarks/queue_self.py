"""How fast one worker process is by itself: ``python -m benchmarks.queue_self [jobs] [async|def ...]``.

No-op handlers, payloads of 200 bytes, jobs that wait already; leases, events, records of done jobs, metrics and the keeper
are on. Prints jobs/s from the worker's start to the end of the last job, and what the server used of its processor for a
job.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue
from mailgenius.servers import valkey
from mailgenius.worker import Worker

PAYLOAD = {"lead": 123456, "text": "x" * 178}


async def measure(url: str, kind: str, jobs: int) -> tuple[float, float]:
    """Jobs a second, and microseconds of the server's processor for each."""
    async with AsyncRedis(url) as redis:
        await redis.call("FLUSHALL")
        queue = AsyncQueue(redis, "self", unsafe=True)
        for _ in range(0, jobs, 10_000):
            await queue.add_many("noop", [PAYLOAD] * min(10_000, jobs))
        worker = Worker(queue)
        done, ended = 0, asyncio.Event()
        loop = asyncio.get_running_loop()

        async def noop(payload: Any) -> None:
            nonlocal done
            done += 1
            if done == jobs:
                ended.set()

        def plain(payload: Any) -> None:
            nonlocal done
            done += 1
            if done == jobs:
                loop.call_soon_threadsafe(ended.set)

        worker.handler("noop")(noop if kind == "async" else plain)
        worker.on("error", lambda error: print(repr(error), file=sys.stderr))
        before = await used(redis)
        began = time.perf_counter()
        running = asyncio.create_task(worker.run())
        await ended.wait()
        took = time.perf_counter() - began
        spent = await used(redis) - before
        worker.stop()
        await running
        return jobs / took, spent / jobs * 1e6


async def used(redis: AsyncRedis) -> float:
    """Seconds of its processor that the server has used."""
    info = dict(line.split(b":", 1) for line in (await redis.call("INFO", "cpu")).splitlines() if b":" in line)
    return float(info[b"used_cpu_sys"]) + float(info[b"used_cpu_user"])


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    kinds = sys.argv[2:] or ["async", "def"]
    found = shutil.which("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(found) if found else None
        with valkey(Path(folder) / "server", port=0, settings={"appendonly": "no"}, program=program) as server:
            for kind in kinds:
                rate, spent = asyncio.run(measure(server.url, kind, jobs))
                print(f"{kind:6} {rate:10,.0f} jobs/s  {spent:6.2f} µs of the server a job", flush=True)


if __name__ == "__main__":
    main()
