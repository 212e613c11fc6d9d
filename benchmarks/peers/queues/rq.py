"""RQ: its ordinary worker, which forks for each job."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import redis
from rq import Queue, Worker

from . import Producer, Record, payload

_handled: list[Callable[[int], None]] = []


def noop(job: dict[str, Any]) -> None:
    _handled[0](job["n"])


@contextlib.contextmanager
def producer(url: str) -> Iterator[Producer]:
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        queue = Queue("bench", connection=client)

        def many(numbers: Iterable[int]) -> None:
            numbers = list(numbers)
            for at in range(0, len(numbers), 1000):
                part = numbers[at : at + 1000]
                queue.enqueue_many([Queue.prepare_data(noop, (payload(n),)) for n in part])

        yield Producer(lambda n: queue.enqueue(noop, payload(n)), many)


def work(url: str, record: Record) -> None:
    _handled.append(record())
    client = redis.Redis.from_url(url)
    Worker([Queue("bench", connection=client)], connection=client).work(logging_level="ERROR")
