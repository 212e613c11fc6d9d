# Made from test_queue_safety_async.py by `python -m tools.twin`: edit that one.
"""Jobs on servers that keep them, and on those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailgenius.errors import ConfigError, RedisOutcomeUnknown
from mailgenius.link import Redis
from mailgenius.queue import Policy, Queue
from mailgenius.servers import ValkeyServer, valkey
from tests.conftest import REDIS_PROGRAMS


def test_a_server_that_keeps_nothing_is_refused(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        queue = Queue(redis, "q")
        with pytest.raises(
            ConfigError, match=r"\$.queue.q: this Redis is not safe.* set appendonly to yes\. unsafe=True"
        ):
            queue.add("a")
        with pytest.raises(ConfigError, match="appendonly"):
            queue.add_many("a", range(3))
        redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(ConfigError, match=r"maxmemory-policy is allkeys-lru.* set it to noeviction"):
                queue.add("a", delay=1)
        finally:
            redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert (queue.counts()).waiting == 0
        assert Queue(redis, "q", unsafe=True).add("a")


def test_durable_jobs_outlive_a_killed_server(place: Path) -> None:
    with valkey(place / "v", port=0, settings={"appendfsync": "everysec", "save": ""}) as server:
        with Redis(server.url) as redis:
            queue = Queue(redis, "q")
            ids = [queue.add("a", n, durable=True) for n in range(20)]
            ids += queue.add_many("a", range(20, 5000), durable=True)
            ids.append(queue.add("a", 5000, delay=1, durable=True))
            server.kill()
            server.start()
        with Redis(server.url) as redis:
            queue = Queue(redis, "q")
            counts = queue.counts()
            assert (counts.waiting, counts.delayed) == (5000, 1)
            assert queue.show(ids[-2]) is not None


def test_a_server_that_was_started_anew_is_noticed(place: Path) -> None:
    with valkey(place / "v", port=0, settings={"appendfsync": "everysec"}) as server:
        with Redis(server.url) as redis:
            queue = Queue(redis, "q", timeout=3.0)
            queue.add("a", durable=True)
            server.kill()
            server.start()
            with pytest.raises(RedisOutcomeUnknown, match="whether they are on the server's disk is not known"):
                queue.add("a", durable=True)  # it may have been the old one that answered
            assert queue.add("a", durable=True)


def test_durable_needs_a_server_that_can_tell(place: Path) -> None:
    if "redis-6.2" not in REDIS_PROGRAMS:
        pytest.skip("there is no Redis 6.2")
    program = REDIS_PROGRAMS["redis-6.2"]
    with valkey(place / "v", port=0, settings={"appendfsync": "everysec"}, program=program) as server:
        with Redis(server.url) as redis:
            queue = Queue(redis, "q")
            assert queue.add("a")
            with pytest.raises(ConfigError, match="durable writes need WAITAOF"):
                queue.add("a", durable=True)
            redis.call("CONFIG", "SET", "appendfsync", "always")
            assert queue.add("a", durable=True)


def test_configure_tells_the_scripts_what_the_policy_says(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        policy = Policy(max_stalled=3, keep_failed=7, keep_failed_for=1.5, events=9)
        queue = Queue(redis, "q", policy=policy, unsafe=True)
        queue.configure()
        found = redis.call("HMGET", "mg:{q}:q", "max_stalled", "keep_dead", "keep_dead_ms", "events")
        assert found == [b"3", b"7", b"1500", b"9"]
