"""Workers against real servers: what becomes of jobs, whatever they do."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from mailgenius import AsyncRedis
from mailgenius.errors import ConfigError, JobCancelled, JobFailed, JobRetry, JobTimeout
from mailgenius.queue import AsyncQueue, Backoff, Policy
from mailgenius.queue.records import failure_of, unpack_done
from mailgenius.queue.scripts import script
from mailgenius.servers import ValkeyServer
from mailgenius.worker import Job, Worker
from tests.waiting_async import until

QUICK = Policy(backoff=Backoff("fixed", 0.01, jitter=0))


class Mail(msgspec.Struct):
    to: str
    tries: int = 0


@contextlib.asynccontextmanager
async def queue_on(server: ValkeyServer, policy: Policy = QUICK) -> AsyncIterator[AsyncQueue]:
    async with AsyncRedis(server.url) as redis:
        yield AsyncQueue(redis, "mail", policy=policy, unsafe=True)


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
    return Worker(queue, **{"unsafe": True, "keeper": False, **options})


async def holds(test: Callable[[], bool], seconds: float = 10.0) -> None:
    async def found() -> bool:
        return test()

    await until(found, seconds)


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
            await asyncio.sleep(0.001)
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
                await asyncio.sleep(0.01)
                end()

        await queue.add_many("n", range(60))
        async with running(worker):
            await holds(lambda: done == 60)
        assert most == 5


async def test_what_fails_is_tried_again_and_then_dead(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        tries: list[tuple[str, int]] = []
        heard: list[Any] = []
        worker = worker_of(queue)

        @worker.handler("n")
        async def handler(payload: str, job: Job) -> None:
            tries.append((payload, job.attempts))
            if payload == "never":
                raise JobFailed("no such address")
            if payload == "later" and job.attempts == 0:
                raise JobRetry(after=0.005)
            if payload == "waits" and len(tries) < 30:
                raise JobRetry(after=0.001, counts=False)
            if payload == "always":
                raise ValueError("lost")

        worker.on("failed", lambda job, error: heard.append((job.id, type(error))))
        worker.on("retried", lambda job, error, after: heard.append(after))
        never, _, always, _ = [await queue.add("n", text) for text in ("never", "later", "always", "waits")]
        twice = await queue.add("n", "always", attempts=2, backoff=Backoff("fixed", 0.02, jitter=0))
        async with running(worker):
            await holds(lambda: len(tries) >= 30 and sum(isinstance(one, tuple) for one in heard) == 3)
        assert [n for text, n in tries if text == "never"] == [0]
        assert [n for text, n in tries if text == "later"] == [0, 1]
        assert sorted(n for text, n in tries if text == "always") == [0, 0, 1, 1, 2]
        assert {n for text, n in tries if text == "waits"} == {0}
        assert {(never, JobFailed), (always, ValueError), (twice, ValueError)} < set(heard)
        assert {0.005, 0.01, 0.02} < set(heard)
        errors = await queue.redis.call("HGETALL", queue.prefix + "errors")
        failure = failure_of(errors[always.encode()])
        assert (failure.type, failure.message, failure.attempts) == ("ValueError", "lost", 3)
        assert "in handler" in failure.traceback
        assert (await numbers(queue))["xn"] == 3
        await nothing_left(queue)


async def test_what_nobody_here_can_run_is_dead_with_the_reason(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        worker = worker_of(queue)
        done: list[Any] = []

        @worker.handler("mail")
        async def handler(mail: Mail) -> None:
            done.append(mail)

        @worker.handler("plain")
        def plain(mail: Mail) -> None:
            done.append(mail)

        wrong = [await queue.add(name, {"to": 1}) for name in ("mail", "plain")]
        unknown = await queue.add("other", 1)
        strange = await queue.redis.script(script("add"))(
            [queue.prefix + "q"], ["", "me", 1, 1000, 0, 1, "?", 1, "5", 2, b"\x02strange", b"\x01\x00"]
        )
        await queue.add("mail", Mail("b"))
        async with running(worker):
            await holds(lambda: bool(done))

            async def buried() -> bool:
                return bool(await queue.redis.call("ZCARD", queue.prefix + "dead") == 5)

            await until(buried)
        errors = await queue.redis.call("HGETALL", queue.prefix + "errors")
        for id in wrong:
            assert "not what its handler takes" in failure_of(errors[id.encode()]).message
        assert "no handler for 'other'" in failure_of(errors[unknown.encode()]).message
        first = f"{strange[1].decode()}-{strange[2].decode()}"
        assert "format 2" in failure_of(errors[first.encode()]).message
        await nothing_left(queue)


async def test_timeouts(redis_server: ValkeyServer) -> None:
    async with queue_on(redis_server, Policy(attempts=1)) as queue:
        worker = worker_of(queue)
        heard: list[Any] = []
        ended: list[str] = []

        @worker.handler("slow", timeout=0.05)
        async def slow(payload: Any) -> None:
            try:
                await asyncio.sleep(30)
            finally:
                ended.append("slow")

        @worker.handler("told", timeout=0.05)
        def told(payload: Any, job: Job) -> None:
            while not job.cancelled:
                threading.Event().wait(0.005)
            raise JobTimeout("told so")

        @worker.handler("stubborn")
        def stubborn(payload: Any) -> None:
            threading.Event().wait(0.15)
            ended.append("stubborn")

        worker.on("failed", lambda job, error: heard.append((job.name, type(error))))
        await queue.add("slow")
        await queue.add("told")
        await queue.add("stubborn", timeout=0.01)
        async with running(worker):
            await holds(lambda: len(heard) == 2 and len(ended) == 2)
        assert sorted(heard, key=str) == [("slow", JobTimeout), ("told", JobTimeout)]
        found = await numbers(queue)
        assert found["dstubborn"] == 1  # what has been done, has


async def test_results_progress_and_logs(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        worker = worker_of(queue)
        seen: list[Any] = []
        go = asyncio.Event()

        @worker.handler("n", keep_result=60)
        async def handler(payload: Any, job: Job) -> Any:
            job.progress({"part": 0.5})
            job.log("half")
            await go.wait()
            job.progress({"part": 1.0})
            job.log("whole")
            return {"sent": payload}

        @worker.handler("odd")
        async def odd(payload: Any) -> Any:
            return object()

        worker.on("completed", lambda job, result: seen.append((job.id, result)))
        id = await queue.add("n", 7)
        await queue.add("odd", keep_result=5)
        call = queue.redis.call
        async with running(worker):

            async def half() -> bool:
                found = await call("HGET", queue.prefix + "progress", id)
                return bool(found and msgspec.msgpack.decode(found) == {"part": 0.5})

            await until(half)
            go.set()
            await holds(lambda: bool(seen))

            async def dead() -> bool:
                return bool(await call("ZCARD", queue.prefix + "dead") == 1)

            await until(dead)
        assert seen == [(id, {"sent": 7})]
        assert msgspec.msgpack.decode(await call("GET", f"{queue.prefix}r:{id}")) == {"sent": 7}
        assert await call("LRANGE", f"{queue.prefix}log:{id}", 0, -1) == [b"half", b"whole"]
        assert await call("HLEN", queue.prefix + "progress") == 0


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


async def test_a_removed_job_is_cancelled_where_it_runs_and_where_it_waits(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions, Policy(lease=1.0)) as queue:
        worker = worker_of(queue, concurrency=1)
        began: list[Any] = []
        heard: list[Any] = []

        @worker.handler("n")
        async def handler(payload: Any) -> None:
            began.append(payload)
            if payload == "slow":
                await asyncio.sleep(3600)

        worker.on("failed", lambda job, error: heard.append((job.id, type(error))))
        id = await queue.add("n", "slow")
        remove = queue.redis.script(script("remove"))
        async with running(worker):
            await holds(lambda: began == ["slow"])
            assert await remove([queue.prefix + "q"], ["", id]) == [b"active"]
            await holds(lambda: heard == [(id, JobCancelled)])
        assert await queue.redis.call("SCARD", queue.prefix + "cancelled") == 0


async def test_jobs_that_were_removed_before_they_were_leased_do_not_run(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions) as queue:
        got: list[int] = []
        worker = worker_of(queue)
        worker.handler("n")(got_async(got))
        ids = await queue.add_many("n", range(1, 31))
        await queue.redis.script(script("remove"))([queue.prefix + "q"], ["", *ids[10:20], ids[29]])
        async with running(worker):
            await holds(lambda: len(got) == 19)
        assert sorted(got) == [*range(1, 11), *range(21, 30)]
        events = await queue.redis.call("XRANGE", queue.prefix + "events", "-", "+")
        told = " ".join(fields[3].decode() for _, fields in events if fields[1] == b"completed")
        assert ids[10] not in told.split()
        await nothing_left(queue)


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
                await asyncio.sleep(3600)

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
    async with queue_on(redis_server) as queue:
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


def square(payload: int, job: Job) -> Any:
    if payload == 3:
        raise JobFailed("three")
    if payload == 4:
        os._exit(9)
    if payload == 5:
        threading.Event().wait(60)
    job.log(f"{payload} in {os.getpid()}")
    return payload * payload


async def test_processes(redis_server: ValkeyServer) -> None:
    async with queue_on(redis_server, Policy(attempts=1)) as queue:
        worker = worker_of(queue)
        worker.handler("n", process=True, concurrency=2, keep_result=60, timeout=5)(square)
        done: dict[str, Any] = {}
        failed: dict[str, BaseException] = {}
        worker.on("completed", lambda job, result: done.__setitem__(job.id, result))
        worker.on("failed", lambda job, error: failed.__setitem__(job.id, error))
        ids = [await queue.add("n", n, timeout=0.5 if n == 5 else None) for n in (1, 2, 3, 4, 5, 6)]
        bad = await queue.add("n", "x")
        async with running(worker):
            await holds(lambda: len(done) == 3 and len(failed) == 4, 30)
        assert [done[ids[0]], done[ids[1]], done[ids[5]]] == [1, 4, 36]
        assert isinstance(failed[ids[2]], JobFailed)
        assert "exit code 9" in str(failed[ids[3]])
        assert isinstance(failed[ids[4]], JobTimeout)
        assert "not what its handler takes" in str(failed[bad])
        line = (await queue.redis.call("LRANGE", f"{queue.prefix}log:{ids[0]}", 0, -1))[0]
        assert line.startswith(b"1 in ")
        assert int(line.split()[2]) != os.getpid()
        await nothing_left(queue)
