"""Workers against real servers: jobs run, as many at once as may, in turn, until they are told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from mailgenius import AsyncRedis
from mailgenius.errors import ConfigError
from mailgenius.queue import AsyncQueue, Backoff, Policy
from mailgenius.queue.records import unpack_done
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyServer
from mailgenius.worker import Job, Worker
from tests.waiting_async import until

QUICK = Policy(backoff=Backoff("fixed", 0.01, jitter=0))


class Mail(msgspec.Struct):
    to: str
    tries: int = 0


@contextlib.asynccontextmanager
async def queue_on(server: ValkeyServer, policy: Policy = QUICK, unsafe: bool = True) -> AsyncIterator[AsyncQueue]:
    async with AsyncRedis(server.url) as redis:
        yield AsyncQueue(redis, "mail", policy=policy, unsafe=unsafe)


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    """Runs it, and stops it in the end."""
    task = asyncio.create_task(worker.run())
    try:
        yield
        worker.stop()
        await asyncio.wait_for(task, 20)
    finally:
        task.cancel()
        await asyncio.wait([task])


def worker_of(queue: AsyncQueue, **options: Any) -> Worker:
    return Worker(queue, **{"keeper": False, **options})


async def holds(test: Callable[[], bool], seconds: float = 10.0) -> None:
    async def found() -> bool:
        return test()

    await until(found, seconds)


async def pause(seconds: float) -> None:
    """As a handler that waits for something else."""
    await rt.wait(rt.Event(), seconds)


async def numbers(queue: AsyncQueue) -> dict[str, int]:
    """Counters of the queue, and of names (``a``dded, ``d``one, ``x`` dead)."""
    own = await queue.redis.call("HGETALL", queue.prefix + "q")
    names = await queue.redis.call("HGETALL", queue.prefix + "names")
    return {key.decode(): int(value) for key, value in (own | names).items() if value.lstrip(b"-").isdigit()}


async def nothing_left(queue: AsyncQueue) -> None:
    """All chunks, leases and places of jobs are gone."""

    async def empty() -> bool:
        found = await numbers(queue)
        return not found.get("waiting") and not found.get("active")

    await until(empty)
    call = queue.redis.call
    assert await call("KEYS", queue.prefix + "c:*") == []
    assert await call("HLEN", queue.prefix + "leased") == 0
    assert await call("HLEN", queue.prefix + "where") == 0
    assert await call("HLEN", queue.prefix + "finished") == 0


async def test_handlers_of_all_kinds_get_their_payloads_as_what_they_want(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        got: list[Any] = []
        worker = worker_of(queue)

        @worker.handler("async")
        async def one(mail: Mail, job: Job) -> None:
            got.append((mail, job.name, job.attempts, job.stalls))

        @worker.handler("plain")
        def two(mail: Mail) -> None:
            got.append((mail, threading.current_thread() is threading.main_thread()))

        @worker.handler("any")
        async def three(payload: Any) -> None:
            await asyncio.sleep(0)
            got.append(payload)

        await queue.add("async", Mail("a"))
        await queue.add("plain", {"to": "b", "tries": 2})
        await queue.add("any", [1, None])
        async with running(worker):
            await holds(lambda: len(got) == 3)
            late = await queue.add("any", "late")
            await holds(lambda: len(got) == 4)
        assert (Mail("a"), "async", 0, 0) in got
        assert (Mail("b", 2), False) in got
        assert [1, None] in got
        found = await numbers(queue)
        assert (found["dasync"], found["dplain"], found["dany"]) == (1, 1, 2)
        records = [unpack_done(data) for data in await queue.redis.call("LRANGE", queue.prefix + "kept", 0, -1)]
        assert records[0].id == late
        assert {record.name for record in records} == {"async", "plain", "any"}
        await nothing_left(queue)


@pytest.mark.parametrize("plain", [False, True])
async def test_thousands_of_jobs_run_once_each(redis_versions: ValkeyServer, plain: bool) -> None:
    async with queue_on(redis_versions) as queue:
        got: list[int] = []
        worker = worker_of(queue)
        if plain:
            worker.handler("n")(got_plain(got))
        else:
            worker.handler("n")(got_async(got))
        await queue.add_many("n", range(5000))
        for n in range(5000, 5050):
            await queue.add("n", n, group=f"g{n % 7}", priority=1 + n % 9)
        async with running(worker):
            await holds(lambda: len(got) >= 5050)
            metrics = worker.metrics()
        assert sorted(got) == list(range(5050))
        assert metrics.done == metrics.leased == metrics.run.count == metrics.wait.count == 5050
        assert (await numbers(queue))["dn"] == 5050
        assert await queue.redis.call("LLEN", queue.prefix + "kept") == QUICK.keep_done
        await nothing_left(queue)


def got_plain(got: list[int]) -> Callable[[int], None]:
    def handler(payload: int) -> None:
        got.append(payload)

    return handler


def got_async(got: list[int]) -> Any:
    async def handler(payload: int) -> None:
        if payload % 100 == 0:
            await pause(0.001)
        got.append(payload)

    return handler


@pytest.mark.parametrize("plain", [False, True])
async def test_no_more_jobs_run_at_once_than_may_and_so_many_do(redis_server: ValkeyServer, plain: bool) -> None:
    async with queue_on(redis_server) as queue:
        now = most = done = 0
        lock = threading.Lock()
        worker = worker_of(queue, concurrency=50)

        def begin() -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)

        def end() -> None:
            nonlocal now, done
            with lock:
                now -= 1
                done += 1

        if plain:

            @worker.handler("n", concurrency=5)
            def slow_plain(payload: Any) -> None:
                begin()
                threading.Event().wait(0.01)
                end()
        else:

            @worker.handler("n", concurrency=5)
            async def slow_async(payload: Any) -> None:
                begin()
                await pause(0.01)
                end()

        await queue.add_many("n", range(60))
        async with running(worker):
            await holds(lambda: done == 60)
        assert most == 5


async def test_context_variables_do_not_leak_from_job_to_job(redis_server: ValkeyServer) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)
    async with queue_on(redis_server) as queue:
        seen: list[int] = []
        worker = worker_of(queue, concurrency=1)

        @worker.handler("n")
        async def handler(payload: int) -> None:
            seen.append(variable.get())
            variable.set(payload)
            if payload % 2:
                await asyncio.sleep(0)

        await queue.add_many("n", range(20))
        async with running(worker):
            await holds(lambda: len(seen) == 20)
        assert set(seen) == {-1}


async def test_stop_gives_back_what_has_not_begun_and_waits_for_the_rest(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        worker = worker_of(queue, concurrency=2)
        began: list[int] = []
        go = asyncio.Event()
        done: list[int] = []

        @worker.handler("n")
        async def handler(payload: int) -> None:
            if payload >= 100:
                began.append(payload)
                await go.wait()
            done.append(payload)

        await queue.add_many("n", [*range(60), *range(100, 160)])
        task = asyncio.create_task(worker.run())
        await holds(lambda: len(began) == 2)
        worker.stop()

        async def given_back() -> bool:
            found = await numbers(queue)
            return found["waiting"] == 58 and found["active"] == 2

        await until(given_back)
        assert not task.done()
        go.set()
        await asyncio.wait_for(task, 5)
        assert len(done) == 62
        again = worker_of(queue)
        again.handler("n")(got_async(done))
        async with running(again):
            await holds(lambda: len(done) == 120)
        assert len(set(done)) == 120
        assert (await numbers(queue)).get("stalled", 0) == 0
        await nothing_left(queue)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("keeper", [False, True])
async def test_a_second_stop_gives_back_what_runs(redis_server: ValkeyServer, plain: bool, keeper: bool) -> None:
    async with queue_on(redis_server) as queue:
        worker = worker_of(queue, keeper=keeper)
        began: list[Any] = []
        go = threading.Event()
        if plain:

            @worker.handler("n")
            def hang_plain(payload: Any) -> None:
                began.append(payload)
                go.wait(20)
        else:

            @worker.handler("n")
            async def hang_async(payload: Any) -> None:
                began.append(payload)
                await pause(3600)

        await queue.add("n", 1)
        task = asyncio.create_task(worker.run())
        await holds(lambda: began == [1])
        worker.stop()
        worker.stop()
        await asyncio.wait_for(task, 15)
        go.set()
        found = await numbers(queue)
        assert (found["waiting"], found["active"], found.get("stalled", 0)) == (1, 0, 0)


async def test_an_idle_worker_is_woken_at_once_and_asks_nothing_meanwhile(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        got: list[float] = []
        worker = worker_of(queue)

        @worker.handler("n")
        async def handler(payload: float) -> None:
            got.append(time.monotonic() - payload)

        async with running(worker):
            await queue.add("n", time.monotonic())
            await holds(lambda: len(got) == 1)

            async def asleep() -> bool:
                return b"cmd=blpop" in await queue.redis.call("CLIENT", "LIST")

            for n in range(2, 22):
                await until(asleep)
                await queue.add("n", time.monotonic())
                await holds(lambda n=n: len(got) == n)  # type: ignore[misc]
            await until(asleep)
            calls = worker.metrics().calls
            await queue.add("n", time.monotonic(), delay=0.2)
            await holds(lambda: len(got) == 22)
            assert worker.metrics().calls <= calls + 5
        assert sorted(got)[10] < 0.05  # on a machine that does other things too
        assert 0.2 <= max(got) < 1.0


async def test_refuses_a_server_that_keeps_nothing(redis_server: ValkeyServer) -> None:
    async with queue_on(redis_server, unsafe=False) as queue:
        worker = Worker(queue)
        with pytest.raises(ConfigError, match="no handlers"):
            await worker.run()
        worker.handler("n")(got_async([]))
        with pytest.raises(ConfigError, match="appendonly is off"):
            await worker.run()


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match="give an AsyncQueue, or"):
        Worker("mail")
    worker = Worker("mail", url="redis://localhost")
    with pytest.raises(ConfigError, match="takes 3 arguments"):
        worker.handler("n")(lambda a, b, c: None)
    with pytest.raises(ConfigError, match="needs a plain def"):
        worker.handler("n", process=True)(got_async([]))
    with pytest.raises(ConfigError, match=r"handler\['n'\]\.concurrency: 0"):
        worker.handler("n", concurrency=0)(got_async([]))
    with pytest.raises(ConfigError, match="there is no 'finished'"):
        worker.on("finished", print)  # type: ignore[call-overload]
    worker.handler("n")(got_plain([]))
    with pytest.raises(ConfigError, match="there is one already"):
        worker.handler("n")(got_plain([]))


async def test_jobs_of_many_small_groups_come_together(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        worker = worker_of(queue)
        got: list[Any] = []

        @worker.handler("send")
        async def send(payload: Any) -> None:
            got.append(payload)

        for n in range(300):
            await queue.add("send", n, group=f"{n}.example")
        async with running(worker):
            await holds(lambda: len(got) == 300)
            assert worker.metrics().calls < 60
        assert sorted(got) == list(range(300))
        assert (await queue.counts()).active == 0


async def test_schedules_are_let_in_by_workers_once_each_time(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        got: list[Any] = []
        workers = [worker_of(queue), worker_of(queue)]
        for worker in workers:

            @worker.handler("sweep")
            async def handler(payload: Any) -> None:
                got.append(payload)

        await queue.schedule("often", every=1, job="sweep", payload="now")
        async with running(workers[0]), running(workers[1]):
            began = time.monotonic()
            await holds(lambda: len(got) >= 2)
            assert time.monotonic() - began > 0.9
            assert len(got) == 2
