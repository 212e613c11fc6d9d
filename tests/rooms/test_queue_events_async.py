"""Following a queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mailgenius.link import AsyncRedis
from mailgenius.queue import AsyncQueue, Event
from mailgenius.queue.event import events_of
from mailgenius.queue.scripts import script
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyServer, valkey
from tests.faults.proxy import FaultProxy, at, through
from tests.queue_hand_async import Hand


async def follow(queue: AsyncQueue, count: int, found: list[Event]) -> None:
    async for event in queue.events(wait=20.0):
        found.append(event)
        if len(found) == count:
            return


async def test_what_happens_is_told(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis, AsyncRedis(redis_versions.url) as other:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        begun = datetime.now(UTC)
        a, b, c, d = [str(id) for id in await queue.add_many("a", range(4))]
        jobs = await hand.lease()
        found: list[Event] = []
        following = rt.spawn(follow, AsyncQueue(other, "q"), 4, found)
        note = redis.script(script("note"))
        while not found and following.running:  # until it follows
            await note((queue.prefix + "q",), ("", 10, 60_000, a, "progress", b"\x32"))
        await hand.done(jobs[0])
        await hand.failed(jobs[1])
        await hand.later(jobs[2], 60_000)
        await queue.remove([c])
        await following.join()
        told = [event async for event in queue.events(since=begun - timedelta(minutes=1), wait=0.01)]
        assert [(event.kind, event.ids, event.more) for event in told if event.kind != "progress"] == [
            ("completed", (a,), None),
            ("failed", (b,), "a"),
            ("retried", (c,), "a"),
            ("removed", (c,), None),
        ]
        assert (told[0].kind, told[0].ids, told[0].more) == ("progress", (a,), 50)
        assert found == told[told.index(found[0]) :][:4]
        assert abs(told[0].at - begun) < timedelta(seconds=10)
        rest = [event async for event in queue.events(since=told[-2].cursor, wait=0.01)]
        assert rest == told[-1:]
        failed = [event async for event in queue.events(since="0-0", kinds=("failed",), wait=0.01)]
        assert [event.ids for event in failed] == [(b,)]
        assert [event async for event in queue.events(since=datetime.now(UTC) + timedelta(days=1), wait=0.01)] == []
        await hand.done(jobs[3])
        assert d in [
            id for event in [e async for e in queue.events(since=told[-1].cursor, wait=0.01)] for id in event.ids
        ]


async def test_a_lost_connection_loses_no_event(place: Path) -> None:
    with valkey(place / "v", port=0, settings={"requirepass": ""}) as server, FaultProxy(at(server)) as proxy:
        async with AsyncRedis(through(proxy)) as far, AsyncRedis(server.url) as redis:
            queue = AsyncQueue(redis, "q", unsafe=True)
            hand, found = Hand(redis, "q"), list[Event]()
            following = rt.spawn(follow, AsyncQueue(far, "q"), 100, found)
            note = redis.script(script("note"))
            while not found and following.running:
                await note((queue.prefix + "q",), ("", 10, 60_000, "0", "progress", b"\x01"))
            for n in range(120):
                if n % 10 == 0:
                    proxy.cut()
                await queue.add("a", n)
                await hand.all()
            await following.join()
            everything = [event async for event in queue.events(since=found[0].cursor, wait=0.01)]
            assert found[1:] == everything[:99]


def test_ids_that_follow_one_another_are_told_as_ranges() -> None:
    (event,) = events_of([(b"1700000000000-0", [b"e", b"completed", b"i", b"5-1 107-7..9 0-12", b"m", b""])])
    assert event.ids == ("5-1", "107-7", "107-8", "107-9", "0-12")
    assert event.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
