"""A queue on a Cluster whose masters give way, and whose slots move, while everybody works."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailgenius._native import key_slot
from mailgenius.errors import ServerError
from mailgenius.servers import ValkeyCluster, ValkeyServer, valkey_cluster
from tests.redis_callers_async import cluster_url

from .queue_crowd import Child, crowd, read, rounds, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
KEY = "mg:{jobs}:q"
SHARDS = "shards=3"


@pytest.fixture
def cluster() -> Iterator[ValkeyCluster]:
    with valkey_cluster(node_timeout=0.5) as made:
        yield made


def test_the_slot_moves_from_node_to_node(cluster: ValkeyCluster, tmp_path: Path) -> None:
    confirmed, url = tmp_path / "confirmed", cluster_url(cluster)
    with crowd(url, tmp_path) as it:
        producer = Child("singly", url, confirmed, "first=0")
        try:
            for _ in range(rounds(1, 30)):
                it.progress(300)
                owner = cluster.owner(KEY)
                others = [master for master in cluster.masters() if master is not owner]
                cluster.move_slot(key_slot(KEY), others[0])
                assert it.progress(100) < 5
        finally:
            producer.kill()
        it.finish()
        it.verify({told.number for told in read(confirmed)}, 0)
        assert it.queue.counts().total.open == 0


@pytest.mark.failover
def test_the_master_gives_way_to_its_replica(cluster: ValkeyCluster, tmp_path: Path) -> None:
    """It is killed: what its replica had not heard yet may be lost, nothing that was confirmed before."""
    confirmed, url, safe = tmp_path / "confirmed", cluster_url(cluster), set[int]()
    with crowd(url, tmp_path) as it:
        producer = Child("singly", url, confirmed, "first=0")
        try:
            for _ in range(rounds(1, 10)):
                it.progress(300)
                victim = cluster.owner(KEY)
                safe = {told.number for told in read(confirmed)}
                replicated(victim)
                victim.kill()
                back = it.progress(100)
                print(f"100 jobs after {back:.2f} s")
                victim.start()
                wait_until(lambda: ready(cluster))
        finally:
            producer.kill()
        it.finish()
        it.verify(safe, it.size())


def test_the_slots_of_shards_move_from_node_to_node(cluster: ValkeyCluster, tmp_path: Path) -> None:
    confirmed, url = tmp_path / "confirmed", cluster_url(cluster)
    with crowd(url, tmp_path, 2, SHARDS) as it:
        producer = Child("singly", url, confirmed, "first=0", SHARDS)
        try:
            for turn in range(rounds(3, 30)):
                it.progress(300)
                key = it.prefixes[turn % len(it.prefixes)] + "q"
                owner = cluster.owner(key)
                others = [master for master in cluster.masters() if master is not owner]
                cluster.move_slot(key_slot(key), others[0])
                assert it.progress(100) < 5
        finally:
            producer.kill()
        it.finish()
        it.verify({told.number for told in read(confirmed)}, 0)
        assert it.queue.counts().total.open == 0


def test_workers_of_shards_are_killed(cluster: ValkeyCluster, tmp_path: Path) -> None:
    confirmed, url = tmp_path / "confirmed", cluster_url(cluster)
    with crowd(url, tmp_path, 2, SHARDS) as it:
        assert len({cluster.owner(prefix + "q").port for prefix in it.prefixes}) == 3
        producer = Child("singly", url, confirmed, "first=0", SHARDS)
        try:
            for turn in range(rounds(2, 50)):
                it.progress(300)
                it.kill(turn % 2)
        finally:
            producer.kill()
        it.finish()
        it.verify({told.number for told in read(confirmed)}, it.hit)
        assert it.queue.counts().total.open == 0


@pytest.mark.failover
def test_a_master_of_shards_gives_way_and_the_others_go_on(cluster: ValkeyCluster, tmp_path: Path) -> None:
    """While it is away, jobs are added to the other shards, and run there."""
    confirmed, url, safe = tmp_path / "confirmed", cluster_url(cluster), set[int]()
    with crowd(url, tmp_path, 2, SHARDS) as it:
        producer = Child("singly", url, confirmed, "first=0", SHARDS)
        try:
            for turn in range(rounds(3, 12)):
                it.progress(300)
                victim = cluster.owner(it.prefixes[turn % len(it.prefixes)] + "q")
                safe = {told.number for told in read(confirmed)}
                replicated(victim)
                victim.kill()
                before, begun = len(read(confirmed)), time.monotonic()
                ran = it.progress(100)
                wait_until(lambda: len(read(confirmed)) >= before + 100)  # noqa: B023
                print(f"100 jobs ran after {ran:.2f} s, 100 were added after {time.monotonic() - begun:.2f} s")
                victim.start()
                wait_until(lambda: ready(cluster))
        finally:
            producer.kill()
        it.finish()
        it.verify(safe, it.size())


def replicated(master: ValkeyServer) -> None:
    """Until its replica has what it has now."""

    def offsets(pattern: str) -> list[int]:
        return [int(found) for found in re.findall(pattern, master.ask("INFO", "replication"))]

    (now,) = offsets(r"master_repl_offset:(\d+)")
    wait_until(lambda: any(offset >= now for offset in offsets(r"slave\d+:.*offset=(\d+)")))


def ready(cluster: ValkeyCluster) -> bool:
    try:
        cluster.wait_ready(10)
    except ServerError:
        return False
    return True
