"""Redis is killed, frozen, busy, loading, full, read-only, without our scripts, or set back in time, under everybody."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailgenius import Redis
from mailgenius.errors import RedisOutcomeUnknown, RedisRefused, RedisUnavailable
from mailgenius.queue import Queue
from mailgenius.servers import ValkeyServer, valkey
from tests.queue_hand_sync import Hand

from .queue_child import LEASE, POLICY, QUEUE
from .queue_crowd import Child, Crowd, crowd, read, rounds, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


@contextlib.contextmanager
def server_with(fast_path: Path, tmp_path: Path, **settings: Any) -> Iterator[ValkeyServer]:
    chosen = {name.replace("_", "-"): value for name, value in settings.items()}
    with valkey(fast_path / f"queue-{tmp_path.name}", port=0, settings=chosen) as made:
        yield made


@contextlib.contextmanager
def adding(server: ValkeyServer, confirmed: Path) -> Iterator[None]:
    """A producer adds jobs, eight at a time, and notes those that were confirmed."""
    producer = Child("singly", server.url, confirmed, "first=0")
    try:
        yield
    finally:
        producer.kill()


def known(confirmed: Path) -> set[int]:
    return {told.number for told in read(confirmed)}


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_redis_is_killed_and_starts_again(fast_path: Path, tmp_path: Path, fsync: str) -> None:
    """kill -9 of Redis alone takes nothing that it has written: the system has that. So nothing is lost with everysec
    either, unless the disk was too slow just then."""
    confirmed, rng, slowest = tmp_path / "confirmed", random.Random(), 0.0
    with server_with(fast_path, tmp_path, appendfsync=fsync) as server, crowd(server.url, tmp_path) as it:
        with adding(server, confirmed):
            for _ in range(rounds(1, 50)):
                it.progress(rng.randrange(100, 1000))
                server.kill()
                server.start()
                slowest = max(slowest, it.progress(100))
        it.finish()
        print(f"100 jobs after {slowest:.2f} s at most")
        it.verify(known(confirmed), it.number("stalled"))


def test_redis_forgets_its_last_second(fast_path: Path, tmp_path: Path) -> None:
    """A power cut, or a replica that was behind and became the primary. What was confirmed before is not lost, nor what is
    confirmed afterwards, though it has the places of what was forgotten, and workers still speak of that."""
    rng, folder = random.Random(), fast_path / f"copy-{tmp_path.name}"
    kept, forgotten, added = set[int](), set[int](), 0
    with server_with(fast_path, tmp_path) as server, crowd(server.url, tmp_path) as it:
        log = next(Path(server.data_dir).rglob("appendonlydir"))

        def add() -> set[int]:
            nonlocal added
            numbers = range(added, added + 1000)
            it.queue.add_many("note", numbers)
            added += len(numbers)
            return set(numbers)

        for _ in range(rounds(1, 50)):
            before = it.size()
            kept |= add()
            it.progress(rng.randrange(1, 1000), before)
            subprocess.run(["cp", "-a", log, folder], check=True)  # a log that breaks off is one all the same
            before = it.size()
            forgotten |= add()
            it.progress(rng.randrange(1, 1000), before)
            server.kill()
            shutil.rmtree(log)
            subprocess.run(["mv", folder, log], check=True)
            server.start()
            kept |= add()
            it.finish()
        lost = len(forgotten - {told.number for told in read(it.journal)})
        print(f"of {len(forgotten)} that were confirmed just before, {lost} are lost")
        it.verify(kept, added)


def test_leases_that_were_forgotten_are_never_given_again(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue = Queue(redis, QUEUE, unsafe=True)
        hand = Hand(redis, QUEUE)
        queue.add_many("note", range(4))
        kept = {key: redis.call("DUMP", key) for key in redis.call("KEYS", queue.prefix + "*")}
        forgotten = hand.lease(2)
        redis.call("FLUSHALL")
        for key, data in kept.items():
            redis.call("RESTORE", key, 0, data)
        again = hand.lease(2)
        assert [job.id for job in again] == [job.id for job in forgotten]
        assert {job.token for job in again}.isdisjoint(job.token for job in forgotten)
        with pytest.raises(AssertionError, match="the lease is lost"):
            hand.done(forgotten[0])
        hand.done(*again)
        assert queue.counts().waiting == 2


def test_redis_freezes_for_longer_than_the_lease(fast_path: Path, tmp_path: Path) -> None:
    confirmed, slowest = tmp_path / "confirmed", 0.0
    with server_with(fast_path, tmp_path) as server, crowd(server.url, tmp_path) as it:
        with adding(server, confirmed):
            for _ in range(rounds(1, 20)):
                it.progress(200)
                server.pause()
                began = time.monotonic()
                wait_until(lambda: time.monotonic() > began + LEASE + 0.5)  # noqa: B023
                server.resume()
                slowest = max(slowest, it.progress(100))
        it.finish()
        print(f"100 jobs after {slowest:.2f} s at most")
        assert slowest < 1.0
        it.verify(known(confirmed), it.number("stalled"))


def test_redis_is_busy_with_a_script_of_somebody_else(fast_path: Path, tmp_path: Path) -> None:
    """It answers BUSY."""
    confirmed = tmp_path / "confirmed"
    with server_with(fast_path, tmp_path, lua_time_limit=20) as server, crowd(server.url, tmp_path) as it:
        with adding(server, confirmed):
            for _ in range(rounds(1, 20)):
                it.progress(200)
                loop = "while true do redis.call('TIME') end"
                thread = threading.Thread(target=refused, args=(server, "EVAL", loop, 0))
                known_errors = len(it.errors())
                thread.start()
                wait_until(lambda: "BUSY" in it.errors()[known_errors:])  # noqa: B023
                with Redis(server.url) as redis, pytest.raises((RedisRefused, RedisUnavailable), match="BUSY"):
                    Queue(redis, QUEUE, policy=POLICY, timeout=0.1, unsafe=True).add("note", 0)
                server.ask("SCRIPT", "KILL")
                thread.join()
                back = it.progress(100)
                print(f"100 jobs after {back:.2f} s")
        it.finish()
        it.verify(known(confirmed), 0)


def refused(server: ValkeyServer, *command: Any) -> None:
    with Redis(server.url) as redis, contextlib.suppress(RedisRefused, RedisUnavailable):
        redis.call(*command, timeout=60)


def test_redis_loads_its_data(fast_path: Path, tmp_path: Path) -> None:
    """It answers LOADING for a while after it was killed."""
    confirmed = tmp_path / "confirmed"
    with server_with(fast_path, tmp_path) as server, crowd(server.url, tmp_path) as it:
        with adding(server, confirmed):
            for _ in range(rounds(1, 20)):
                it.progress(200)
                # Something big, so that loading takes its time.
                server.ask("EVAL", "for i = 1, 100000 do redis.call('SET', 'x' .. i, i) end", 0)
                seen = len(it.errors())
                server.kill()
                server.start()
                it.progress(100)
                print("LOADING" in it.errors()[seen:])
                server.ask("EVAL", "for i = 1, 100000 do redis.call('DEL', 'x' .. i) end", 0)
        it.finish()
        it.verify(known(confirmed), it.number("stalled"))


def test_redis_is_full(fast_path: Path, tmp_path: Path) -> None:
    """Adding is refused, whole; what is there can be worked off, and then there is room again."""
    confirmed, added = set[int](), 0
    with server_with(fast_path, tmp_path) as server, crowd(server.url, tmp_path, 0) as it:
        for _ in range(rounds(1, 10)):
            used = int(
                dict(line.split(":") for line in server.ask("INFO", "memory").split() if ":" in line)["used_memory"]
            )
            server.ask("CONFIG", "SET", "maxmemory", used + (1 << 20))
            for many in (1500, 1):  # what a call brings counts as memory too
                while (code := refusal(it, range(added, added + many))) is None:
                    confirmed |= set(range(added, added + many))
                    added += many
                assert code == "OOM"
            with pytest.raises(RedisRefused, match="OOM"):
                it.queue.add("note", added, delay=1.0)
            counts = it.queue.counts()
            assert counts.waiting == counts.total.open == len(confirmed) - it.size()
            it.workers.append(it.start())
            it.finish()
            it.workers.pop().kill()
            server.ask("CONFIG", "SET", "maxmemory", 0)
        it.verify(confirmed, 0)


def refusal(it: Crowd, numbers: range) -> str | None:
    try:
        it.queue.add_many("note", numbers)
    except RedisRefused as error:
        return error.code
    return None


def test_redis_takes_no_writes_for_a_while(fast_path: Path, tmp_path: Path) -> None:
    """READONLY, as from one that was the primary before a failover."""
    confirmed = tmp_path / "confirmed"
    with server_with(fast_path, tmp_path, replica_serve_stale_data="yes") as server, crowd(server.url, tmp_path) as it:
        with adding(server, confirmed):
            for _ in range(rounds(1, 20)):
                it.progress(200)
                seen = len(it.errors())
                server.ask("REPLICAOF", "127.0.0.1", 1)
                wait_until(lambda: "READONLY" in it.errors()[seen:])  # noqa: B023
                with Redis(server.url) as redis, pytest.raises(RedisRefused) as raised:
                    Queue(redis, QUEUE, policy=POLICY, timeout=0.1, unsafe=True).add("note", 0)
                assert raised.value.code == "READONLY"
                server.ask("REPLICAOF", "NO", "ONE")
                assert it.progress(100) < 2
        it.finish()
        it.verify(known(confirmed), it.number("stalled"))


def test_redis_forgets_our_scripts(fast_path: Path, tmp_path: Path) -> None:
    confirmed = tmp_path / "confirmed"
    with server_with(fast_path, tmp_path) as server, crowd(server.url, tmp_path) as it:
        with adding(server, confirmed):
            for _ in range(rounds(5, 200)):
                it.progress(20)
                server.ask("SCRIPT", "FLUSH")
        it.finish()
        assert "NOSCRIPT" not in it.errors()
        it.verify(known(confirmed), 0)


def test_whether_it_was_added_is_not_known_when_redis_freezes(fast_path: Path, tmp_path: Path) -> None:
    with server_with(fast_path, tmp_path) as server, Redis(server.url, timeout=0.1) as redis:
        queue = Queue(redis, QUEUE, policy=POLICY, timeout=0.3)
        queue.add("note", 0)
        server.pause()
        with pytest.raises(RedisOutcomeUnknown):
            queue.add("note", 1)
        server.resume()
        queue = Queue(redis, QUEUE, policy=POLICY, timeout=10)
        queue.add("note", 2)
        counts = queue.counts()
        assert counts.waiting in (2, 3)
        assert counts.waiting == counts.total.added
