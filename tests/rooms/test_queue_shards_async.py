"""A queue in several shards: it is used as any other, and its jobs are where they have to be."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import psycopg
import pytest

from mailgenius._native import key_slot
from mailgenius.errors import ConfigError, JobFailed, QueueFull, RedisUnavailable, ResultTimeout
from mailgenius.link import AsyncRedis
from mailgenius.pool import AsyncPool
from mailgenius.queue import AsyncQueue, AsyncShardedQueue, Event, Limit, NameCounts, Policy, Step
from mailgenius.queue.names import prefix, tag
from mailgenius.queue.outbox import AsyncOutbox
from mailgenius.queue.shards import home
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyCluster, ValkeyServer, valkey_cluster
from tests.queue_hand_async import Hand
from tests.redis_callers_async import cluster_url
from tests.waiting_async import until

SHARDS = 3


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


def queue_on(redis: AsyncRedis, shards: int = SHARDS, **options: Any) -> AsyncShardedQueue:
    return AsyncShardedQueue(redis, "q", shards=shards, unsafe=True, **options)


def hands_of(redis: AsyncRedis) -> list[Hand]:
    return [Hand(redis, "q", shard=shard) for shard in range(SHARDS)]


async def per_shard(queue: AsyncShardedQueue) -> list[int]:
    """Jobs that were added to each."""
    return [(await shard.counts()).total.added for shard in queue.shards]


def test_it_has_all_that_a_queue_has() -> None:
    ours = {"take", "taken"}  # of the relay, which knows of shards
    for name, method in inspect.getmembers(AsyncQueue, inspect.isfunction):
        if not name.startswith("_") and name not in ours:
            other = getattr(AsyncShardedQueue, name)
            assert inspect.signature(other) == inspect.signature(method), name
            assert other.__doc__, name


def test_keys_never_change() -> None:
    """Jobs are kept under them."""
    assert [tag("mail", shard) for shard in (0, 1, 2, 3)] == [
        "mail",
        "mail 1.76",
        "mail 2.47",
        "mail 3.1223",
    ]
    assert [home(key, 16) for key in ("g:gmail.com", "u:a", "b:part 0 of b", "g:é")] == [15, 8, 3, 11]
    with pytest.raises(ConfigError, match="without spaces"):
        prefix("mail 1.76")


def test_masters_share_shards_evenly() -> None:
    for masters, shards in ((3, 3), (3, 6), (3, 12), (6, 6), (6, 12)):
        uneven = 0
        for name in (f"queue-{n}" for n in range(100)):
            owners = [key_slot(tag(name, shard)) * masters // 16384 for shard in range(shards)]
            uneven += max(map(owners.count, range(masters))) > shards // masters
        assert uneven <= 5  # those whose first shard is at an end of a range


async def test_jobs_go_to_each_shard_in_turn(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, hands = queue_on(redis), hands_of(redis)
        ids = [await queue.add("send", n) for n in range(6)]
        assert [id.partition(".")[0] for id in ids if "." in id] == ["1", "2", "1", "2"]
        added = await queue.add_many("send", range(6, 5_006))
        assert len(set(ids) | set(added)) == 5_006
        assert await per_shard(queue) == [2_002, 2_002, 1_002]
        for n in (0, 1_500, 2_500, 4_999):
            job = await queue.show(added[n])
            assert job is not None
            assert (job.id, job.payload, job.state) == (added[n], n + 6, "waiting")
        payloads = [payload for hand in hands for payload in await hand.all()]
        assert sorted(payloads) == list(range(5_006))
        counts = await queue.counts()
        assert (counts.waiting, counts.active) == (0, 0)
        assert counts.names == {"send": NameCounts(added=5_006, done=5_006)}


async def test_keys_and_groups_stay_exact(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, other = queue_on(redis), queue_on(redis)
        for n in range(20):
            first = await queue.add("send", n, unique=f"key-{n}")
            assert await other.add("send", n, unique=f"key-{n}", unique_for=60) == first
        assert all(await per_shard(queue))
        assert sum(await per_shard(queue)) == 20
        for n in range(20):
            ids = [await one.add("send", n, group=f"g{n}", delay=60 * (n % 2)) for one in (queue, other)]
            ids += await queue.add_many("send", range(3), group=f"g{n}", batch=f"b{n}")
            assert list(await other.add_many("send", range(3), group=f"g{n}", batch=f"b{n}")) == ids[2:]
            assert len({queue.shard_of(id)[0] for id in ids}) == 1
        assert sum(await per_shard(queue)) == 20 + 20 * 5


async def test_a_batch_that_is_given_again_adds_nothing(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, other = queue_on(redis), queue_on(redis)
        await queue.add("send")  # it is another shard's turn
        added = await queue.add_many("send", range(9_500), batch="b")
        assert list(await other.add_many("send", range(9_500), batch="b")) == list(added)
        assert sum(await per_shard(queue)) == 9_501
        assert all(await per_shard(queue))
        with_end = await queue.add_many("send", range(120), batch="c", then=("report", None))
        again = await other.add_many("send", range(120), batch="c", then=("report", None))
        assert (list(again), again.then) == (list(with_end), with_end.then)
        flow = await queue.flow(("report", 1), [("send", n) for n in range(60)], batch="d")
        assert await other.flow(("report", 1), [("send", n) for n in range(60)], batch="d") == flow


async def test_flows_are_in_one_shard(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, hands = queue_on(redis), hands_of(redis)
        flows = [await queue.flow(("report", n), [("send", n), ("merge", n, [("read", n)])]) for n in range(3)]
        assert await per_shard(queue) == [4, 4, 4]
        job = await queue.show(flows[1].children[1].children[0].id)
        assert job is not None
        assert (job.name, job.payload) == ("read", 1)
        assert (await queue.page("blocked", 1)).jobs[0].id == flows[0].id
        many = await queue.add_many("send", range(10), then=("end", None), group="g")
        assert queue.shard_of(many.then)[0] is queue.shard_of(many[0])[0]
        apart = [f"g{n}" for n in range(20) if home(f"g:g{n}", SHARDS) != home("g:g", SHARDS)]
        with pytest.raises(ConfigError, match="one shard"):
            await queue.flow(Step("report", group="g"), [Step("send", group=apart[0])])
        with pytest.raises(ConfigError, match="one shard"):
            await queue.add_many("send", range(10), then=Step("end", group=apart[0]), group="g")
        done = [payload for hand in hands for payload in await hand.all()]
        assert len(done) == 12 + 11
        assert (await queue.counts()).total.open == 0


async def test_jobs_are_found_by_their_ids(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, hands = queue_on(redis), hands_of(redis)
        ids = [await queue.add("send", n, delay=60) for n in range(6)]
        assert await queue.promote(ids[:5]) == 5
        assert await queue.remove(["9.5-1", ids[5], "1.5-99", "rubbish"]) == {
            "9.5-1": "",
            ids[5]: "delayed",
            "1.5-99": "",
            "rubbish": "",
        }
        for shard, hand in zip(queue.shards, hands, strict=True):
            jobs = await hand.lease()
            await shard._do("note", 10, 60_000, jobs[0].id, "progress", b"\x07", jobs[0].id, "log", b"line")
            assert await queue.progress(shard.ids + jobs[0].id) == 7
            await hand.done(jobs[0], result="fine", keep=60_000)
            await hand.failed(*jobs[1:])
        kept = [id for id in ids[:3] if (await queue.show(id)) is not None]
        assert kept == ids[:3]
        assert [await queue.result(id) for id in ids[:3]] == ["fine"] * 3
        with pytest.raises(JobFailed, match=f"Job {ids[4]} of 'q'"):
            await queue.result(ids[4])
        with pytest.raises(ResultTimeout):
            await queue.result(await queue.add("send"), 0.01)
        assert await queue.log(ids[1]) == ["line"]
        assert await queue.progress(ids[1]) is None
        assert [job.id for job in (await queue.page("failed")).jobs] == [ids[3], ids[4]]
        assert await queue.retry([ids[4]]) == 1
        assert await queue.retry() == 1
        assert (await queue.counts()).failed == 0


async def test_pages_go_through_all_shards(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue = queue_on(redis)
        ids = [await queue.add("a" if n % 2 else "b", n) for n in range(20)]
        found: list[str] = []
        after, pages = None, 0
        while True:
            page = await queue.page("waiting", 7, after=after)
            found += [job.id for job in page.jobs]
            after, pages = page.after, pages + 1
            if after is None:
                break
        assert found == [id for shard in range(SHARDS) for id in ids[shard::SHARDS]]
        assert pages <= 6
        assert len((await queue.page("waiting", name="a")).jobs) == 10
        for wrong in ("9.1", "x"):
            with pytest.raises(ConfigError, match="cursor"):
                await queue.page("waiting", after=wrong)
        for limit in (0, 1001):
            with pytest.raises(ConfigError, match="limit"):
                await queue.page("waiting", limit)


async def test_limits_and_pauses(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, hands = queue_on(redis), hands_of(redis)
        await queue.limit(9, burst=6)
        await queue.limit(5, group="g")
        await queue.limit(2, per=60, group="*")
        assert await queue.limits() == {"": Limit(9, 1, 6), "g": Limit(5, 1, 5), "*": Limit(2, 60, 2)}
        await queue.limit(None)
        for n in range(30):
            await queue.add("send", n, group=f"domain-{n % 3}")
        assert [len(jobs) for jobs in [await hand.lease() for hand in hands] if jobs]
        assert (await queue.counts()).active == 6  # two of each
        assert await queue.pause()
        assert not await queue.pause()
        assert await queue.pause("g")
        counts = await queue.counts()
        assert (counts.paused, counts.paused_groups) == (True, ("g",))
        assert await queue.resume()
        assert await queue.resume("g")
        assert not (await queue.counts()).paused
        assert await queue.drain() == 24


async def test_many_jobs_are_cleaned(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, hands = queue_on(redis), hands_of(redis)
        await queue.add_many("send", range(9))
        for _ in range(9):
            await queue.add("later", delay=60)
            await queue.add("fail")
        for hand in hands:
            await hand.failed(*[job for job in await hand.lease() if job.frame.name == "fail"])
        assert await queue.clean("failed", limit=4) == 4
        assert await queue.clean("failed") == 5
        assert await queue.drain(delayed=True) == 9


async def test_a_full_shard_is_passed_over(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue = queue_on(redis, policy=Policy(max_waiting=30))
        await queue.shards[1].add_many("send", range(10))
        for _ in range(20):
            await queue.add("send")
        assert await per_shard(queue) == [10, 10, 10]
        with pytest.raises(QueueFull):
            await queue.add("send")


async def test_schedules_are_with_their_groups(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, hands = queue_on(redis), hands_of(redis)
        group = next(f"g{n}" for n in range(20) if home(f"g:g{n}", SHARDS) == 2)
        assert await queue.schedule("a", job="send", every=0.1)
        assert not await queue.schedule("a", job="send", every=0.1)
        assert await queue.schedule("b", job="send", every=0.1, group=group)
        assert sorted(one.name for one in await queue.schedules()) == ["a", "b"]
        assert await queue.schedule("a", job="send", every=0.1, group=group)
        assert len(await queue.schedules()) == 2

        async def both() -> bool:
            await queue.tick()
            return (await queue.counts()).waiting >= 2

        await until(both)
        assert len(await hands[2].lease()) >= 2
        assert await queue.unschedule("a")
        assert not await queue.unschedule("a")


async def test_events_of_all_shards(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, hands = queue_on(redis), hands_of(redis)
        begun = datetime.now(UTC) - timedelta(seconds=5)
        ids = [await queue.add("send", n) for n in range(6)]
        for hand in hands:
            await hand.done(*await hand.lease())
        events = [event async for event in queue.events(begun, kinds=("completed",), wait=0.3)]
        assert sorted(id for event in events for id in event.ids) == sorted(ids)
        rest = [event async for event in queue.events(events[2].cursor, wait=0.3)]
        assert sorted(event.ids for event in rest) == sorted(event.ids for event in events[3:])
        heard: list[Event] = []

        async def listen() -> None:
            async for event in queue.events(events[-1].cursor, wait=5.0):
                heard.append(event)
                if len(heard) == 2:
                    return

        listening = rt.spawn(listen)
        more = [await queue.add("send") for _ in range(3)]
        assert sorted(await queue.remove(more[1:])) == sorted(more[1:])
        await listening.join()
        assert sorted(id for event in heard for id in event.ids) == sorted(more[1:])
        with pytest.raises(ConfigError, match="shards"):
            _ = [event async for event in queue.events("0-0,0-0,0-0,0-0", wait=0.1)]


async def test_how_many_shards_there_are_is_said_once(url: str) -> None:
    async with AsyncRedis(url) as redis:
        await queue_on(redis).add("send")
        with pytest.raises(ConfigError, match="has 3 on the server, not 4"):
            await queue_on(redis, 4).add("send")
        with pytest.raises(ConfigError, match="has 3 on the server, not 2"):
            await queue_on(redis, 2).counts()
        with pytest.raises(ConfigError, match="3 shards on the server"):
            await AsyncQueue(redis, "q", unsafe=True).check()
        with pytest.raises(ConfigError, match="out of range"):
            queue_on(redis, 0)
        plain = AsyncQueue(redis, "plain", unsafe=True)
        await plain.add("send")
        with pytest.raises(ConfigError, match="has 1 on the server"):
            await AsyncShardedQueue(redis, "plain", shards=2).add("send")
        await plain.check()
        await AsyncShardedQueue(redis, "plain", shards=1, unsafe=True).add("send")
        await queue_on(redis).check()


async def test_the_number_of_shards_is_changed_on_purpose(url: str) -> None:
    async with AsyncRedis(url) as redis:
        queue, more = queue_on(redis), queue_on(redis, 6)
        await queue.limit(6, burst=6)
        await queue.limit(1, group="*")
        await queue.pause("g")
        await queue.add_many("send", range(3_000))
        assert await more.resize()
        assert not await more.resize()
        assert (await more.limits())[""] == Limit(6, 1, 6)
        assert (await more.shards[5].limits())["*"] == Limit(1, 1, 1)
        assert (await more.shards[5].counts()).paused_groups == ("g",)
        await more.add_many("send", range(6_000))
        assert (await more.counts()).waiting == 9_000
        with pytest.raises(ConfigError, match="shard 3 still has jobs"):
            await queue.resize()
        for shard in more.shards[3:]:
            await shard.drain()
        assert await queue_on(redis).resize()
        assert (await queue_on(redis).counts()).waiting == 6_000


async def test_jobs_of_a_transaction_find_their_shard(database: str, redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis, AsyncPool(database) as pool:
        queue, outbox = queue_on(redis), AsyncOutbox(pool, redis, unsafe=True)
        async with await psycopg.AsyncConnection.connect(database) as connection:
            ids = [await queue.add("send", n, connection=connection) for n in range(6)]
            ids += await queue.add_many("send", range(6, 126), connection=connection, group="g")
            await connection.commit()
        await outbox.flush()
        assert min(await per_shard(queue)) >= 2
        for n in (0, 1, 2, 100):
            job = await queue.show(ids[n])
            assert job is not None
            assert (job.id, job.payload) == (ids[n], n)


@pytest.mark.failover
async def test_adding_goes_on_while_a_master_is_away() -> None:
    with valkey_cluster(node_timeout=1.0) as cluster:
        async with AsyncRedis(cluster_url(cluster)) as redis:
            queue = queue_on(redis)
            ids = [await queue.add("send", n) for n in range(SHARDS)]
            cluster.owner(queue.shards[1].prefix + "q").kill()
            longest, end = 0.0, monotonic() + 1.0
            while monotonic() < end:
                begun = monotonic()
                ids.append(await queue.add("send", len(ids)))
                longest = max(longest, monotonic() - begun)
            assert longest < 1.0
            assert len(ids) > 50
            assert sum(id.startswith("1.") for id in ids) < 5

            async def back() -> bool:
                ids.append(await queue.add("send", len(ids)))
                return ids[-1].startswith("1.")

            await until(back, 30)
            assert (await queue.counts()).waiting == len(ids)


async def test_a_closed_link_is_no_shard_that_is_away(redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis:
        queue = queue_on(redis, timeout=0.2)
        await queue.add("send")
    with pytest.raises(RedisUnavailable):
        await queue.add("send")
