"""Job queues on Redis, each as its own guide sets it up for production, each in processes of its own (``_drive``).

A module has ``producer(url)``, a context (async or not) that gives a ``Producer``, and ``work(url, record)``, which works
until the process is killed. ``record()``, called in the process that runs the handlers, gives what a handler calls with the
number of its job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import msgspec

__all__ = ["BULL", "BULLMQ", "OURS", "OURS_THREADS", "RIVALS", "TEXT", "Producer", "Record", "Way", "payload"]

Record: TypeAlias = Callable[[], Callable[[int], None]]
TEXT = "x" * 187  # with a number, 200 bytes as MessagePack


class Producer(msgspec.Struct):
    """How a rival adds one job, and how many at once, if it can; both take numbers of jobs."""

    add: Callable[[int], Awaitable[Any] | Any]
    add_many: Callable[[Iterable[int]], Awaitable[Any] | Any] | None = None


class Way(msgspec.Struct, frozen=True):
    """A contender. ``jobs``: how many a run has: so many that it takes a few seconds."""

    name: str
    module: str  # of this package; node: what peers/node/queue.js calls it
    package: str
    jobs: int
    node: bool = False
    setup: str = ""
    bulk: bool = False  # it can add many at once
    each: bool = False  # its processes are too short-lived to write what they did now and then


def payload(n: int) -> dict[str, Any]:
    return {"n": n, "text": TEXT}


OURS = Way("mailgenius", "ours", "", 1_000_000, setup="async handler", bulk=True)
OURS_THREADS = Way("mailgenius, plain def", "ours_threads", "", 1_000_000, setup="handler in threads", bulk=True)
BULL = Way("Bull", "bull", "bull", 20_000, True, "concurrency 100, the last 100 done jobs kept", bulk=True)
BULLMQ = Way("BullMQ", "bullmq", "bullmq", 20_000, True, "concurrency 100, the last 100 done jobs kept", bulk=True)
RIVALS = [
    BULL,
    BULLMQ,
    Way("Celery", "celery", "celery", 2_500, setup="8 threads, acks_late, prefetch 64, no results"),
    Way("RQ", "rq", "rq", 1_000, setup="a fork for each job, as it does by default", bulk=True, each=True),
    Way("arq", "arq", "arq", 4_000, setup="100 at once, polls each 10 ms, no results"),
    Way("SAQ", "saq", "saq", 4_000, setup="100 at once"),
    Way("dramatiq", "dramatiq", "dramatiq", 10_000, setup="8 threads"),
    Way("taskiq", "taskiq", "taskiq-redis", 10_000, setup="Redis stream, 100 at once, no results"),
    Way("streaq", "streaq", "streaq", 2_500, setup="100 at once", bulk=True),
    Way("huey", "huey", "huey", 5_000, setup="8 threads, no results"),
]
