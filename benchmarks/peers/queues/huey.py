"""huey: 8 threads, results not kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from huey import RedisHuey

from . import Producer, Record, payload

_handled: list[Callable[[int], None]] = []


def _task(url: str) -> tuple[Any, Any]:
    huey = RedisHuey("bench", url=url, results=False)

    @huey.task(name="noop")
    def noop(job: dict[str, Any]) -> None:
        _handled[0](job["n"])

    return huey, noop


@contextlib.contextmanager
def producer(url: str) -> Iterator[Producer]:
    _, noop = _task(url)
    yield Producer(lambda n: noop(payload(n)))


def work(url: str, record: Record) -> None:
    _handled.append(record())
    huey, _ = _task(url)
    huey.create_consumer(workers=8).run()
