"""``mailgenius.testing``: what it promises, and that an inline queue does as a real one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from mailgenius import Redis
from mailgenius.errors import ConfigError, JobFailed, JobRetry, QueueFull
from mailgenius.queue import Backoff, Policy, Queue
from mailgenius.testing import (
    AsyncInlineQueue,
    FakeClock,
    InlineQueue,
    assert_enqueued,
    throwaway_postgres,
    throwaway_redis,
)
from mailgenius.worker import Job, Worker


class Lead(msgspec.Struct):
    id: int


class Program:
    """Handlers that note what they were given."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.fails = 0
        self.worker = worker = Worker("mail", url="redis://127.0.0.1:1")

        @worker.handler("typed")
        def typed(lead: Lead) -> int:
            self.ran.append(lead)
            return lead.id * 2

        @worker.handler("async")
        async def asynchronous(payload: Any, job: Job) -> None:
            self.ran.append((payload, job.id, job.attempts, job.name, job.added_at))
            job.progress(50)
            job.log("half way")

        @worker.handler("flaky")
        def flaky(payload: str) -> None:
            self.ran.append(payload)
            if self.fails:
                self.fails -= 1
                raise ConnectionError("not now")

        @worker.handler("hopeless")
        def hopeless(payload: Any) -> None:
            raise JobFailed("no such mailbox")

        @worker.handler("later")
        def later(payload: Any) -> None:
            raise JobRetry(after=30, counts=False)


@pytest.fixture
def program() -> Program:
    return Program()


def test_jobs_run_when_told_with_typed_payloads(program: Program) -> None:
    queue = InlineQueue(program.worker)
    queue.add("typed", {"id": 4})
    assert program.ran == []
    (job,) = queue.run_jobs()
    assert program.ran == [Lead(4)]
    assert (job.state, job.result, job.attempts) == ("done", 8, 1)
    assert queue.run_jobs() == []


def test_or_at_once_and_so_do_those_that_handlers_add() -> None:
    worker = Worker("mail", url="redis://127.0.0.1:1")
    queue = InlineQueue(worker, at_once=True)
    ran = []

    @worker.handler("first")
    def first(payload: int) -> None:
        queue.add("second", payload + 1)
        ran.append("first")

    @worker.handler("second")
    def second(payload: int) -> None:
        ran.append(f"second {payload}")

    queue.add("first", 1)
    assert ran == ["second 2", "first"]


def test_async_handlers_see_their_job(program: Program) -> None:
    queue = InlineQueue(program.worker)
    id = queue.add("async", [1])
    (job,) = queue.run_jobs()
    assert program.ran == [([1], id, 0, "async", queue.clock.now)]
    assert (job.progress, job.log) == (50, ["half way"])


async def test_the_same_in_an_event_loop(program: Program) -> None:
    queue = AsyncInlineQueue(program.worker, at_once=True)
    id = await queue.add("async", "x", priority=2)
    added = await queue.add_many("typed", [{"id": 1}, {"id": 2}])
    assert program.ran[1:] == [Lead(1), Lead(2)]
    assert [job.id for job in queue.jobs] == [id, *added]
    assert_enqueued(queue, "async", "x", where=lambda job: job.options.priority == 2)


def test_retries_wait_as_the_policy_says_by_the_fake_clock(program: Program) -> None:
    queue = InlineQueue(program.worker, policy=Policy(attempts=3, backoff=Backoff(base=10)))
    program.fails = 2
    queue.add("flaky", "a")
    (job,) = queue.run_jobs()
    assert (job.state, job.due_at - queue.clock.now) == ("delayed", timedelta(seconds=10))
    queue.clock.advance(9)
    assert queue.run_jobs() == []
    queue.clock.advance(1)
    assert [job.state for job in queue.run_jobs()] == ["delayed"]
    queue.run_jobs(advance=True)
    assert (job.state, job.attempts, job.error) == ("done", 3, None)


def test_what_fails_for_good_is_dead(program: Program) -> None:
    queue = InlineQueue(program.worker)
    program.fails = 9
    for name, payload in (("flaky", "a"), ("hopeless", 1), ("typed", "no lead"), ("unknown", 1)):
        queue.add(name, payload)
    queue.run_jobs(advance=True)
    assert [job.state for job in queue.jobs] == ["failed"] * 4
    assert [job.attempts for job in queue.jobs] == [3, 1, 1, 1]
    assert isinstance(queue.jobs[0].error, ConnectionError)
    assert "is not what its handler takes" in str(queue.jobs[2].error)


def test_what_goes_on_for_ever_is_noticed(program: Program) -> None:
    queue = InlineQueue(program.worker)
    queue.add("later")
    with pytest.raises(AssertionError, match="for ever"):
        queue.run_jobs(advance=True)


def test_delays_priorities_and_times(program: Program) -> None:
    clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))
    queue = InlineQueue(program.worker, clock=clock)
    queue.add("flaky", "at", at=datetime(2030, 1, 1, 1, tzinfo=UTC))
    queue.add("flaky", "delayed", delay=60)
    queue.add("flaky", "last", priority=9)
    queue.add("flaky", "first", priority=1)
    queue.run_jobs(advance=True)
    assert program.ran == ["first", "last", "delayed", "at"]
    assert clock.now == datetime(2030, 1, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="goes forward"):
        clock.advance(-1)


def test_payloads_and_options_are_checked_as_by_a_real_queue(program: Program) -> None:
    queue = InlineQueue(program.worker)
    with pytest.raises(TypeError):
        queue.add("typed", object())
    with pytest.raises(ConfigError, match=r"\$\.queue\.priority"):
        queue.add("typed", 1, priority=0)
    with pytest.raises(ConfigError, match="no time zone"):
        queue.add("typed", 1, at=datetime(2030, 1, 1))
    with pytest.raises(TypeError):
        queue.add("typed", 1, dealy=5)
    with pytest.raises(ConfigError, match="give a worker, or the name"):
        InlineQueue()
    with pytest.raises(NotImplementedError, match="an inline queue has no Redis"):
        queue.pause()
    assert queue.jobs == []


def test_full_queues_and_batches(program: Program) -> None:
    queue = InlineQueue(name="mail", policy=Policy(max_waiting=3))
    first = queue.add_many("typed", [1, 2], batch="b")
    assert list(queue.add_many("typed", [1, 2], batch="b")) == list(first)
    with pytest.raises(QueueFull):
        queue.add_many("typed", [3, 4])
    queue.add("typed", 3)
    with pytest.raises(QueueFull):
        queue.add("typed", 4)
    assert len(queue.jobs) == 3


UNIQUE: list[tuple[str, dict[str, Any]]] = [
    ("a", {"unique": "k"}),
    ("b", {"unique": "k"}),
    ("c", {"unique": "k2", "delay": 60}),
    ("d", {"unique": "k2", "delay": 60, "replace": True}),
    ("e", {"unique": "k3", "unique_for": 60}),
    ("f", {"unique": "k3", "unique_for": 60}),
    ("g", {"delay": 5}),
    ("h", {"priority": 1}),
]


def test_an_inline_queue_takes_the_same_jobs_as_a_real_one() -> None:
    inline = InlineQueue(name="mail")
    with throwaway_redis() as url, Redis(url) as redis:
        real = Queue(redis, "mail")
        answers = []
        for queue in (inline, real):
            ids = [queue.add("job", payload, **options) for payload, options in UNIQUE]
            answers.append([ids.index(id) for id in ids])
        assert answers[0] == answers[1]
        there = {job.payload for state in ("waiting", "delayed") for job in real.page(state).jobs}
    assert {job.payload for job in inline.jobs} == there == {"a", "d", "e", "g", "h"}


def test_jobs_of_a_transaction_are_taken_at_once() -> None:
    queue = InlineQueue(name="mail")
    queue.add("send", 1, connection=object())
    queue.add_many("send", [2, 3], connection=object())
    assert [job.payload for job in queue.jobs] == [1, 2, 3]


def test_assert_enqueued_says_what_there_is() -> None:
    queue = InlineQueue(name="mail")
    with pytest.raises(AssertionError, match=r"of 'send' none in 'mail'; there are\n  nothing"):
        assert_enqueued(queue, "send")
    queue.add("send", Lead(1))
    queue.add("send", Lead(2), delay=5)
    assert len(assert_enqueued(queue, "send")) == 2
    assert assert_enqueued(queue, "send", {"id": 1}, times=1)[0].state == "waiting"
    assert assert_enqueued(queue, "send", Lead(2))[0].state == "delayed"
    assert assert_enqueued(queue, "send", Lead(3), times=0) == []
    with pytest.raises(
        AssertionError, match=r"of 'send' with the payload \{'id': 1\} 1, not 2, in 'mail'; there are\n  send"
    ):
        assert_enqueued(queue, "send", Lead(1), times=2)
    with pytest.raises(AssertionError, match="of 'other' none in 'mail'"):
        assert_enqueued(queue, "other")


def test_a_database_to_throw_away_has_the_schema() -> None:
    with throwaway_postgres() as url, psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from mailgenius.leads").fetchone() == (0,)
