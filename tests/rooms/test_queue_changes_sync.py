# Made from test_queue_changes_async.py by `python -m tools.twin`: edit that one.
"""Removing, retrying, pausing, draining, limiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailgenius.errors import ConfigError
from mailgenius.link import Redis
from mailgenius.queue import Limit, Queue
from mailgenius.servers import ValkeyServer
from tests.queue_hand_sync import Hand


def test_remove_takes_a_job_from_wherever_it_is(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        many = list(queue.add_many("a", range(4)))
        later = queue.add("a", 9, delay=100)
        once = queue.add("a", 10, unique="k", delay=100)
        jobs = hand.lease(2)
        hand.failed(jobs[0])
        states = queue.remove([*many[:3], later, once, "5-999"])
        assert states == dict(zip(many, ("failed", "active", "waiting"), strict=False)) | {
            later: "delayed",
            once: "delayed",
            "5-999": "",
        }
        assert redis.call("SMEMBERS", queue.prefix + "cancelled") == [many[1].encode()]
        assert queue.add("a", 10, unique="k", delay=100) != once  # its key is free
        hand.done(jobs[1])
        assert hand.all() == [3]
        counts = queue.counts()
        assert (counts.waiting, counts.active, counts.delayed, counts.failed) == (0, 0, 1, 0)
        assert (counts.total.added, counts.total.done, counts.total.failed, counts.total.removed) == (7, 2, 1, 3)
        assert queue.remove(later) == {later: ""}


def test_failed_jobs_start_anew(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        queue.add_many("a", range(450), priority=2, group="example.com")
        while jobs := hand.lease(500):
            hand.failed(*jobs)
        failed = [job.id for job in (queue.page("failed", 1000)).jobs]
        assert queue.retry([*failed[:2], "5-999"]) == 2
        again = hand.lease()
        assert {job.id for job in again} == set(failed[:2])
        assert [(job.frame.attempts, job.frame.options and job.frame.options.priority) for job in again] == [(0, 2)] * 2
        hand.failed(*again)
        assert queue.retry() == 450
        assert sorted(hand.all()) == list(range(450))
        counts = queue.counts()
        assert (counts.failed, counts.total.failed, counts.total.done, counts.total.open) == (0, 0, 450, 0)
        assert queue.retry() == 0


def test_attempts_are_kept_on_request(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        queue.add("a", 1)
        (job,) = hand.lease()
        job.data = job.data[:1] + b"\x03" + job.data[2:]
        hand.failed(job)
        assert queue.retry(job.id, reset=False) == 1
        (job,) = hand.lease()
        assert job.frame.attempts == 3


def test_delayed_jobs_start_now(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        early = queue.add("a", "early", delay=100, priority=9)
        queue.add("a", "late", at=datetime.now(UTC) + timedelta(days=1))
        assert queue.promote([early, "5-999"]) == 1
        assert hand.all() == ["early"]
        assert (queue.counts()).delayed == 1


def test_a_paused_queue_gives_nothing(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        queue.add_many("a", range(3), group="a")
        queue.add_many("a", range(3, 6), group="b")
        assert queue.pause()
        assert not queue.pause()
        assert hand.all() == []
        assert (queue.counts()).paused
        assert queue.resume()
        assert not queue.resume()
        assert queue.pause("a")
        assert hand.all() == [3, 4, 5]
        assert (queue.counts()).paused_groups == ("a",)
        page = queue.page("waiting")
        assert [job.payload for job in page.jobs] == [0, 1, 2]
        assert queue.resume("a")
        assert hand.all() == [0, 1, 2]


def test_drain_takes_all_that_waits(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        queue.add_many("a", range(2600))
        queue.add_many("b", range(50), group="g")
        queue.remove([(queue.page("waiting", 1)).jobs[0].id])
        own = [queue.add("c", n, unique=str(n)) for n in range(450)]
        queue.add("d", 1, delay=100)
        held = hand.lease(10)
        queue.pause("g")
        hand.lease(0)
        assert queue.drain() == 2600 - 1 - len(held) + 50 + 450
        counts = queue.counts()
        assert (counts.waiting, counts.active, counts.delayed) == (0, len(held), 1)
        assert queue.drain(delayed=True) == 1
        assert queue.add("c", 0, unique="0") != own[0]
        hand.done(*held)
        assert hand.all() == [0]
        assert (queue.counts()).total.open == 0
        assert redis.call("HLEN", queue.prefix + "where") == 0


def test_clean_forgets_what_has_ended(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        queue.add_many("a", range(500))
        jobs = hand.lease(500)
        hand.failed(*jobs[:450])
        hand.done(*jobs[450:])
        assert queue.clean("failed", older_than=3600) == 0
        assert queue.clean("failed", limit=50) == 50
        assert [job.payload for job in (queue.page("failed", 1000)).jobs][-1] == 50  # the oldest went first
        assert queue.clean("failed") == 400
        assert redis.call("EXISTS", queue.prefix + "errors", queue.prefix + "jobs", queue.prefix + "dead") == 0
        assert queue.clean("done", limit=20) == 20
        assert [job.payload for job in (queue.page("done")).jobs][-1] == 470
        assert queue.clean("done") == 30
        assert queue.clean("done") == 0
        with pytest.raises(ConfigError, match=r"drain\(\) is for waiting ones"):
            queue.clean("waiting")  # type: ignore[arg-type]


def test_limits_of_the_queue_and_its_groups(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        for group in ("a", "b", "c"):
            queue.add_many("a", range(10), group=group)
        queue.limit(3, 3600)
        queue.limit(2, 3600, group="*")
        queue.limit(100, 3600, burst=5, group="c")
        assert queue.limits() == {"": Limit(3, 3600, 3), "*": Limit(2, 3600, 2), "c": Limit(100, 3600, 5)}
        assert sum([len(hand.lease()) for _ in range(4)]) == 3
        queue.limit(None)
        given = [len(hand.lease()) for _ in range(4)]
        assert sum(given) == 2 + 2 + 5 - 3
        assert 0 < hand.due <= 1800_000
        queue.limit(None, group="*")
        assert len(hand.lease()) + len(hand.lease()) == 16  # what was held back may go
        queue.limit(None, group="c")
        assert len(hand.lease()) == 5
        assert queue.limits() == {}
        with pytest.raises(ConfigError, match=r"\$.queue.limit.rate: 0 is out of range"):
            queue.limit(0)
        with pytest.raises(ConfigError, match=r"\$.queue.group: 'a b' has spaces"):
            queue.limit(1, group="a b")


def test_replacing_a_job_counts_the_one_that_gives_way(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue = Queue(redis, "q", unsafe=True)
        old = queue.add("old", 1, delay=100, unique="k")
        new = queue.add("new", 2, delay=200, unique="k", replace=True)
        assert old != new
        names = (queue.counts()).names
        assert (names["old"].removed, names["new"].removed) == (1, 0)
        assert queue.show(old) is None
