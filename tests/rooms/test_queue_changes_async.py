"""Removing, retrying, pausing, draining, limiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailgenius.errors import ConfigError
from mailgenius.link import AsyncRedis
from mailgenius.queue import AsyncQueue, Limit
from mailgenius.servers import ValkeyServer
from tests.queue_hand_async import Hand


async def test_remove_takes_a_job_from_wherever_it_is(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        many = list(await queue.add_many("a", range(4)))
        later = await queue.add("a", 9, delay=100)
        once = await queue.add("a", 10, unique="k", delay=100)
        jobs = await hand.lease(2)
        await hand.failed(jobs[0])
        states = await queue.remove([*many[:3], later, once, "5-999"])
        assert states == dict(zip(many, ("failed", "active", "waiting"), strict=False)) | {
            later: "delayed",
            once: "delayed",
            "5-999": "",
        }
        assert await redis.call("SMEMBERS", queue.prefix + "cancelled") == [many[1].encode()]
        assert await queue.add("a", 10, unique="k", delay=100) != once  # its key is free
        await hand.done(jobs[1])
        assert await hand.all() == [3]
        counts = await queue.counts()
        assert (counts.waiting, counts.active, counts.delayed, counts.failed) == (0, 0, 1, 0)
        assert (counts.total.added, counts.total.done, counts.total.failed, counts.total.removed) == (7, 2, 1, 3)
        assert await queue.remove(later) == {later: ""}


async def test_failed_jobs_start_anew(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        await queue.add_many("a", range(450), priority=2, group="example.com")
        while jobs := await hand.lease(500):
            await hand.failed(*jobs)
        failed = [job.id for job in (await queue.page("failed", 1000)).jobs]
        assert await queue.retry([*failed[:2], "5-999"]) == 2
        again = await hand.lease()
        assert {job.id for job in again} == set(failed[:2])
        assert [(job.frame.attempts, job.frame.options and job.frame.options.priority) for job in again] == [(0, 2)] * 2
        await hand.failed(*again)
        assert await queue.retry() == 450
        assert sorted(await hand.all()) == list(range(450))
        counts = await queue.counts()
        assert (counts.failed, counts.total.failed, counts.total.done, counts.total.open) == (0, 0, 450, 0)
        assert await queue.retry() == 0


async def test_attempts_are_kept_on_request(redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        await queue.add("a", 1)
        (job,) = await hand.lease()
        job.data = job.data[:1] + b"\x03" + job.data[2:]
        await hand.failed(job)
        assert await queue.retry(job.id, reset=False) == 1
        (job,) = await hand.lease()
        assert job.frame.attempts == 3


async def test_delayed_jobs_start_now(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        early = await queue.add("a", "early", delay=100, priority=9)
        await queue.add("a", "late", at=datetime.now(UTC) + timedelta(days=1))
        assert await queue.promote([early, "5-999"]) == 1
        assert await hand.all() == ["early"]
        assert (await queue.counts()).delayed == 1


async def test_a_paused_queue_gives_nothing(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        await queue.add_many("a", range(3), group="a")
        await queue.add_many("a", range(3, 6), group="b")
        assert await queue.pause()
        assert not await queue.pause()
        assert await hand.all() == []
        assert (await queue.counts()).paused
        assert await queue.resume()
        assert not await queue.resume()
        assert await queue.pause("a")
        assert await hand.all() == [3, 4, 5]
        assert (await queue.counts()).paused_groups == ("a",)
        page = await queue.page("waiting")
        assert [job.payload for job in page.jobs] == [0, 1, 2]
        assert await queue.resume("a")
        assert await hand.all() == [0, 1, 2]


async def test_drain_takes_all_that_waits(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        await queue.add_many("a", range(2600))
        await queue.add_many("b", range(50), group="g")
        await queue.remove([(await queue.page("waiting", 1)).jobs[0].id])
        own = [await queue.add("c", n, unique=str(n)) for n in range(450)]
        await queue.add("d", 1, delay=100)
        held = await hand.lease(10)
        await queue.pause("g")
        await hand.lease(0)
        assert await queue.drain() == 2600 - 1 - len(held) + 50 + 450
        counts = await queue.counts()
        assert (counts.waiting, counts.active, counts.delayed) == (0, len(held), 1)
        assert await queue.drain(delayed=True) == 1
        assert await queue.add("c", 0, unique="0") != own[0]
        await hand.done(*held)
        assert await hand.all() == [0]
        assert (await queue.counts()).total.open == 0
        assert await redis.call("HLEN", queue.prefix + "where") == 0


async def test_clean_forgets_what_has_ended(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        await queue.add_many("a", range(500))
        jobs = await hand.lease(500)
        await hand.failed(*jobs[:450])
        await hand.done(*jobs[450:])
        assert await queue.clean("failed", older_than=3600) == 0
        assert await queue.clean("failed", limit=50) == 50
        assert [job.payload for job in (await queue.page("failed", 1000)).jobs][-1] == 50  # the oldest went first
        assert await queue.clean("failed") == 400
        assert await redis.call("EXISTS", queue.prefix + "errors", queue.prefix + "jobs", queue.prefix + "dead") == 0
        assert await queue.clean("done", limit=20) == 20
        assert [job.payload for job in (await queue.page("done")).jobs][-1] == 470
        assert await queue.clean("done") == 30
        assert await queue.clean("done") == 0
        with pytest.raises(ConfigError, match=r"drain\(\) is for waiting ones"):
            await queue.clean("waiting")  # type: ignore[arg-type]


async def test_limits_of_the_queue_and_its_groups(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        for group in ("a", "b", "c"):
            await queue.add_many("a", range(10), group=group)
        await queue.limit(3, 3600)
        await queue.limit(2, 3600, group="*")
        await queue.limit(100, 3600, burst=5, group="c")
        assert await queue.limits() == {"": Limit(3, 3600, 3), "*": Limit(2, 3600, 2), "c": Limit(100, 3600, 5)}
        assert sum([len(await hand.lease()) for _ in range(4)]) == 3
        await queue.limit(None)
        given = [len(await hand.lease()) for _ in range(4)]
        assert sum(given) == 2 + 2 + 5 - 3
        assert 0 < hand.due <= 1800_000
        await queue.limit(None, group="*")
        assert len(await hand.lease()) + len(await hand.lease()) == 16  # what was held back may go
        await queue.limit(None, group="c")
        assert len(await hand.lease()) == 5
        assert await queue.limits() == {}
        with pytest.raises(ConfigError, match=r"\$.queue.limit.rate: 0 is out of range"):
            await queue.limit(0)
        with pytest.raises(ConfigError, match=r"\$.queue.group: 'a b' has spaces"):
            await queue.limit(1, group="a b")


async def test_replacing_a_job_counts_the_one_that_gives_way(redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis:
        queue = AsyncQueue(redis, "q", unsafe=True)
        old = await queue.add("old", 1, delay=100, unique="k")
        new = await queue.add("new", 2, delay=200, unique="k", replace=True)
        assert old != new
        names = (await queue.counts()).names
        assert (names["old"].removed, names["new"].removed) == (1, 0)
        assert await queue.show(old) is None
