"""The network between workers and Redis: connections that are killed again and again, silence, replies that are lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailgenius.servers import ValkeyServer, valkey

from .proxy import FaultProxy, at, through
from .queue_crowd import Child, Crowd, crowd, read, rounds, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


@pytest.fixture
def server(fast_path: Path, tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey(fast_path / f"queue-{tmp_path.name}", port=0, settings={"requirepass": ""}) as made:
        yield made


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[FaultProxy]:
    with FaultProxy(at(server)) as made:
        yield made


def nobody_exited(it: Crowd) -> None:
    assert [worker.process.poll() for worker in it.workers] == [None] * len(it.workers)


def test_every_connection_is_killed_each_half_second(server: ValkeyServer, tmp_path: Path) -> None:
    """Those of workers, their keepers, and of who adds."""
    confirmed, slowest = tmp_path / "confirmed", 0.0
    with crowd(server.url, tmp_path) as it:
        producer = Child("singly", server.url, confirmed, "first=0")
        try:
            it.progress(100)
            for _ in range(rounds(3, 60)):
                half = time.monotonic() + 0.5
                server.ask("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
                slowest = max(slowest, it.progress(100))
                wait_until(lambda: time.monotonic() > half)  # noqa: B023
        finally:
            producer.kill()
        nobody_exited(it)
        it.finish()
        print(f"100 jobs after {slowest:.2f} s at most")
        it.verify({told.number for told in read(confirmed)}, 0)
        assert slowest < 1.0


def test_replies_that_are_lost(server: ValkeyServer, proxy: FaultProxy, tmp_path: Path) -> None:
    """What was acknowledged is acknowledged again, and that changes nothing; what was leased is not leased anew."""
    with crowd(through(proxy), tmp_path, direct=server.url) as it:
        losses = rounds(5, 200)
        it.queue.add_many("note", range(losses * 500))
        for turn in range(losses):
            it.progress(400 * (turn + 1), 0)
            it.queue.add("note", losses * 500 + turn, delay=0.01)
            proxy.damage()
        it.finish()
        nobody_exited(it)
        it.verify(set(range(losses * 501)), 0)
        assert it.queue.counts().total.open == 0


def test_a_network_that_goes_silent_while_everybody_works(
    server: ValkeyServer, proxy: FaultProxy, tmp_path: Path
) -> None:
    """While workers wait for jobs: test_worker_faults.py."""
    with crowd(through(proxy), tmp_path, direct=server.url) as it:
        added = 0

        def add(count: int) -> None:
            nonlocal added
            it.queue.add_many("note", range(added, added + count))
            added += count

        for _ in range(rounds(1, 20)):
            before = it.size()
            add(20_000)
            it.progress(200, before)
            it.hit += sum(it.leased(worker.pid) for worker in it.workers)
            known = len(it.errors())
            proxy.stall()
            add(200)
            noticed = wait_until(lambda: len(it.errors()) > known, 12)  # noqa: B023
            proxy.mend()
            back = it.progress(100)
            print(f"noticed after {noticed:.1f} s, back after {back:.2f} s")
            assert noticed < 10
            assert back < 1.0
            nobody_exited(it)
        it.finish()
        it.verify(set(range(added)), it.hit)
