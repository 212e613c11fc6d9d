"""Workers of a queue that are killed, frozen, stopped, held up: no job is lost, and few run twice."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailgenius import Redis
from mailgenius.queue import Queue
from mailgenius.queue.scripts import script
from mailgenius.servers import ValkeyServer, valkey
from tests.queue_hand_sync import Hand

from .queue_child import LEASE, QUEUE
from .queue_crowd import crowd, read, rounds, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


@pytest.fixture
def server(fast_path: Path, tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey(fast_path / f"queue-{tmp_path.name}", port=0) as made:
        yield made


@pytest.mark.parametrize("keeper", [False, True])
def test_workers_killed_at_random_instants(server: ValkeyServer, tmp_path: Path, keeper: bool) -> None:
    """``keeper``: it is killed with its worker, each time; then leases end by themselves."""
    kills, rng = (rounds(1, 100) if keeper else rounds(4, 400)), random.Random()
    numbers, took, added = range(kills * 250), list[float](), 0
    with crowd(server.url, tmp_path) as it:
        for turn in range(kills):
            part, before = numbers[added : added + len(numbers) // kills], it.size()
            it.queue.add_many(rng.choice(["note", "plain"]), part)
            added += len(part)
            it.progress(rng.randrange(1, len(part)), before)
            took.append(it.kill(turn % 2, keeper))
        it.finish()
        usually, longest = sorted(took)[kills // 2], max(took)
        print(f"{kills} workers killed, jobs are back after {usually:.2f} s, {longest:.2f} s at most")
        # The keeper knows which ones ran just then: no others can have been done and not said so.
        it.verify(set(numbers), it.hit if keeper else it.number("stalled"))
        assert longest < LEASE + 1
        if not keeper:  # at once, unless it was just being started
            assert usually < LEASE / 2


def test_with_a_key_for_each_job_nothing_is_done_twice(server: ValkeyServer, tmp_path: Path) -> None:
    kills, rng = rounds(1, 60), random.Random()
    numbers = range(kills * 300)
    with crowd(server.url, tmp_path) as it:
        for turn in range(kills):
            before = it.size()
            it.queue.add_many("once", numbers[turn * 300 : turn * 300 + 300])
            it.progress(rng.randrange(1, 200), before)
            it.kill(turn % 2, turn % 3 == 2)
        it.finish()
        assert {int(key.name) for key in it.keys.iterdir()} == set(numbers)
        it.verify({told.number for told in read(it.journal)}, 0)  # between both, a worker may have died


def test_two_who_find_a_lease_that_has_ended_give_it_back_once(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        hand, again = Hand(redis, QUEUE), Hand(redis, QUEUE, "other")
        queue = Queue(redis, QUEUE, unsafe=True)
        for _ in range(rounds(1, 20)):
            queue.add_many("note", range(500))
            leased = {job.id for job in hand.lease(500, milliseconds=50)}
            assert len(leased) == 500
            before = int(redis.call("HGET", queue.prefix + "q", "stalled") or 0)
            over = threading.Event()

            def look(name: str) -> None:
                with Redis(redis_server.url) as own:
                    beat = own.script(script("beat"))
                    while not over.is_set():  # noqa: B023
                        beat((queue.prefix + "q",), ("", name, 1000))

            threads = [threading.Thread(target=look, args=(f"reaper-{i}",)) for i in range(2)]
            for thread in threads:
                thread.start()
            try:
                wait_until(lambda: redis.call("HLEN", queue.prefix + "leased") == 0)
            finally:
                over.set()
                for thread in threads:
                    thread.join()
            assert int(redis.call("HGET", queue.prefix + "q", "stalled")) - before == 500
            counts = queue.counts()
            assert (counts.waiting, counts.active) == (500, 0)
            seen = set()
            while jobs := again.lease():
                seen |= {job.id for job in jobs}
                again.done(*jobs)
            assert seen == leased


def test_sigterm_drains_and_gives_back_the_rest(server: ValkeyServer, tmp_path: Path) -> None:
    stops, rng = rounds(1, 60), random.Random()
    numbers = range(stops * 300)
    with crowd(server.url, tmp_path) as it:
        for turn in range(stops):
            before = it.size()
            it.queue.add_many("slow", numbers[turn * 300 : turn * 300 + 300])
            it.progress(rng.randrange(1, 200), before)
            victim = it.workers[turn % 2]
            it.workers[turn % 2] = it.start()
            wait_until(victim.keeper)  # before it has one, the signal would end it like any program
            victim.signal(signal.SIGTERM)
            assert victim.ended() == 0
            assert it.leased(victim.pid) == it.leased(None) == 0  # at once
        it.finish()
        assert it.number("stalled") == 0
        it.verify(set(numbers), 0)


def test_a_second_sigterm_gives_back_what_runs_too(server: ValkeyServer, tmp_path: Path) -> None:
    with crowd(server.url, tmp_path, 1) as it:
        it.queue.add_many("slow", range(100))
        it.progress(10)
        victim, it.workers[0] = it.workers[0], it.start()
        victim.signal(signal.SIGTERM)
        victim.signal(signal.SIGTERM)
        victim.ended()
        assert it.leased(victim.pid) == it.leased(None) == 0
        it.finish()
        it.verify(set(range(100)), 0)


def test_a_frozen_worker_is_refused_when_it_comes_back(server: ValkeyServer, tmp_path: Path) -> None:
    """SIGSTOP for longer than the lease, then SIGCONT."""
    with crowd(server.url, tmp_path) as it:
        for turn in range(rounds(1, 20)):
            numbers = range(turn * 2000, (turn + 1) * 2000)
            before = it.size()
            it.queue.add_many("slow", numbers[:200])
            it.queue.add_many("note", numbers[200:])
            it.progress(50, before)
            frozen = it.workers[turn % 2]
            frozen.signal(signal.SIGSTOP)
            had = it.leased(frozen.pid)
            it.hit += had
            took = wait_until(lambda: not it.leased(frozen.pid) and not it.leased(None))  # noqa: B023
            assert took < LEASE + 1, took
            it.finish()
            done = it.queue.counts().total.done
            frozen.signal(signal.SIGCONT)
            it.queue.add_many("note", range(10**6 + turn * 100, 10**6 + turn * 100 + 100))
            it.finish()
            # Works again, and what it had done before counts once.
            wait_until(lambda: it.queue.counts().total.done == done + 100)  # noqa: B023
        it.verify({told.number for told in read(it.journal)}, it.hit)
        assert it.queue.counts().total.open == 0


def test_handlers_that_hold_the_interpreter_are_not_taken_for_dead(server: ValkeyServer, tmp_path: Path) -> None:
    """For three times the lease."""
    with crowd(server.url, tmp_path, 1) as it:
        turns = rounds(1, 10)
        it.queue.add_many("hold", range(turns))
        wait_until(lambda: it.leased(it.workers[0].pid))
        other = it.start()
        it.workers.append(other)  # which would take it
        it.queue.add_many("note", range(1000, 1100))
        wait_until(it.is_empty, 30 + 3 * LEASE * turns)
        assert it.number("stalled") == 0
        it.verify({*range(turns), *range(1000, 1100)}, 0)


def test_a_job_that_kills_its_worker_is_buried_and_its_mates_end(server: ValkeyServer, tmp_path: Path) -> None:
    """Each poisonous job may kill two workers (``max_stalled`` 1), no more."""
    poisons = rounds(1, 20)
    with crowd(server.url, tmp_path, 2, "stalls=1") as it:
        it.queue.add_many("note", range(1000))
        ids = it.queue.add_many("poison", range(poisons))
        it.queue.add_many("note", range(1000, 2000))
        deaths, end = 0, time.monotonic() + 60 + 5 * poisons
        while not it.is_empty():
            assert time.monotonic() < end
            for which, worker in enumerate(it.workers):
                if worker.process.poll() is not None:
                    deaths += 1
                    it.workers[which] = it.start()
            wait_until(lambda: it.is_empty() or any(worker.process.poll() is not None for worker in it.workers))
        assert deaths == 2 * poisons
        failed = it.queue.page("failed", limit=1000).jobs
        assert {job.id for job in failed} == set(ids)
        assert {job.stalls for job in failed} == {2}
        it.queue.clean("failed")
        it.verify(set(range(2000)), it.number("stalled"))


@pytest.mark.parametrize("flags", [("clock=600",), ("clock=-600",), ("clock=600", "jumps=1")])
def test_the_time_of_day_of_a_worker_decides_nothing(
    server: ValkeyServer, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with crowd(server.url, tmp_path, 1, *flags) as it:
        it.queue.add_many("note", range(500))
        later = [it.queue.add("note", number, delay=0.3) for number in range(500, 510)]
        assert len(set(later)) == 10
        began = time.monotonic()
        it.progress(500)
        wait_until(it.is_empty)
        assert it.size() == 510
        assert 0.2 < time.monotonic() - began < 10
        assert it.number("stalled") == 0
        it.verify(set(range(510)), 0)
