# Made from test_queue_inspection_async.py by `python -m tools.twin`: edit that one.
"""Looking at the jobs of a queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailgenius.errors import ConfigError, JobFailed, NotFound, ResultTimeout
from mailgenius.link import Redis
from mailgenius.queue import Queue
from mailgenius.queue.scripts import script
from mailgenius.queue.states import StateName
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer
from tests.queue_hand_sync import Hand


def ids(queue: Queue, state: StateName, limit: int, name: str = "") -> list[str]:
    """Of all pages."""
    found: list[str] = []
    after: str | None = None
    while True:
        page = queue.page(state, limit, after=after, name=name)
        assert len(page) <= limit
        found += [job.id for job in page.jobs]
        if page.after is None:
            return found
        after = page.after


def test_counts_say_what_is_there_and_what_has_been(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        counts = queue.counts()
        assert (counts.waiting, counts.active, counts.names, counts.paused) == (0, 0, {}, False)
        queue.add_many("a", range(10))
        queue.add("b", 1, delay=100)
        jobs = hand.lease(6)
        hand.done(*jobs[:2])
        hand.failed(jobs[2])
        hand.later(jobs[3], 60_000)
        counts = queue.counts()
        assert (counts.waiting, counts.active, counts.delayed, counts.failed, counts.done) == (4, 2, 2, 1, 2)
        a = counts.names["a"]
        assert (a.added, a.done, a.failed, a.removed, a.open) == (10, 2, 1, 0, 7)
        assert (counts.total.added, counts.total.open, counts.retried) == (11, 8, 1)


def test_pages_of_waiting_jobs_are_in_order_and_whole(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        expected = [str(id) for id in queue.add_many("urgent", range(5), priority=1)]
        expected += list(queue.add_many("plain", range(2500)))
        for group in ("b", "a"):
            expected += list(queue.add_many("grouped", range(30), group=group))
        assert ids(queue, "waiting", 1000) == expected
        assert ids(queue, "waiting", 7) == expected
        assert ids(queue, "waiting", 50, "grouped") == expected[-60:]
        first = (queue.page("waiting", 1)).jobs[0]
        assert (first.payload, first.name, first.priority, first.state) == (0, "urgent", 1, "waiting")
        page = queue.page("waiting", 100)
        assert len(hand.lease(5)) == 5  # what comes and goes between pages leaves the others where they are
        queue.add("urgent", 1, priority=1)
        rest = queue.page("waiting", 100, after=page.after)
        assert [job.id for job in rest.jobs] == expected[100:200]


def test_pages_of_jobs_in_sorted_sets_take_equal_times(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        when = datetime.now(UTC) + timedelta(hours=1)
        delayed = sorted([queue.add("later", n, at=when) for n in range(25)])
        assert ids(queue, "delayed", 4) == delayed
        job = (queue.page("delayed", 1)).jobs[0]
        assert job.due_at is not None
        assert abs(job.due_at - when) < timedelta(milliseconds=2)
        page = queue.page("delayed", 10)
        assert page.after is not None
        redis.call("ZREM", queue.prefix + "delayed", delayed[9])  # the one that the cursor names
        assert [job.id for job in (queue.page("delayed", 5, after=page.after)).jobs] == delayed[10:15]

        queue._clock = hand_clock = "5000"
        queue.add_many("bad", range(20))
        jobs = hand.lease(20)
        hand.failed(*jobs, why="the mailbox is full")
        for id in [job.id for job in jobs]:
            redis.call("ZADD", queue.prefix + "dead", hand_clock, id)
        failed = ids(queue, "failed", 6)
        assert failed == sorted(failed, reverse=True)
        assert set(failed) == {job.id for job in jobs}
        assert (queue.page("failed", 1)).jobs[0].error == "ValueError: the mailbox is full"


def test_active_and_done_jobs(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand, other = Queue(redis, "q", unsafe=True), Hand(redis, "q"), Hand(redis, "q", "other")
        added = list(queue.add_many("a", range(60)))
        mine = hand.lease(20)
        theirs = other.lease(20)
        hand.done(*mine[:5])
        assert ids(queue, "active", 7) == added[5:40]
        page = queue.page("active", 16)
        assert {job.worker for job in page.jobs} == {"hand", "other"}
        other.done(*theirs)
        assert ids(queue, "done", 4) == [*reversed(added[20:40]), *reversed(added[:5])]
        done = (queue.page("done", 1)).jobs[0]
        assert (done.payload, done.worker, done.took, done.attempts) == (39, "other", 0.5, 1)


def test_show_tells_what_is_known_of_a_job(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        assert queue.show("5-1") is None
        id = queue.add("a", {"lead": 1}, keep_result=60, group="example.com")
        job = queue.show(id)
        assert job is not None
        assert (job.state, job.payload, job.group, job.worker) == ("waiting", {"lead": 1}, "example.com", "")
        assert job.added_at is not None
        assert abs(job.added_at - datetime.now(UTC)) < timedelta(seconds=5)
        leased = hand.lease()
        note = redis.script(script("note"))
        said = (id, "log", "began", id, "progress", b"\x32", id, "log", "still at it")
        note((queue.prefix + "q",), ("", 1000, 60_000, *said))
        job = queue.show(id)
        assert job is not None
        assert (job.state, job.worker, job.progress, job.log) == ("active", "hand", 50, ("began", "still at it"))
        assert queue.progress(id) == 50
        assert queue.log(id, 1) == ["still at it"]
        hand.done(*leased, result=[1, 2], keep=60_000)
        job = queue.show(id)
        assert job is not None
        assert (job.state, job.result, job.took) == ("done", [1, 2], 0.5)
        other = queue.add("a", None)
        hand.failed(*hand.lease(), why="bad address")
        job = queue.show(other)
        assert job is not None
        assert (job.state, job.error) == ("failed", "ValueError: bad address")
        assert job.ended_at is not None


def test_a_job_that_nobody_can_read_is_shown_all_the_same(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue = Queue(redis, "q", unsafe=True)
        id = queue.add("a", 1)
        chunk = queue.prefix + "c:5:0"
        data = redis.call("LINDEX", chunk, 0)
        redis.call("LSET", chunk, 0, b"\x09" + data[1:])
        job = (queue.page("waiting")).jobs[0]
        assert (job.id, job.name) == (id, "")
        assert "format 9" in job.error


def test_a_result_can_be_waited_for(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        many = list(queue.add_many("a", range(3), keep_result=60))
        with pytest.raises(ResultTimeout, match="is waiting after 0 s"):
            queue.result(many[0])
        waiting = [rt.spawn(queue.result, id, 20.0) for id in many]
        jobs = hand.lease()
        hand.done(*jobs[:2], result="sent", keep=60_000)
        assert [one.join() for one in waiting[:2]] == ["sent", "sent"]
        assert waiting[2].running
        hand.failed(jobs[2], why="bad address")
        with pytest.raises(JobFailed, match="bad address"):
            waiting[2].join()
        assert queue.result(many[0]) == "sent"
        with pytest.raises(NotFound):
            queue.result("5-4711")
        with pytest.raises(ResultTimeout):
            queue.result(queue.add("a"), 0.01)


def test_what_cannot_be_asked_is_refused(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue = Queue(redis, "q", unsafe=True)
        with pytest.raises(ConfigError, match=r"\$.queue.page.state: 'gone' is none of waiting"):
            queue.page("gone")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"\$.queue.page.limit: 0 is out of range"):
            queue.page("waiting", 0)
