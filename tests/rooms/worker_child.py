"""A worker in a process of its own, that can be killed: ``python -m tests.rooms.worker_child URL QUEUE JOURNAL``, and
perhaps ``no-keeper`` or ``shards=3``.

Each job that ends appends its payload to the journal, one line. The name of a job says what it does.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue, AsyncShardedQueue, Policy
from mailgenius.rt import aio as rt
from mailgenius.worker import Job, Worker
from tests.waiting_async import until

LEASE = 1.5  # seconds


def journal(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, text.encode() + b"\n")
    os.close(fd)


async def there(path: Path) -> None:
    """Until it exists."""

    async def found() -> bool:
        return os.path.exists(path)  # noqa: PTH110, ASYNC240 - a look at a folder in memory

    await until(found, 60)


async def main(url: str, name: str, path: str, *flags: str) -> None:
    async with AsyncRedis(url) as redis:
        policy = Policy(lease=LEASE, attempts=2)
        queue: AsyncQueue | AsyncShardedQueue = AsyncQueue(redis, name, policy=policy, unsafe=True)
        for flag in flags:
            if flag.startswith("shards="):
                shards = int(flag.partition("=")[2])
                queue = AsyncShardedQueue(redis, name, shards=shards, policy=policy, unsafe=True)
        worker = Worker(queue, unsafe=True, keeper="no-keeper" not in flags, concurrency=4)

        @worker.handler("note")
        async def note(payload: Any) -> None:
            journal(path, f"did {payload}")

        @worker.handler("hang")
        async def hang(payload: Any) -> None:
            journal(path, f"began {payload}")
            await rt.wait(rt.Event(), 3600)

        @worker.handler("until", concurrency=2)
        async def wait(payload: str, job: Job) -> None:
            journal(path, f"began {job.id}")
            await there(Path(payload))
            journal(path, f"did {job.id}")

        @worker.handler("die", concurrency=1)
        async def die(payload: Any) -> None:
            journal(path, f"began {payload}")
            os.kill(os.getpid(), signal.SIGKILL)

        @worker.handler("hold", concurrency=1)
        def hold(payload: float) -> None:
            """Keeps the interpreter for itself."""
            journal(path, f"began {payload}")
            ctypes.PyDLL(None).usleep(int(payload * 1e6))
            journal(path, f"held {payload}")

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, worker.stop)
        worker.on("error", lambda error: print(repr(error), file=sys.stderr, flush=True))
        worker.on("lost", lambda ids: journal(path, f"lost {len(ids)}"))
        await worker.run()
        journal(path, "ended")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
