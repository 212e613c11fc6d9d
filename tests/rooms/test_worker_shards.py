"""A worker of a queue in several shards: one server or the masters of a Cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailgenius import AsyncRedis
from mailgenius.errors import ConfigError, JobFailed
from mailgenius.queue import AsyncShardedQueue, Backoff, Policy
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyCluster, ValkeyServer, valkey_cluster
from mailgenius.worker import Job, Worker
from tests.queue_hand_async import Hand
from tests.redis_callers_async import cluster_url
from tests.rooms.test_worker import holds, pause, running
from tests.rooms.test_worker_deaths import Child
from tests.waiting_async import until

SHARDS = 3
QUICK = Policy(backoff=Backoff("fixed", 0.01, jitter=0))


@pytest.fixture(scope="module")
def clusters() -> Iterator[ValkeyCluster]:
    with valkey_cluster() as made:
        yield made


@pytest.fixture(params=["standalone", "cluster"])
def url(request: pytest.FixtureRequest, redis_server: ValkeyServer) -> str:
    """Of an empty server."""
    if request.param == "standalone":
        return redis_server.url
    cluster: ValkeyCluster = request.getfixturevalue("clusters")
    for node in cluster.masters():
        node.ask("FLUSHALL")
    return cluster_url(cluster)


@contextlib.asynccontextmanager
async def queue_on(url: str, policy: Policy = QUICK) -> AsyncIterator[AsyncShardedQueue]:
    async with AsyncRedis(url) as redis:
        yield AsyncShardedQueue(redis, "mail", shards=SHARDS, policy=policy, unsafe=True)


async def ended(queue: AsyncShardedQueue) -> None:
    async def all() -> bool:
        return (await queue.counts()).total.open == 0

    await until(all, 20)


async def nothing_left(queue: AsyncShardedQueue) -> None:
    for shard in queue.shards:
        for key in ("leased", "leases", "where", "finished", "jobs", "held"):
            assert not await queue.redis.call("EXISTS", shard.prefix + key), key


def far(number: int, job: Job) -> str:
    """Runs in a process of its own."""
    if not job.attempts:
        raise ValueError("once more")
    return job.id


@pytest.mark.parametrize("keeper", [False, True])
async def test_jobs_of_all_shards_run_once_each(url: str, keeper: bool) -> None:
    got: Counter[str] = Counter()
    many: list[int] = []
    async with queue_on(url) as queue:
        worker = Worker(queue, keeper=keeper)
        worker.on("completed", lambda job, result: got.update([job.id]))

        @worker.handler("send")
        async def send(number: int) -> None:
            many.append(number)

        @worker.handler("plain")
        def plain(number: int) -> None:
            many.append(number)

        async with running(worker):
            ids = list(await queue.add_many("send", range(6_000)))
            ids += await queue.add_many("plain", range(6_000, 9_000))
            ids += [await queue.add("send", number) for number in range(9_000, 9_030)]
            await ended(queue)
            await holds(lambda: len(got) == len(ids))
            metrics = worker.metrics()
            assert (metrics.done, metrics.leased) == (9_030, 9_030)
            assert (metrics.keeper is not None) == keeper
        assert set(got) == set(ids)
        assert max(got.values()) == 1
        assert sorted(many) == list(range(9_030))
        await nothing_left(queue)


@pytest.mark.parametrize("plain", [False, True])
async def test_limits_of_concurrency_hold_over_all_shards(url: str, plain: bool) -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    async with queue_on(url) as queue:
        worker = Worker(queue, keeper=False, concurrency=4)

        def count(by: int) -> None:
            nonlocal at_once, most
            with lock:
                at_once += by
                most = max(most, at_once)

        if plain:

            @worker.handler("send")
            def send(number: int) -> None:
                count(1)
                threading.Event().wait(0.005)
                count(-1)

        else:

            @worker.handler("send")
            async def send(number: int) -> None:
                count(1)
                await pause(0.005)
                count(-1)

        await queue.add_many("send", range(10))
        for number in range(200):
            await queue.add("send", number)
        async with running(worker):
            await ended(queue)
            assert most == 4
            assert worker.metrics().leased == 210


async def test_no_shard_waits_for_the_others(url: str) -> None:
    """One place, and work for hours in one shard."""
    done: list[str] = []
    async with queue_on(url) as queue:
        worker = Worker(queue, keeper=False, concurrency=1)

        @worker.handler("send")
        async def send(number: int, job: Job) -> None:
            await pause(0.001)
            done.append(job.id)

        await queue.shards[1].add_many("send", range(100_000))
        async with running(worker):
            await holds(lambda: len(done) > 5)
            id = await queue.shards[2].add("send", 1)
            before = len(done)
            await holds(lambda: f"2.{id}" in done)
            assert len(done) < before + 500
            assert await queue.drain() > 0


async def test_what_a_job_says_is_heard_in_its_shard(url: str) -> None:
    async with queue_on(url) as queue:
        worker = Worker(queue, keeper=False)
        failed: list[str] = []
        worker.on("failed", lambda job, error: failed.append(job.id))

        @worker.handler("send", keep_result=60)
        async def send(number: int, job: Job) -> str:
            if number > 2:
                raise JobFailed("no")
            job.log(f"I am {job.id}")
            return f"done {number}"

        worker.handler("far", process=True)(far)
        ids = [await queue.add("send", number) for number in range(6)]
        fars = [await queue.add("far", number, keep_result=60) for number in range(3)]
        async with running(worker):
            await ended(queue)
            assert [await queue.result(id, 5) for id in ids[:3]] == [f"done {number}" for number in range(3)]
            for id in ids[:3]:
                assert await queue.log(id) == [f"I am {id}"]
            for id in fars:
                assert await queue.result(id, 5) == id
            assert sorted(failed) == sorted(ids[3:])
            assert {job.id for job in (await queue.page("failed")).jobs} == set(ids[3:])
            assert {job.id for job in (await queue.page("done")).jobs} >= set(ids[:3] + fars)


async def test_the_job_that_is_removed_is_cancelled_and_no_other_of_its_place(url: str) -> None:
    """Ids of different shards are equal but for the shard."""
    async with queue_on(url) as queue:
        worker = Worker(queue, keeper=True)
        ended: list[str] = []

        @worker.handler("wait")
        async def wait(number: int, job: Job) -> None:
            try:
                await rt.wait(rt.Event(), 30)
            except asyncio.CancelledError:
                ended.append(job.id)
                raise

        ids = [await queue.add("wait", number) for number in range(SHARDS)]
        assert len({id.rpartition(".")[2] for id in ids}) == 1

        async def all_run() -> bool:
            return (await queue.counts()).active == SHARDS

        async with running(worker):
            await until(all_run)
            assert await queue.remove([ids[1]]) == {ids[1]: "active"}
            await holds(lambda: ended == [ids[1]])
            await queue.remove(ids)
            await holds(lambda: sorted(ended) == sorted(ids))


async def test_jobs_that_come_alone_run_alone(url: str) -> None:
    """Their last worker died with them, in two shards."""
    async with queue_on(url) as queue:
        await queue.add_many("send", range(2), group="a")
        for number in range(6):
            await queue.add("send", number)
        for shard in range(SHARDS):
            hand = Hand(queue.redis, "mail", "dead", shard=shard)
            leased = await hand.lease(2)
            indexes = b"".join(job.index.to_bytes(2, "big") for job in leased)
            await hand.run("back", leased[0].token, indexes, b"")
        at_once: list[str] = []
        alone: list[bool] = []
        worker = Worker(queue, keeper=False)

        @worker.handler("send")
        async def send(number: int, job: Job) -> None:
            at_once.append(job.id)
            await pause(0.005)
            if job.stalls:
                alone.append(len(at_once) == 1)
            at_once.remove(job.id)

        async with running(worker):
            for number in range(300):
                await queue.add("send", number)
            await ended(queue)
        assert len(alone) >= 5
        assert all(alone)


async def test_recipients_of_a_bulk_job_and_schedules(url: str) -> None:
    async with queue_on(url) as queue:
        worker = Worker(queue, keeper=False)
        sent: list[int] = []

        @worker.bulk("bulk", size=10)
        async def bulk(item: int) -> None:
            if item == 7 and sent.count(7) == 0:
                sent.append(7)
                raise ValueError("once more")
            sent.append(item)

        @worker.handler("tick")
        async def tick(payload: Any) -> None:
            sent.append(payload)

        await queue.schedule("often", job="tick", payload=-1, every=0.1)
        ids = [await queue.add("bulk", list(range(20))) for _ in range(SHARDS)]
        async with running(worker):
            results = [await queue.result(id, 10) for id in ids]
            assert sum(result["done"] for result in results) == 59
            ((_, retried),) = [pair for result in results for pair in result["retried"].items()]
            assert (await queue.result(retried, 10))["done"] == 1
            await holds(lambda: sent.count(-1) >= 2)


async def test_it_refuses_another_number_of_shards(redis_server: ValkeyServer) -> None:
    async with queue_on(redis_server.url) as queue:
        await queue.add("send")

        async def send(number: int) -> None: ...

        for worker in (
            Worker("mail", url=redis_server.url, unsafe=True),
            Worker("mail", url=redis_server.url, shards=2, unsafe=True),
        ):
            worker.handler("send")(send)
            with pytest.raises(ConfigError, match="shards"):
                await worker.run()
        with pytest.raises(ConfigError, match="says itself"):
            Worker(queue, shards=3)
        worker = Worker("mail", url=redis_server.url, shards=SHARDS, unsafe=True)
        worker.handler("send")(send)
        async with running(worker):
            await ended(queue)


async def test_what_a_killed_worker_had_in_all_shards_is_given_back_at_once(
    redis_server: ValkeyServer, tmp_path: Path
) -> None:
    async with queue_on(redis_server.url) as queue:
        for number in range(SHARDS):
            await queue.add("hang", number)
        child = Child(redis_server.url, tmp_path / "journal", f"shards={SHARDS}")
        try:
            await holds(lambda: len(child.lines()) == SHARDS)
            await queue.add_many("note", range(10))
            os.kill(child.process.pid, signal.SIGKILL)

            async def back() -> bool:
                counts = await queue.counts()
                return (counts.active, counts.stalled) == (0, SHARDS)

            await until(back, 1.0)  # well before leases end
        finally:
            child.close()


@pytest.mark.failover
async def test_it_begins_and_works_while_a_master_is_away() -> None:
    done: list[str] = []
    with valkey_cluster(3, 0, settings={"cluster-require-full-coverage": "no"}) as cluster:
        async with queue_on(cluster_url(cluster)) as queue:
            ids = [await queue.add("send", number) for number in range(30)]
            victim = cluster.owner(queue.shards[1].prefix + "q")
            victim.kill()
            worker = Worker(queue)
            worker.on("error", lambda error: None)

            @worker.handler("send")
            async def send(number: int, job: Job) -> None:
                done.append(job.id)

            async with running(worker):
                await holds(lambda: len(done) == 20, 20)
                assert not any(id.startswith("1.") for id in done)
                victim.start()
                await holds(lambda: len(done) == 30, 20)
                assert sorted(done) == sorted(ids)
                await ended(queue)
