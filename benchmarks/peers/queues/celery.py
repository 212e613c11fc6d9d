"""Celery: 8 threads (faster here than prefork), late acknowledgement (each job at least once), no results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from celery import Celery

from . import Producer, Record, payload

_handled: list[Any] = []


def _app(url: str) -> Any:
    app = Celery("bench", broker=url)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=64,
        broker_connection_retry_on_startup=True,
    )
    return app


def _task(app: Any) -> Any:
    @app.task(name="noop")
    def noop(job: dict[str, Any]) -> None:
        _handled[0](job["n"])

    return noop


@contextlib.contextmanager
def producer(url: str) -> Iterator[Producer]:
    app = _app(url)
    task = _task(app)
    yield Producer(lambda n: task.delay(payload(n)))
    app.close()


def work(url: str, record: Record) -> None:
    app = _app(url)
    _task(app)
    _handled.append(record())
    app.worker_main(["worker", "-P", "threads", "-c", "8", "-l", "ERROR", "--without-mingle", "--without-gossip"])
