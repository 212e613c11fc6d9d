"""``Worker``: runs the jobs of a queue."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any, TypeVar, overload

from mailgenius.errors import ConfigError
from mailgenius.link import AsyncRedis
from mailgenius.queue import AsyncQueue, AsyncShardedQueue

from .bulk import Bulk
from .handlers import Handler, define
from .hooks import Event, Hooks
from .metrics import WorkerMetrics
from .running import Run, RunOptions

__all__ = ["Worker"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Worker:
    """``Worker(queue)``, or ``Worker("email-sending", url="redis://…")``; with ``shards``, if it has several.

    ``concurrency``: jobs that run at once, of all handlers of a kind (async, plain, ``process=True``) that have no number
    of their own. ``keeper``: a small process beside the worker renews its leases, so that a handler may hold the
    interpreter as long as it likes, and gives them back at once when the worker dies; without it the event loop renews
    them. ``grace``: seconds that running jobs have to end after ``stop()``. ``unsafe``, with a name: as that of
    ``AsyncQueue``. What holds for jobs that do not say themselves is the queue's policy.
    """

    def __init__(
        self,
        queue: AsyncQueue | AsyncShardedQueue | str,
        *,
        url: str | None = None,
        shards: int | None = None,
        concurrency: int = 20,
        keeper: bool = True,
        grace: float = 30.0,
        unsafe: bool = False,
    ) -> None:
        if isinstance(queue, str) == (url is None):
            raise ConfigError("$.worker: give an AsyncQueue, or the queue's name and the url of its Redis")
        if shards is not None and not isinstance(queue, str):
            raise ConfigError("$.worker.shards: the queue that was given says itself how many it has")
        if concurrency < 1:
            raise ConfigError(f"$.worker.concurrency: {concurrency} is out of range; give at least 1")
        if grace < 0:
            raise ConfigError(f"$.worker.grace: {grace} is out of range; give at least 0")
        self._given, self._url, self._shards, self._unsafe = queue, url, shards, unsafe
        self._options = RunOptions(concurrency=concurrency, keeper=keeper, grace=grace)
        self._handlers: dict[str, Handler] = {}
        self._bulks: list[Bulk] = []
        self._hooks = Hooks()
        self._stops = 0
        self._run: Run | None = None

    def __repr__(self) -> str:
        name = self._given if isinstance(self._given, str) else self._given.name
        return f"<Worker of {name!r}: {', '.join(self._handlers) or 'no handlers'}>"

    # -- what it does --------------------------------------------------------------------------------------------

    def handler(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        timeout: float | None = None,
        keep_result: float | None = None,
        process: bool = False,
    ) -> Callable[[_F], _F]:
        """``@worker.handler("send-email")`` on a function of ``(payload)`` or ``(payload, job)``, async or not.

        The payload is decoded to the type of the first parameter. A plain function runs in a thread, or, with ``process``,
        in a process of its own. ``concurrency``: jobs of this name at once, beside all others. ``timeout``: seconds; an
        async handler is cancelled then and a process killed, while a thread can only be told (``job.cancelled``).
        ``keep_result``: seconds that what it returns can be read. Whatever it raises makes the job be tried again, as often
        as the policy says: ``JobFailed``: never; ``JobRetry``: after as many seconds as it says.
        """

        def add(function: _F) -> _F:
            if name in self._handlers:
                raise ConfigError(f"$.worker.handler[{name!r}]: there is one already")
            self._handlers[name] = define(
                name, function, process=process, concurrency=concurrency, timeout=timeout, keep_result=keep_result
            )
            return function

        return add

    def bulk(
        self,
        name: str,
        *,
        size: int = 100,
        concurrency: int = 5,
        item_timeout: float | None = None,
        keep_result: float | None = 3600.0,
    ) -> Callable[[_F], _F]:
        """``@worker.bulk("bulk-send")`` on a function of ``(item)`` or ``(item, job)``, async or not: the payload of such a
        job is a list of items.

        ``size`` of them are under way at once, of ``concurrency`` jobs; the job's progress ends at 100. Its result is a
        ``BulkResult``, which can be read for ``keep_result`` seconds. An item that fails goes on alone, as a job of the
        same name, after the pause of its backoff; ``JobFailed`` is its end. An item that had begun when the worker died,
        or takes more than ``item_timeout`` seconds, is ``unknown`` and is not begun again.
        """

        def add(function: _F) -> _F:
            bulk = Bulk(name, function, size, item_timeout)
            self.handler(name, concurrency=concurrency, keep_result=keep_result)(bulk.run)
            self._bulks.append(bulk)
            return function

        return add

    @overload
    def on(self, event: Event) -> Callable[[_F], _F]: ...
    @overload
    def on(self, event: Event, function: _F) -> _F: ...
    def on(self, event: Event, function: _F | None = None) -> Any:
        """``worker.on("failed", function)``, or as a decorator. What is called, in the event loop:

        - ``ready()``: it begins to take jobs;
        - ``completed(job, result)``; ``failed(job, error)``: it is dead; ``retried(job, error, seconds)``;
        - ``stalled(job)``: its last worker died with it, and it begins here;
        - ``lost(ids)``: others have these jobs now, as we did not renew our lease in time;
        - ``error(error)``: something that no job is to blame for, such as Redis being away.
        """
        if function is None:
            return lambda function: self.on(event, function)
        self._hooks.add(event, function)
        return function

    # -- beginning and end ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until ``stop()``. Raises ``ConfigError`` or ``RedisRefused`` if it cannot begin; while Redis is away, it waits.
        What fails is told as ``error``, or else logged as ``mailgenius.worker``."""
        if not self._handlers:
            raise ConfigError("$.worker: it has no handlers; give it some with @worker.handler(name)")
        if self._run is not None:
            raise RuntimeError("this worker is running already")
        if not isinstance(self._given, str):
            await self._with(self._given)
            return
        assert self._url is not None  # noqa: S101 - __init__ has seen to it
        async with AsyncRedis(self._url) as redis:
            if self._shards is None:
                await self._with(AsyncQueue(redis, self._given, unsafe=self._unsafe))
            else:
                await self._with(AsyncShardedQueue(redis, self._given, shards=self._shards, unsafe=self._unsafe))

    async def _with(self, queue: AsyncQueue | AsyncShardedQueue) -> None:
        for bulk in self._bulks:
            bulk.queue = queue
        self._run = run = Run(self._handlers, self._hooks, queue, self._options)
        try:
            await run.begin()
            if self._stops:
                run.stop(self._stops)
            await run.work()
        finally:
            try:
                await run.end()
            finally:
                self._run, self._stops = None, 0

    def main(self) -> None:
        """``run()`` for a program that does nothing else: SIGTERM and SIGINT stop it, a second one at once."""

        async def run() -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            await self.run()

        asyncio.run(run())

    def stop(self) -> None:
        """No more jobs are begun, those that were not begun are given back, those that run have ``grace`` seconds. Called
        again: those that run are given back too. From the event loop, or its signal handlers."""
        self._stops += 1
        if self._run is not None:
            self._run.stop(self._stops)

    def metrics(self) -> WorkerMetrics:
        """Of the run under way. Raises RuntimeError if there is none."""
        if self._run is None:
            raise RuntimeError("this worker is not running")
        return self._run.metrics()
