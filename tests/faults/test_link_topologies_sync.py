# Made from test_link_topologies_async.py by `python -m tools.twin`: edit that one.
"""Masters of a Cluster and primaries under Sentinels that are killed or freeze while everybody works.

``MG_FAULT_ROUNDS``: a tenth of it is how often each happens (10: once; 100 with ``make faults``: ten times).
"""

from __future__ import annotations

import os
from functools import partial
from time import monotonic

import pytest

from mailgenius import Redis
from mailgenius._native import key_slot
from mailgenius.errors import RedisUnavailable, ServerError
from mailgenius.rt import threads as rt
from mailgenius.servers import SentinelGroup, ValkeyCluster, ValkeyServer, valkey_cluster, valkey_sentinel
from tests.redis_callers_sync import Callers, cluster_url, sentinel_url
from tests.waiting_sync import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
ROUNDS = max(1, int(os.environ.get("MG_FAULT_ROUNDS", "10")) // 10)


def strike(server: ValkeyServer, how: str) -> None:
    if how == "kill":
        server.kill()
    else:
        server.pause()


def mend(server: ValkeyServer, how: str) -> None:
    if how == "kill":
        server.start()
    else:
        server.resume()


LONGER = pytest.mark.failover  # one of them goes with every make test


@pytest.mark.parametrize(
    ("how", "waiting"),
    [("kill", 0), pytest.param("freeze", 0, marks=LONGER), pytest.param("kill", 100_000, marks=LONGER)],
)
def test_a_master_of_a_cluster(how: str, waiting: int) -> None:
    with valkey_cluster(node_timeout=0.5) as cluster:
        timeout = 15 if waiting else 0.5
        redis = Redis(cluster_url(cluster), timeout=timeout, slow_timeout=timeout, offline_queue=waiting)
        with redis, Callers(redis, lossy=True) as callers:
            for _ in range(ROUNDS):
                victim = cluster.masters()[0]
                strike(victim, how)
                callers.progress()
                rt.blocking(mend, victim, how)
                rt.blocking(cluster.wait_ready)
                callers.progress()
            print(dict(callers.outcomes), redis.metrics().errors)
        assert callers.wrong == []
        assert callers.late == []
        if waiting:
            assert "RedisUnavailable" not in callers.outcomes  # they waited for the successor


@pytest.mark.failover
@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_primary_under_sentinels(how: str) -> None:
    with valkey_sentinel() as group:
        redis = Redis(sentinel_url(group), timeout=0.5)
        with redis, Callers(redis, lossy=True) as callers:
            for _ in range(ROUNDS):
                victim = group.primary()
                strike(victim, how)
                callers.progress()
                until(partial(succeeded, group, victim))
                rt.blocking(mend, victim, how)
                rt.blocking(group.wait_ready)
                callers.progress()
            print(dict(callers.outcomes))
        assert callers.wrong == []
        assert callers.late == []


def succeeded(group: SentinelGroup, victim: ValkeyServer) -> bool:
    """Most Sentinels know the new primary: callers need only one that does, and the others hear of it up to 2 s later."""
    try:
        return group.primary() is not victim
    except ServerError:
        return False


@pytest.mark.failover
def test_keys_of_living_nodes_go_on() -> None:
    """A master without replicas dies, in a Cluster that serves what it has."""
    settings = {"cluster-require-full-coverage": "no"}
    with valkey_cluster(replicas=0, node_timeout=0.5, settings=settings) as cluster:
        with Redis(cluster_url(cluster), timeout=0.5) as redis:
            victim = cluster.owner("a")
            keys = [str(number) for number in range(300)]
            lost = {key for key in keys if owner(cluster, key) is victim}
            redis.calls([("SET", key, key) for key in keys])
            victim.pause()
            end = monotonic() + 3
            while monotonic() < end:
                began = monotonic()
                replies = redis.calls([("GET", key) for key in keys], errors="return")
                assert monotonic() - began < 1.5
                for key, reply in zip(keys, replies, strict=True):
                    if key in lost:
                        assert isinstance(reply, RedisUnavailable)
                    else:
                        assert reply == key.encode()
                assert redis.available
            victim.resume()
            end = monotonic() + 20
            while any(
                isinstance(reply, Exception) for reply in redis.calls([("GET", key) for key in keys], errors="return")
            ):
                assert monotonic() < end
                rt.wait(rt.Event(), 0.05)
            assert redis.calls([("GET", key) for key in keys]) == [key.encode() for key in keys]


def owner(cluster: ValkeyCluster, key: str) -> object:
    return cluster.nodes[min(key_slot(key) * 3 // 16384, 2)]  # without asking it, as ``ValkeyCluster.owner`` would
