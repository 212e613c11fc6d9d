"""The loopback Cluster and the Sentinels: what the tests of topologies stand on."""

from __future__ import annotations

import time

import pytest
import redis

from mailgenius.errors import ServerError
from mailgenius.servers import valkey_cluster, valkey_sentinel
from mailgenius.servers._cluster_plan import SLOTS, nodes_conf, plan
from mailgenius.servers._system import wait_for
from tests.conftest import REDIS_PROGRAMS

from .processes import gone

versions = pytest.mark.parametrize("version", [name for name in REDIS_PROGRAMS if name in ("valkey-9", "redis-6.2")])


@pytest.mark.parametrize(("masters", "replicas"), [(1, 0), (3, 1), (5, 2), (7, 0)])
def test_a_plan_covers_every_slot_once(masters, replicas):
    count = masters * (1 + replicas)
    members = plan([f"{i:040x}" for i in range(count)], range(7000, 7000 + count), masters)
    owned = [slot for member in members if member.slots for slot in range(member.slots[0], member.slots[1] + 1)]
    assert owned == list(range(SLOTS))
    followed = [member.master for member in members if member.master]
    assert sorted(followed) == sorted(member.id for member in members[:masters] for _ in range(replicas))
    for me in members:
        assert nodes_conf(members, me).count("myself,") == 1


@versions
def test_cluster(version):
    with valkey_cluster(node_timeout=0.5, program=REDIS_PROGRAMS[version]) as cluster:
        assert [node.role for node in cluster.nodes] == ["master"] * 3 + ["replica"] * 3
        pids = [node.pid for node in cluster.nodes]
        with redis.RedisCluster.from_url(cluster.url, decode_responses=True) as client:
            for number in range(100):
                client.set(f"key:{number}", number)
        # A slot moves.
        source = cluster.owner("key:1")
        target = next(node for node in cluster.masters() if node is not source)
        slot = source.ask("CLUSTER", "KEYSLOT", "key:1")
        cluster.move_slot(slot, target)
        assert (cluster.owner("key:1"), target.ask("GET", "key:1")) == (target, "1")
        # A master dies: its replica takes over, and it comes back as a replica.
        target.ask("WAIT", 1, 5000)
        target.kill()
        assert wait_for(lambda: len(cluster.masters()) == 3, 30)
        cluster.wait_ready()
        heir = cluster.owner("key:1")
        assert (heir is target, heir.ask("GET", "key:1")) == (False, "1")
        target.restart()
        cluster.wait_ready()
        assert (target.role, len(cluster.replicas())) == ("replica", 3)
        # A paused node can be closed, too.
        target.pause()
        assert target not in cluster.serving()
        pids.append(target.pid)
        began = time.monotonic()
    assert all(gone(pid, 0) for pid in pids)
    assert time.monotonic() - began < 30
    assert not cluster.data_dir.exists()
    cluster.close()


def test_clusters_that_cannot_be():
    with pytest.raises(ServerError, match="0 masters"):
        valkey_cluster(0)
    with pytest.raises(ServerError, match="refuses a setting"):
        valkey_cluster(1, 0, settings={"no-such-thing": 1})


@versions
def test_sentinel(version):
    with valkey_sentinel(1, down_after=0.5, program=REDIS_PROGRAMS[version]) as group:
        first = group.primary()
        assert first is group.nodes[0]
        assert [node.role for node in group.replicas()] == ["replica"]
        first.ask("SET", "k", "v")
        assert first.ask("WAIT", 1, 5000) == 1
        first.kill()
        assert wait_for(lambda: group.primary() is not first, 30)
        group.wait_ready()
        second = group.primary()
        # What the Sentinels decided outlives restarts.
        second.restart()
        group.sentinels[0].restart()
        group.wait_ready()
        assert (group.primary(), second.role, second.ask("GET", "k")) == (second, "master", "v")
        assert group.sentinels[0].role == "sentinel"
    assert not group.data_dir.exists()
