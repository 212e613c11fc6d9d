"""Jobs with many recipients: in parts, with an outcome for each, and nobody served twice.

Invariants:
- That an item begins is marked on the server before, and its outcome after. A job that runs again, because its worker died,
  does nothing for an item that has an outcome, nor for one that had begun: nobody knows how that ended. Redis being away is
  waited out, since what was done must be written down.
- An item that failed goes on alone, as a job of its own, added once however often the large one runs.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import typing
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from mailgenius.errors import ConfigError, JobFailed, JobRetry, RedisUnavailable
from mailgenius.queue import AsyncQueue, AsyncShardedQueue
from mailgenius.queue.options import Options

from .job import Job

__all__ = ["Bulk", "BulkResult"]

_KEPT = 86_400  # seconds that outcomes are kept while a job may run again
_AFTER = 3_600  # and once all are there
_BEGUN = b""
_encode = msgspec.msgpack.Encoder().encode


class Outcome(msgspec.Struct, array_like=True):
    """Of one item. ``kind``: done, failed, retried or unknown."""

    kind: str
    value: Any = None


_outcome = msgspec.msgpack.Decoder(Outcome).decode


class BulkResult(msgspec.Struct):
    """What a bulk job gives. ``results``: of each item, in order, what the handler returned, None where it did not;
    ``errors``: of items that failed for good, by their index; ``retried``: ids of the jobs that those which may succeed
    later have become; ``unknown``: indexes of those that had begun when a worker died, or took too long."""

    done: int = 0
    results: list[Any] = msgspec.field(default_factory=list)
    errors: dict[int, str] = msgspec.field(default_factory=dict)
    retried: dict[int, str] = msgspec.field(default_factory=dict)
    unknown: list[int] = msgspec.field(default_factory=list)


class Bulk:
    """The handler of a bulk job, made of ``function``, which is that of one item."""

    def __init__(self, name: str, function: Callable[..., Any], size: int, item_timeout: float | None) -> None:
        where = f"$.worker.bulk[{name!r}]"
        if size < 1:
            raise ConfigError(f"{where}.size: {size} is out of range; give at least 1")
        if item_timeout is not None and item_timeout <= 0:
            raise ConfigError(f"{where}.item_timeout: {item_timeout} is out of range; give seconds above 0")
        self.name, self.size, self.item_timeout = name, size, item_timeout
        self.queue: AsyncQueue | AsyncShardedQueue | None = None  # of the run under way
        self._function, self._is_async = function, inspect.iscoroutinefunction(function)
        names = [each for each in inspect.signature(function).parameters.values() if each.default is each.empty]
        if not 1 <= len(names) <= 2:
            raise ConfigError(f"{where}: takes {len(names)} arguments; give it (item) or (item, job)")
        self._takes_job = len(names) == 2
        wanted = typing.get_type_hints(function, include_extras=True).get(names[0].name, Any)

        async def run(items: list[Any], job: Job) -> BulkResult:
            return await self._run(items, job)

        run.__annotations__ = {"items": list[wanted], "job": Job, "return": BulkResult}  # type: ignore[valid-type]
        self.run = run

    async def _run(self, items: list[Any], job: Job) -> BulkResult:
        queue = self.queue
        assert queue is not None  # noqa: S101 - the worker sets it before it begins
        shard = queue if isinstance(queue, AsyncQueue) else queue.shard_of(job.id)[0]
        key = f"{shard.prefix}bulk:{job.id}"
        found = await _sure(lambda: queue.redis.call("HGETALL", key))
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        outcomes = {int(i): _outcome(text) if text else Outcome("unknown") for i, text in pairs}
        todo = [i for i in range(len(items)) if i not in outcomes]
        alone: BaseException | None = None
        for at in range(0, len(todo), self.size):
            part = todo[at : at + self.size]
            marks = [word for i in part for word in (i, _BEGUN)]
            begin = [("HSET", key, *marks), ("EXPIRE", key, _KEPT)]
            await _sure(partial(queue.redis.calls, begin, atomic=True))
            ended = await asyncio.gather(*(self._one(queue, key, items, i, job) for i in part))
            for i, outcome in zip(part, ended, strict=True):
                if isinstance(outcome, Outcome):
                    outcomes[i] = outcome
                else:
                    alone = outcome
            job.progress(100 * len(outcomes) // len(items))
        if alone is not None:
            raise alone
        await _sure(lambda: queue.redis.call("EXPIRE", key, _AFTER))
        job.progress(100)
        return _summary(len(items), outcomes)

    async def _one(
        self, queue: AsyncQueue | AsyncShardedQueue, key: str, items: list[Any], i: int, job: Job
    ) -> Outcome | BaseException:
        """Its outcome; or its error, if it is the job's only item: then that is what happened to the job."""
        try:
            async with asyncio.timeout(self.item_timeout) as limit:
                outcome = Outcome("done", await self._call(items[i], job))
            text = _encode(outcome)
        except Exception as error:
            if limit.expired():  # it may have been done all the same
                outcome = Outcome("unknown")
            elif len(items) == 1:
                await _sure(lambda: queue.redis.call("HDEL", key, i))
                return error
            else:
                outcome = await self._later(queue, items[i], i, job, error)
            text = _encode(outcome)
        await _sure(lambda: queue.redis.call("HSET", key, i, text))
        return outcome

    async def _call(self, item: Any, job: Job) -> Any:
        args = (item, job) if self._takes_job else (item,)
        if self._is_async:
            return await self._function(*args)
        return await asyncio.to_thread(self._function, *args)

    async def _later(
        self, queue: AsyncQueue | AsyncShardedQueue, item: Any, i: int, job: Job, error: Exception
    ) -> Outcome:
        options = job.options or Options()
        policy = queue.policy
        allowed = policy.attempts if options.attempts is None else options.attempts
        left = allowed if isinstance(error, JobRetry) and not error.counts else allowed - 1
        if isinstance(error, JobFailed) or left < 1:
            job.log(f"item {i}: {type(error).__name__}")
            return Outcome("failed", f"{type(error).__name__}: {error}")
        backoff = policy.backoff if options.backoff is None else options.backoff
        chance = random.random()  # noqa: S311 - so that not all come back at once
        add = partial(
            queue.add,
            self.name,
            [item],
            delay=error.after if isinstance(error, JobRetry) else backoff.delay(1, chance),
            attempts=left,
            backoff=options.backoff,
            priority=options.priority,
            group=options.group,
            keep_result=options.keep_result,
            trace=options.trace,
            unique=f"bulk:{job.id}:{i}",
            unique_for=_KEPT,
        )
        return Outcome("retried", await _sure(add))


async def _sure(do: Callable[[], Awaitable[Any]]) -> Any:
    """What it gives, once Redis is there. It may be done several times."""
    pause = 0.01
    while True:
        try:
            return await do()
        except RedisUnavailable:
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, 1.0)


def _summary(count: int, outcomes: dict[int, Outcome]) -> BulkResult:
    summary = BulkResult(results=[None] * count)
    for i, outcome in sorted(outcomes.items()):
        if outcome.kind == "done":
            summary.done += 1
            summary.results[i] = outcome.value
        elif outcome.kind == "failed":
            summary.errors[i] = outcome.value
        elif outcome.kind == "retried":
            summary.retried[i] = outcome.value
        else:
            summary.unknown.append(i)
    return summary
