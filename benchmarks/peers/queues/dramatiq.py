"""dramatiq: 8 threads, its default."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from . import Producer, Record, payload

_handled: list[Callable[[int], None]] = []


def _actor(broker: Any) -> Any:
    def noop(job: dict[str, Any]) -> None:
        _handled[0](job["n"])

    return dramatiq.actor(noop, broker=broker)


@contextlib.contextmanager
def producer(url: str) -> Iterator[Producer]:
    broker = RedisBroker(url=url)
    actor = _actor(broker)
    yield Producer(lambda n: actor.send(payload(n)))
    broker.close()


def work(url: str, record: Record) -> None:
    _handled.append(record())
    broker = RedisBroker(url=url)
    _actor(broker)
    dramatiq.Worker(broker, worker_threads=8).start()
    signal.pause()
