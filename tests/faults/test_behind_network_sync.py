# Made from test_behind_network_async.py by `python -m tools.twin`: edit that one.
"""Write-behind over a network that resets, swallows and delays: nothing accepted twice out of order, nothing half done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mailgenius.cache import Flusher, Item, Region, WriteBehind
from mailgenius.cache.behind import names, names_in
from mailgenius.errors import RedisOutcomeUnknown, RedisUnavailable
from mailgenius.link import Redis
from mailgenius.servers import valkey
from tests.faults.proxy import FaultProxy, at, through
from tests.faults.test_link_faults_sync import back

REGION = Region(name="lead", serializer="raw")
SETTINGS = {"requirepass": "", "save": ""}


def log(redis: Redis) -> list[bytes]:
    """The names in the stream, one for each write."""
    found = redis.call("XRANGE", names("lead").log, "-", "+")
    return [name for _, fields in found for name in names_in(fields)]


def test_a_reset_is_tried_again(tmp_path: Path) -> None:
    with valkey(tmp_path / "v", port=0, settings=SETTINGS) as server, FaultProxy(at(server)) as proxy:
        with Redis(through(proxy)) as redis:
            own = WriteBehind(redis, REGION)
            own.put("a", b"1")
            proxy.arm(1, proxy.cut)
            second = own.put("a", b"2")
            assert proxy.done.is_set()
            assert redis.get("lead:a") == b"2"
            assert own.put("a", b"3") > second
        with Redis(server.url) as good:
            assert good.get("lead:a") == b"3"
            assert log(good) in ([b"lead:a"] * 3, [b"lead:a"] * 4)


def test_what_was_given_up_is_not_carried_out_later(tmp_path: Path) -> None:
    """The first write lies in the network; its caller gives up, writes another value over another connection, and only then
    the network delivers the first."""
    with valkey(tmp_path / "v", port=0, settings=SETTINGS) as server, FaultProxy(at(server)) as slow:
        with Redis(through(slow), timeout=0.2, connect_timeout=0.5) as redis, Redis(server.url) as good:
            own = WriteBehind(redis, REGION)
            own.put("a", b"0")
            slow.stall()
            with pytest.raises((RedisOutcomeUnknown, RedisUnavailable)):
                own.put("a", b"1", timeout=0.3)
            own._put = good.script(own._put.source)  # its next connection takes a way that is free
            own.put("a", b"2")
            before = calls(good)
            slow.mend()
            back(redis)
            while calls(good) == before:
                good.call("PING")
            assert good.get("lead:a") == b"2"
            assert log(good) == [b"lead:a"] * 2


def calls(redis: Redis) -> bytes:
    """How often scripts were called."""
    text: bytes | str = redis.call("INFO", "commandstats")
    lines = (text.encode() if isinstance(text, str) else text).splitlines()
    return b"".join(line.partition(b",")[0] for line in lines if line.startswith(b"cmdstat_eval"))


def test_a_flusher_waits_until_redis_is_back(tmp_path: Path) -> None:
    seen: list[Item] = []

    def write(items: Sequence[Item]) -> None:
        if not seen:
            proxy.cut()  # the acknowledgement finds no connection
        seen.extend(items)

    with valkey(tmp_path / "v", port=0, settings=SETTINGS) as server, FaultProxy(at(server)) as proxy:
        with Redis(through(proxy), timeout=0.3) as redis, Redis(server.url) as good:
            own = WriteBehind(good, REGION)
            own.put("a", b"1")
            with Flusher(redis, REGION, write, every=0.0, lease=1.0):
                own.flush(10)
                proxy.stall()
                own.put("a", b"2")
                assert (own.pending()).writes == 1
                proxy.mend()
                own.flush(10)
    assert seen[-1].value == b"2"
    assert [item.version for item in seen] == sorted(item.version for item in seen)
