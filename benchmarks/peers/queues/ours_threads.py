"""mailgenius: Queue, and a worker with a plain handler, in threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from mailgenius import Redis
from mailgenius.queue import Queue
from mailgenius.worker import Worker

from . import Producer, Record, payload


@contextlib.contextmanager
def producer(url: str) -> Iterator[Producer]:
    with Redis(url) as redis:
        queue = Queue(redis, "bench")

        def many(numbers: Iterable[int]) -> None:
            queue.add_many("noop", map(payload, numbers))

        yield Producer(lambda n: queue.add("noop", payload(n)), many)


def work(url: str, record: Record) -> None:
    handled = record()
    worker = Worker("bench", url=url)

    @worker.handler("noop")
    def noop(job: dict[str, Any]) -> None:
        handled(job["n"])

    worker.main()
