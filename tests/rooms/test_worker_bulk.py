"""Bulk jobs against real servers: an outcome for each item, those that fail go on alone, and nobody is served twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from mailgenius.errors import ConfigError, JobFailed, JobRetry
from mailgenius.queue import AsyncQueue, Policy
from mailgenius.servers import ValkeyServer
from mailgenius.worker import BulkResult, Job, Worker
from tests.rooms.test_worker import holds, queue_on, running, worker_of
from tests.waiting_async import until


class Recipient(msgspec.Struct):
    number: int


async def result_of(queue: AsyncQueue, id: str) -> BulkResult:
    return msgspec.convert(await queue.result(id, wait=10), BulkResult, strict=False)


async def test_an_outcome_for_each_item(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        worker = worker_of(queue)
        most, now = 0, 0

        @worker.bulk("bulk-send", size=100)
        async def send(recipient: Recipient) -> str:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            return f"sent {recipient.number}"

        id = await queue.add("bulk-send", [{"number": n} for n in range(250)])
        async with running(worker):
            result = await result_of(queue, id)
        assert result == BulkResult(250, [f"sent {n}" for n in range(250)])
        assert most == 100
        info = await queue.show(id)
        assert info is not None
        assert info.state == "done"


async def test_what_fails_goes_on_alone(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        worker = worker_of(queue)
        tried: Counter[int] = Counter()
        progress: list[Any] = []
        jobs: dict[int, set[str]] = {}

        @worker.bulk("bulk-send", size=2)
        def send(recipient: Recipient, job: Job) -> int:
            tried[recipient.number] += 1
            jobs.setdefault(recipient.number, set()).add(job.id)
            if recipient.number == 1:
                raise JobFailed("no such mailbox")
            if recipient.number == 3 or (recipient.number == 2 and tried[2] < 3):
                raise ConnectionError("try later")
            return recipient.number

        @worker.on("completed")
        def completed(job: Job, result: object) -> None:
            progress.append(job.id)

        id = await queue.add("bulk-send", [{"number": n} for n in range(5)])
        async with running(worker):
            result = await result_of(queue, id)
            await until(lambda: _dead(queue))
            await holds(lambda: len(progress) == 2)
        assert result.done == 2
        assert result.results == [0, None, None, None, 4]
        assert result.errors == {1: "JobFailed: no such mailbox"}
        assert sorted(result.retried) == [2, 3]
        assert tried == {0: 1, 1: 1, 2: 3, 3: 3, 4: 1}  # as often as the policy says, the first time with the others
        assert len(jobs[2]) == len(jobs[3]) == 2
        (dead,) = (await queue.page("failed")).jobs
        assert (dead.id, dead.payload, dead.attempts) == (result.retried[3], [{"number": 3}], 2)
        found = await queue.show(dead.id)
        assert found is not None
        assert found.traceback.startswith("Traceback (most recent call last)")
        assert found.traceback.endswith("ConnectionError: try later\n")


async def test_an_item_that_is_put_off_keeps_its_attempts(redis_server: ValkeyServer) -> None:
    async with queue_on(redis_server, Policy(attempts=1)) as queue:
        worker = worker_of(queue)
        tried: Counter[int] = Counter()

        @worker.bulk("bulk-send")
        async def send(recipient: Recipient) -> None:
            tried[recipient.number] += 1
            if tried[recipient.number] < 3:
                raise JobRetry(after=0, counts=False)

        id = await queue.add("bulk-send", [{"number": 1}, {"number": 2}])
        async with running(worker):
            result = await result_of(queue, id)
            await holds(lambda: tried == {1: 3, 2: 3})
        assert sorted(result.retried) == [0, 1]


async def _dead(queue: AsyncQueue) -> bool:
    return (await queue.counts()).failed == 1


async def test_nobody_is_served_twice(redis_versions: ValkeyServer) -> None:
    """A worker that is told to end at once leaves a job that runs again: what had an outcome keeps it, what had begun is
    unknown, the rest is done."""
    async with queue_on(redis_versions) as queue:
        begun: Counter[int] = Counter()
        stuck = asyncio.Event()

        def made() -> Worker:
            worker = worker_of(queue)

            @worker.bulk("bulk-send", size=10)
            async def send(recipient: Recipient) -> int:
                begun[recipient.number] += 1
                if recipient.number in (15, 17) and begun.total() <= 20:
                    stuck.set()
                    await asyncio.Event().wait()
                return recipient.number

            return worker

        id = await queue.add("bulk-send", [{"number": n} for n in range(50)])
        worker = made()
        task = asyncio.create_task(worker.run())
        await asyncio.wait_for(stuck.wait(), 10)
        await until(lambda: _outcomes(queue, id, 18))
        worker.stop()
        worker.stop()
        await asyncio.wait_for(task, 10)
        async with running(made()):
            result = await result_of(queue, id)
        assert set(begun.values()) == {1}
        assert len(begun) == 50
        assert (result.done, result.unknown) == (48, [15, 17])


async def _outcomes(queue: AsyncQueue, id: str, count: int) -> bool:
    found = await queue.redis.call("HVALS", f"{queue.prefix}bulk:{id}")
    return sum(bool(text) for text in found) == count


async def test_items_that_take_too_long_are_unknown(redis_server: ValkeyServer) -> None:
    async with queue_on(redis_server) as queue:
        worker = worker_of(queue)

        @worker.bulk("bulk-send", item_timeout=0.05)
        async def send(recipient: Recipient) -> None:
            if recipient.number:
                await asyncio.Event().wait()

        several = await queue.add("bulk-send", [{"number": n} for n in range(3)])
        one = await queue.add("bulk-send", [{"number": 1}])
        async with running(worker):
            assert (await result_of(queue, several)).unknown == [1, 2]
            assert (await result_of(queue, one)).unknown == [0]


def test_bad_bulk_handlers() -> None:
    worker = Worker("mail", url="redis://localhost")
    with pytest.raises(ConfigError, match=r"\$\.worker\.bulk\['a'\]\.size: 0"):
        worker.bulk("a", size=0)(lambda item: item)
    with pytest.raises(ConfigError, match=r"takes 3 arguments"):
        worker.bulk("a")(lambda item, job, more: item)
    with pytest.raises(ConfigError, match=r"item_timeout: 0"):
        worker.bulk("a", item_timeout=0)(lambda item: item)
