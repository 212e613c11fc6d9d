# Made from test_link_streams_async.py by `python -m tools.twin`: edit that one.
"""A stream that is damaged, slow, or comes in small pieces; a server that still loads its data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import monotonic

import pytest

from mailgenius import Redis
from mailgenius.errors import RedisTimeout, RedisUnavailable
from mailgenius.rt import threads as rt
from mailgenius.servers import valkey
from tests.faults.proxy import FaultProxy, at, through
from tests.faults.test_link_faults_sync import back, own_server, proxy

__all__ = ["own_server", "proxy"]  # fixtures


def echoes(redis: Redis, callers: int, rounds: int, timeout: float | None = None) -> Counter[str]:
    """What became of their calls; "wrong" is the reply of somebody else."""
    found: Counter[str] = Counter()

    def caller(mine: int) -> None:
        for number in range(rounds):
            word = f"{mine}-{number}".encode() * (1 + number * 7 % 50)
            try:
                reply = redis.call("ECHO", word, timeout=timeout)
            except RedisUnavailable as error:
                found[type(error).__name__] += 1
            else:
                found["right" if reply == word else "wrong"] += 1

    running = [rt.spawn(caller, mine) for mine in range(callers)]
    for one in running:
        one.join()
    return found


def test_damaged_bytes_end_the_connection(proxy: FaultProxy) -> None:
    with Redis(through(proxy), retries=0) as redis:
        for times in range(1, 11):
            back(redis)
            proxy.arm(1 + 397 * times, proxy.damage)
            found = echoes(redis, 20, 10)
            assert proxy.done.is_set()
            assert not found["wrong"]
            assert found["RedisUnavailable"]
            assert sum(found.values()) == 200
            back(redis)
            assert redis.metrics().lost == times


def test_damaged_bytes_among_what_changes(proxy: FaultProxy) -> None:
    with Redis(through(proxy)) as redis:
        redis.call("SET", "n", 0)
        proxy.arm(1, proxy.damage)
        with pytest.raises(RedisUnavailable, match=r"whether the command was carried out is not known.*not RESP"):
            redis.call("INCR", "n")
        back(redis)
        assert redis.call("GET", "n") == b"1"
        proxy.arm(1, proxy.damage)
        assert redis.call("GET", "n") == b"1"  # sent anew
        assert redis.available


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_small_pieces(proxy: FaultProxy, piece: int) -> None:
    proxy.piece = piece
    with Redis(through(proxy), timeout=20.0, connect_timeout=10.0) as redis:
        assert echoes(redis, 10, 10) == {"right": 100}
        assert redis.calls([("ECHO", number) for number in range(200)]) == [b"%d" % n for n in range(200)]
        assert redis.metrics().connects == 1


def test_a_slow_way(proxy: FaultProxy) -> None:
    proxy.delay = 0.02
    with Redis(through(proxy), timeout=20.0, connect_timeout=10.0) as redis:
        redis.call("PING")
        began = monotonic()
        assert echoes(redis, 50, 2) == {"right": 100}
        assert monotonic() - began < 50 * 2 * 0.04  # what one after the other would take at least
        with pytest.raises(RedisTimeout):
            redis.call("ECHO", "late", timeout=0.005)
        back(redis)
        assert echoes(redis, 20, 2) == {"right": 40}


def test_a_server_that_loads_its_data_is_waited_for(tmp_path: Path) -> None:
    slowly = {"key-load-delay": 2000, "loading-process-events-interval-bytes": 1024, "appendonly": "no"}
    with valkey(tmp_path / "valkey", port=0, settings={"requirepass": "", **slowly}) as server:
        host, port = at(server)
        url = f"redis://{host}:{port}"
        with Redis(url) as redis:
            redis.calls([("SET", f"k{number}", "x" * 100) for number in range(800)])
            redis.call("SAVE")
            again = rt.spawn(rt.blocking, server.restart)
            patient = Redis(url, offline_queue=10)
            errors = set()
            until = monotonic() + 60
            while "LOADING" not in str(errors):
                assert monotonic() < until, errors
                try:
                    redis.call("GET", "k1")
                except RedisUnavailable as error:
                    errors.add(str(error))
                rt.wait(rt.Event(), 0.005)
            assert not redis.available
            assert patient.call("GET", "k1", timeout=60) == b"x" * 100  # waits, and is never told LOADING
            assert "LOADING" not in patient.metrics().errors
            back(redis, 60)
            assert redis.call("DBSIZE") == 800
            patient.close()
            again.join()
