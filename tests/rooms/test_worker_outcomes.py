"""What becomes of jobs that fail, take too long, are removed, tell of themselves, or run in other processes."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import msgspec

from mailgenius.errors import JobCancelled, JobFailed, JobRetry, JobTimeout
from mailgenius.queue import Backoff, Policy
from mailgenius.queue.records import failure_of
from mailgenius.queue.scripts import script
from mailgenius.servers import ValkeyServer
from mailgenius.worker import Job
from tests.rooms.test_worker import Mail, got_async, holds, nothing_left, numbers, pause, queue_on, running, worker_of
from tests.waiting_async import until

QUICK = Policy(backoff=Backoff("fixed", 0.01, jitter=0))


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
    async with queue_on(redis_server, Policy(attempts=1, timeout=0.2)) as queue:
        worker = worker_of(queue)
        heard: list[Any] = []
        ended: list[str] = []

        @worker.handler("slow", timeout=0.05)
        async def slow(payload: Any) -> None:
            try:
                await pause(30)
            finally:
                ended.append("slow")

        @worker.handler("late")  # as the policy says
        async def late(payload: Any) -> None:
            await pause(30)

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
        await queue.add("late")
        await queue.add("stubborn", timeout=0.01)
        async with running(worker):
            await holds(lambda: len(heard) == 3 and len(ended) == 2)
        assert sorted(heard, key=str) == [("late", JobTimeout), ("slow", JobTimeout), ("told", JobTimeout)]
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


async def test_a_removed_job_is_cancelled_where_it_runs_and_where_it_waits(redis_versions: ValkeyServer) -> None:
    async with queue_on(redis_versions, Policy(lease=1.0)) as queue:
        worker = worker_of(queue, concurrency=1)
        began: list[Any] = []
        heard: list[Any] = []

        @worker.handler("n")
        async def handler(payload: Any) -> None:
            began.append(payload)
            if payload == "slow":
                await pause(3600)

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
