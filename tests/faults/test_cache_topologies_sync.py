# Made from test_cache_topologies_async.py by `python -m tools.twin`: edit that one.
"""Caches over a Cluster and over a primary under Sentinels, while servers are killed or freeze: no wrong value, nothing
older than it may be, and all is well again by itself.

``MG_FAULT_ROUNDS``: a tenth of it is how often each happens (10: once; 100 with ``make faults``: ten times).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest

from mailgenius import Cache
from mailgenius._native import key_slot
from mailgenius.cache import MISS, Behind, Item
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer, valkey_cluster, valkey_sentinel
from tests.redis_callers_sync import cluster_url, sentinel_url
from tests.waiting_sync import coherent, until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(600)]
ROUNDS = max(1, int(os.environ.get("MG_FAULT_ROUNDS", "10")) // 10)
KEYS = range(60)  # on all nodes
HEARTBEAT = 0.5
SLACK = 1.0  # seconds that a busy machine may add


class Users:
    """One process writes, another reads. ``wrong``: values of another key, or never written. ``stale``: values taken
    from the process though a newer one was written long enough ago. ``slow``: calls that took longer than the budget."""

    def __init__(self, writer: Any, reader: Any) -> None:
        self.writer, self.reader = writer, reader
        self.wrong: list[Any] = []
        self.stale: list[Any] = []
        self.slow: list[float] = []
        self.rounds = 0
        self.number = 0
        self.tried: dict[int, int] = dict.fromkeys(KEYS, 0)
        self.told: dict[int, list[tuple[float, int]]] = {key: [] for key in KEYS}  # when a write was answered
        self._ending = rt.Event()
        self._running: list[rt.Spawned] = []

    def __enter__(self) -> Users:
        self._running = [rt.spawn(self._write), rt.spawn(self._read)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for one in self._running:
            one.join()

    def _write(self) -> None:
        while not self._ending.is_set():
            self.number += 1
            for key in KEYS:
                self.tried[key] = self.number
                with contextlib.suppress(RedisUnavailable, RedisRefused):
                    self.writer.set(key, [key, self.number])
                    self.told[key].append((monotonic(), self.number))
            self.rounds += 1
            rt.wait(self._ending, 0.002)

    def _read(self) -> None:
        while not self._ending.is_set():
            for key in KEYS:
                began = monotonic()
                kept = self.reader.peek(key, MISS)
                self._check(key, kept, began, True)
                value = self.reader.get(key)
                self.slow += [took] if (took := monotonic() - began) > 0.05 + SLACK else []
                self._check(key, value, began, False)
            rt.wait(self._ending, 0.002)

    def _check(self, key: int, value: Any, began: float, kept: bool) -> None:
        if value is MISS:
            return
        if value[0] != key or not 0 < value[1] <= self.tried[key]:
            self.wrong.append((key, value))
        if kept:
            before = [number for at, number in self.told[key][-2000:] if at < began - 2 * HEARTBEAT - SLACK]
            if before and value[1] < before[-1]:
                self.stale.append((key, value, before[-1]))

    def progress(self, seconds: float = 60.0) -> None:
        """Until every key was written, and read from the process, anew."""
        wanted = {key: len(self.told[key]) + 2 for key in KEYS}

        def done() -> bool:
            return all(len(self.told[key]) >= least for key, least in wanted.items())

        until(done, seconds)


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_master_of_a_cluster(how: str) -> None:
    with valkey_cluster(node_timeout=0.5) as cluster:
        _survive(cluster_url(cluster), lambda: cluster.masters()[0], cluster.wait_ready, how)


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_primary_under_sentinels(how: str) -> None:
    with valkey_sentinel() as group:
        _survive(sentinel_url(group), group.primary, group.wait_ready, how)


def test_write_behind_goes_on_with_the_successor() -> None:
    rows: dict[Any, tuple[int, Any]] = {}

    def write(items: Sequence[Item]) -> None:
        for item in items:
            if item.version > rows.get(item.key, (0, None))[0]:
                rows[item.key] = (item.version, item.value)

    with valkey_cluster(node_timeout=0.5) as cluster:
        with Cache(cluster_url(cluster), heartbeat=HEARTBEAT) as cache:
            scores = cache.region("scores", behind=Behind(), together="region")
            with cache.flusher("scores", write, every=0.0, lease=0.5):
                for key in KEYS:
                    scores.write_behind(key, 1)
                victim = rt.blocking(cluster.owner, scores.name(1))
                rt.blocking(victim.kill)
                for key in KEYS:
                    until(lambda key=key: _accepted(scores, key, 2), 30)  # type: ignore[misc]
                scores.behind.flush(30)
                assert {key: value for key, (_, value) in rows.items()} == dict.fromkeys(KEYS, 2)
                assert scores.get_many(KEYS) == dict.fromkeys(KEYS, 2)


def _accepted(scores: Any, key: int, value: int) -> bool:
    try:
        scores.write_behind(key, value)
    except (RedisUnavailable, RedisRefused):
        return False
    return True


def test_keys_of_living_nodes_go_on() -> None:
    """A master without replicas freezes, in a Cluster that serves what it has."""
    settings = {"cluster-require-full-coverage": "no"}
    with valkey_cluster(replicas=0, node_timeout=0.5, settings=settings) as cluster:
        with Cache(cluster_url(cluster), heartbeat=HEARTBEAT) as cache:
            region = cache.region("lead", on_redis_down="keep")
            coherent(cache)
            region.set_many({key: [key, 1] for key in KEYS})
            victim = cluster.nodes[0]
            lost = [key for key in KEYS if key_slot(region.name(key)) * 3 // 16384 == 0]
            living = [key for key in KEYS if key not in lost]
            victim.pause()
            took: list[float] = []
            for _ in range(20):
                for key in (lost[0], living[0]):
                    began = monotonic()
                    value = region.get(key)
                    took.append(monotonic() - began)
                    assert value == (MISS if key in lost else [key, 1])
            assert sum(seconds > 0.045 for seconds in took) <= 10  # three, and one now and then; not each of them
            until(lambda: _apart(cache))
            assert region.get_many(KEYS) == {key: [key, 1] for key in living}
            began = monotonic()
            assert region.get_or_load(lost[0], _load) == "loaded"
            assert region.get_or_load_many(KEYS, _load_many) == {
                key: "loaded" if key in lost else [key, 1] for key in KEYS
            }
            region.set_many({key: [key, 2] for key in KEYS})
            assert monotonic() - began < 0.5 + SLACK
            assert cache.metrics().owed == len(lost)
            assert region.get_many(KEYS) == {key: [key, 2] for key in KEYS}
            victim.resume()
            coherent(cache)
            until(lambda: _repaid(cache))
            assert region.get_many(KEYS) == {key: [key, 2] for key in KEYS}


def _load(key: int) -> str:
    return "loaded"


def _load_many(keys: list[int]) -> dict[int, str]:
    return dict.fromkeys(keys, "loaded")


def _apart(cache: Cache) -> bool:
    return not cache.coherent


def _repaid(cache: Cache) -> bool:
    return cache.metrics().owed == 0


def _survive(url: str, victim: Any, ready: Any, how: str) -> None:
    with Cache(url, heartbeat=HEARTBEAT) as one, Cache(url, heartbeat=HEARTBEAT) as other:
        writer, reader = one.region("lead"), other.region("lead")
        coherent(other)
        with Users(writer, reader) as users:
            for _ in range(ROUNDS):
                users.progress()
                server: ValkeyServer = rt.blocking(victim)
                flushes = other.metrics().flushes
                rt.blocking(server.kill if how == "kill" else server.pause)
                users.progress()  # a replica has taken over
                rt.blocking(server.start if how == "kill" else server.resume)
                rt.blocking(ready)
                users.progress()
                coherent(other)
                assert other.metrics().flushes > flushes
        print(users.rounds, len(users.slow), one.metrics().owed)
        assert users.wrong == []
        assert users.stale == []
        assert users.slow == []
        writer.set(1, [1, 0])
        until(lambda: _kept(reader))


def _kept(reader: Any) -> bool:
    reader.get(1)
    return bool(reader.peek(1) == [1, 0])
