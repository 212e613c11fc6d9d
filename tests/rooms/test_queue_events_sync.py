# Made from test_queue_events_async.py by `python -m tools.twin`: edit that one.
"""Following a queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mailgenius.link import Redis
from mailgenius.queue import Event, Queue
from mailgenius.queue.event import events_of
from mailgenius.queue.scripts import script
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer, valkey
from tests.faults.proxy import FaultProxy, at, through
from tests.queue_hand_sync import Hand


def follow(queue: Queue, count: int, found: list[Event]) -> None:
    for event in queue.events(wait=20.0):
        found.append(event)
        if len(found) == count:
            return


def test_what_happens_is_told(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis, Redis(redis_versions.url) as other:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        begun = datetime.now(UTC)
        a, b, c, d = [str(id) for id in queue.add_many("a", range(4))]
        jobs = hand.lease()
        found: list[Event] = []
        following = rt.spawn(follow, Queue(other, "q"), 4, found)
        note = redis.script(script("note"))
        while not found and following.running:  # until it follows
            note((queue.prefix + "q",), ("", 10, 60_000, a, "progress", b"\x32"))
        hand.done(jobs[0])
        hand.failed(jobs[1])
        hand.later(jobs[2], 60_000)
        queue.remove([c])
        following.join()
        told = [event for event in queue.events(since=begun - timedelta(minutes=1), wait=0.01)]
        assert [(event.kind, event.ids, event.more) for event in told if event.kind != "progress"] == [
            ("completed", (a,), None),
            ("failed", (b,), "a"),
            ("retried", (c,), "a"),
            ("removed", (c,), None),
        ]
        assert (told[0].kind, told[0].ids, told[0].more) == ("progress", (a,), 50)
        assert found == told[told.index(found[0]) :][:4]
        assert abs(told[0].at - begun) < timedelta(seconds=10)
        rest = [event for event in queue.events(since=told[-2].cursor, wait=0.01)]
        assert rest == told[-1:]
        failed = [event for event in queue.events(since="0-0", kinds=("failed",), wait=0.01)]
        assert [event.ids for event in failed] == [(b,)]
        assert [event for event in queue.events(since=datetime.now(UTC) + timedelta(days=1), wait=0.01)] == []
        hand.done(jobs[3])
        assert d in [id for event in [e for e in queue.events(since=told[-1].cursor, wait=0.01)] for id in event.ids]


def test_a_lost_connection_loses_no_event(place: Path) -> None:
    with valkey(place / "v", port=0, settings={"requirepass": ""}) as server, FaultProxy(at(server)) as proxy:
        with Redis(through(proxy)) as far, Redis(server.url) as redis:
            queue = Queue(redis, "q", unsafe=True)
            hand, found = Hand(redis, "q"), list[Event]()
            following = rt.spawn(follow, Queue(far, "q"), 100, found)
            note = redis.script(script("note"))
            while not found and following.running:
                note((queue.prefix + "q",), ("", 10, 60_000, "0", "progress", b"\x01"))
            for n in range(120):
                if n % 10 == 0:
                    proxy.cut()
                queue.add("a", n)
                hand.all()
            following.join()
            everything = [event for event in queue.events(since=found[0].cursor, wait=0.01)]
            assert found[1:] == everything[:99]


def test_ids_that_follow_one_another_are_told_as_ranges() -> None:
    (event,) = events_of([(b"1700000000000-0", [b"e", b"completed", b"i", b"5-1 107-7..9 0-12", b"m", b""])])
    assert event.ids == ("5-1", "107-7", "107-8", "107-9", "0-12")
    assert event.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
