# Made from test_queue_schedules_async.py by `python -m tools.twin`: edit that one.
"""Jobs that come again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailgenius.errors import ConfigError
from mailgenius.link import Redis
from mailgenius.queue import Queue
from mailgenius.queue.views import when
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer
from tests.queue_hand_sync import Hand

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday


def at(queue: Queue, time: datetime) -> None:
    """The server's clock shows this."""
    queue._clock = str(round(time.timestamp() * 1000))


def test_a_schedule_adds_its_job_when_it_is_due(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        at(queue, NOON)
        day = {"cron": "0 9 * * 1-5", "tz": "America/Sao_Paulo", "job": "report", "payload": {"day": 1}, "priority": 2}
        assert queue.schedule("daily", **day)
        assert not queue.schedule("daily", **day)  # every start of a program says so
        assert queue.schedule("often", every=90, job="sweep")
        often, daily = queue.schedules()
        assert (often.name, often.every, often.due_at) == ("often", 90.0, NOON + timedelta(seconds=90))
        assert daily.due_at == datetime(2026, 3, 3, 12, tzinfo=UTC)  # 9:00 was now
        assert (daily.job, daily.payload, daily.cron, daily.tz) == (
            "report",
            {"day": 1},
            "0 9 * * 1-5",
            "America/Sao_Paulo",
        )
        assert queue.tick() == 0

        at(queue, NOON + timedelta(seconds=91))
        assert queue.tick() == 1
        assert queue.tick() == 0
        at(queue, NOON + timedelta(days=5, seconds=1))  # Saturday; nobody looked for days
        assert queue.tick() == 2  # once each
        often, daily = queue.schedules()
        assert often.due_at == NOON + timedelta(days=5, seconds=90)  # in step with the first time
        assert daily.due_at == datetime(2026, 3, 9, 12, tzinfo=UTC)
        jobs = (queue.page("waiting")).jobs
        assert [(job.name, job.priority, job.payload) for job in jobs] == [
            ("report", 2, {"day": 1}),
            ("sweep", 5, None),
            ("sweep", 5, None),
        ]
        assert jobs[0].added_at == NOON + timedelta(days=5, seconds=1)
        assert (queue.counts()).names["sweep"].added == 2
        assert len(hand.lease()) == 3

        assert queue.unschedule("often")
        assert not queue.unschedule("often")
        at(queue, NOON + timedelta(days=6))
        assert queue.tick() == 0
        assert [one.name for one in queue.schedules()] == ["daily"]


def test_another_schedule_of_the_same_name_takes_its_place(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue = Queue(redis, "q", unsafe=True)
        at(queue, NOON)
        assert queue.schedule("s", every=100, job="a")
        assert queue.schedule("s", every=50, job="b")
        (one,) = queue.schedules()
        assert (one.job, one.due_at) == ("b", NOON + timedelta(seconds=50))


def test_two_who_see_it_at_once_let_it_in_once(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queues = [Queue(redis, "q", unsafe=True) for _ in range(8)]
        at(queues[0], NOON)
        for n in range(20):
            queues[0].schedule(str(n), cron="* * * * *", job="a", payload=n)
        for minute in range(1, 6):
            for queue in queues:
                at(queue, NOON + timedelta(minutes=minute))
            ticks = [rt.spawn(queue.tick) for queue in queues]
            assert sum([one.join() for one in ticks]) == 20
        assert (queues[0].counts()).waiting == 100


def test_a_worker_is_told_that_a_schedule_is_due(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        queue.schedule("soon", every=0.1, job="a")
        hand.lease()
        assert hand.cron or 0 <= hand.due <= 100
        while not hand.cron:
            hand.lease()
        assert queue.tick() == 1
        assert len(hand.lease()) == 1


def test_a_schedule_that_cannot_be_read_is_put_off(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue = Queue(redis, "q", unsafe=True)
        at(queue, NOON)
        queue.schedule("a", every=1, job="a")
        redis.call("HSET", queue.prefix + "cron", "a", b"\x01")
        at(queue, NOON + timedelta(seconds=2))
        assert queue.tick() == 0
        assert queue.tick() == 0
        due = redis.call("ZSCORE", queue.prefix + "cron_due", "a")
        assert when(float(due)) == NOON + timedelta(seconds=62)
        assert (queue.counts()).waiting == 0


def test_what_makes_no_schedule_is_refused(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue = Queue(redis, "q", unsafe=True)
        with pytest.raises(ConfigError, match="give cron or every, one of them"):
            queue.schedule("a", job="a")
        with pytest.raises(ConfigError, match="give cron or every, one of them"):
            queue.schedule("a", job="a", cron="* * * * *", every=3)
        with pytest.raises(ConfigError, match=r"every: 0.01 is out of range"):
            queue.schedule("a", job="a", every=0.01)
        with pytest.raises(ConfigError, match=r"\$.queue.schedule.tz"):
            queue.schedule("a", job="a", cron="* * * * *", tz="Nowhere")
        with pytest.raises(ConfigError, match=r"\$.queue.schedule.name: '' has 0 bytes"):
            queue.schedule("", job="a", every=3)
