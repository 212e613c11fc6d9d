# Made from test_behind_async.py by `python -m tools.twin`: edit that one.
"""Write-behind: what is accepted comes into the database, in order, once it counts."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

import msgspec
import pytest

from mailgenius.cache import Flusher, Item, Region, WriteBehind
from mailgenius.cache.behind import id_of, names, version_of
from mailgenius.errors import ConfigError, FlushTimeout, WriteBehindFull
from mailgenius.link import Redis
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer

REGION = Region(name="lead", serializer="raw", ttl=100.0)
QUICK: dict[str, Any] = {"every": 0.0, "lease": 0.5}


class Table:
    """What a database with the version condition would hold."""

    def __init__(self) -> None:
        self.rows: dict[Any, tuple[int, bytes | None]] = {}
        self.calls: list[int] = []
        self.refused: set[bytes] = set()
        self.down: Exception | None = None

    def write(self, items: Sequence[Item]) -> None:
        self.calls.append(len(items))
        if self.down is not None:
            raise self.down
        if bad := [item for item in items if item.value in self.refused]:
            raise ValueError(f"bad: {bad[0].key}")
        for item in items:
            if self.rows.get(item.key, (0, None))[0] < item.version:
                self.rows[item.key] = (item.version, item.value)

    @property
    def values(self) -> dict[Any, bytes | None]:
        return {key: value for key, (_, value) in self.rows.items()}


def behind(redis: Redis, **more: Any) -> WriteBehind:
    return WriteBehind(redis, REGION, unsafe=True, **more)


def meta(key: Any) -> bytes:
    return msgspec.msgpack.encode((key, None, False, 1000))


def until(true: Any, seconds: float = 10.0) -> None:
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline
        rt.wait(rt.Event(), 0.005)


def test_what_was_put_is_in_the_cache_and_then_in_the_database(redis_versions: ValkeyServer) -> None:
    table = Table()
    with Redis(redis_versions.url) as redis:
        own = behind(redis)
        first = own.put("a", b"1")
        assert redis.get("lead:a") == b"1"
        assert redis.call("PTTL", "lead:a") == -1
        assert own.put("b", b"2") > first
        assert own.put(("a", 7), b"3", ttl=5.0)
        assert own.delete("b", b"none") > first
        waiting = own.pending()
        assert (waiting.writes, waiting.keys, waiting.dead) == (4, 3, 0)
        assert waiting.since is not None
        with Flusher(redis, REGION, table.write, **QUICK) as flusher:
            own.flush(10)
            assert table.values == {"a": b"1", "b": None, ("a", 7): b"3"}
            assert table.rows["a"][0] == first
            assert flusher.metrics().written == 3
        assert own.pending() == own.pending()
        assert (own.pending()).writes == 0
        assert 90_000 < redis.call("PTTL", "lead:a") <= 100_000
        assert 0 < redis.call("PTTL", "lead:(a,7") <= 5_000
        assert redis.get("lead:b") == b"none"
        assert redis.call("EXISTS", names("lead").lease, names("lead").open) == 0


def test_a_value_that_was_put_again_stays_until_that_is_written(redis_server: ValkeyServer) -> None:
    table = Table()
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        own.put("a", b"1")

        def write(items: Sequence[Item]) -> None:
            if not table.rows:
                own.put("a", b"2")
            table.write(items)

        with Flusher(redis, REGION, write, every=60.0) as flusher:
            until(lambda: flusher.metrics().entries == 1 or flusher.metrics().entries == 2)
            own.flush(10)
        assert table.values == {"a": b"2"}
        assert redis.call("PTTL", "lead:a") > 0


def test_writes_of_one_value_become_one(redis_server: ValkeyServer) -> None:
    table = Table()
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        for n in range(250):
            own.put(n % 5, b"%d" % n)
        with Flusher(redis, REGION, table.write, batch=50, **QUICK):
            own.flush(10)
    assert table.values == {n: b"%d" % (245 + n) for n in range(5)}
    assert table.calls == [5]


def test_writes_become_one_beyond_a_batch(redis_server: ValkeyServer) -> None:
    table = Table()
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        for n in range(300):
            own.put(n % 30, b"%d" % n)
        with Flusher(redis, REGION, table.write, batch=20, **QUICK) as flusher:
            own.flush(10)
            counts = flusher.metrics()
    assert table.values == {n: b"%d" % (270 + n) for n in range(30)}
    assert table.calls == [20, 10]  # after 200 entries, with the values of now: the other 100 have nothing new
    assert (counts.entries, counts.written, counts.batches) == (300, 30, 2)


def test_more_names_than_are_struck_off_at_a_time(redis_server: ValkeyServer) -> None:
    table = Table()
    table.refused = {b"7", b"2345"}
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        for n in range(2500):
            own.put(n, b"%d" % n)
        with Flusher(redis, REGION, table.write, batch=3000, attempts=1, **QUICK):
            own.flush(10)
        waiting = own.pending()
        assert (waiting.writes, waiting.keys, waiting.dead) == (0, 0, 2)
        assert {letter.key for letter in own.dead()} == {7, 2345}
        assert redis.call("EXISTS", "lead:7") == 0
        lives = redis.calls([("PTTL", f"lead:{n}") for n in (0, 999, 1000, 2499)])
        assert all(0 < live <= 100_000 for live in lives)
    assert len(table.rows) == 2498


def test_tenants_are_apart(redis_server: ValkeyServer) -> None:
    seen: list[Item] = []

    def write(items: Sequence[Item]) -> None:
        seen.extend(items)

    with Redis(redis_server.url) as redis:
        own = behind(redis)
        own.put("a", b"1", tenant="acme")
        own.put("a", b"2", tenant="beta")
        with Flusher(redis, REGION, write, decode=lambda name, data: (name, int(data)), **QUICK):
            own.flush(10)
    assert {(item.tenant, item.value) for item in seen} == {
        ("acme", ("lead:%@acme:a", 1)),
        ("beta", ("lead:%@beta:a", 2)),
    }


def test_bad_items_are_found_and_set_aside(redis_server: ValkeyServer) -> None:
    table = Table()
    table.refused = {b"bad"}
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        for n in range(100):
            own.put(n, b"bad" if n in (17, 80) else b"good")
        with Flusher(redis, REGION, table.write, attempts=2, **QUICK):
            own.flush(20)
            assert len(table.values) == 98
            letters = own.dead()
            assert [letter.key for letter in letters] == [17, 80]
            assert letters[0].error == "ValueError: bad: 17"
            assert letters[0].attempts == 2
            assert letters[0].data == b"bad"
            assert redis.get("lead:17") is None
            # A newer value supersedes the dead one; what is replayed is written as it is.
            own.put(17, b"new")
            table.refused = set()
            assert own.replay() == 1
            own.flush(20)
            assert table.values[17] == b"new"
            assert table.values[80] == b"bad"
            assert own.dead() == []
            assert (own.pending()).dead == 0


def test_a_dead_letter_goes_when_a_newer_value_is_written(redis_server: ValkeyServer) -> None:
    table = Table()
    table.refused = {b"bad"}
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        with Flusher(redis, REGION, table.write, attempts=1, **QUICK):
            own.put("a", b"bad")
            own.put("b", b"bad")
            own.flush(10)
            letters = own.dead()
            own.put("a", b"good")
            own.flush(10)
            assert [letter.key for letter in own.dead()] == ["b"]
            assert own.replay(letters[:1]) == 0
            assert own.discard(letters) == 1
            assert own.dead() == []
    assert table.values == {"a": b"good"}


def test_a_verdict_on_an_old_value_does_not_count_once_there_is_a_newer(redis_server: ValkeyServer) -> None:
    table = Table()
    with Redis(redis_server.url) as redis:
        own = behind(redis)

        def write(items: Sequence[Item]) -> None:
            if items[0].value == b"bad":
                own.put("a", b"good")
                raise ValueError("bad")
            table.write(items)

        own.put("a", b"bad")
        with Flusher(redis, REGION, write, attempts=1, **QUICK) as flusher:
            until(lambda: table.values)
            own.flush(10)
            assert flusher.metrics().failures == 1
        assert own.dead() == []
        assert redis.get("lead:a") == b"good"
    assert table.values == {"a": b"good"}


def test_what_cannot_be_decoded_is_set_aside(redis_server: ValkeyServer) -> None:
    table = Table()
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        own.put("a", b"x")
        own.put("b", b"1")
        with Flusher(redis, REGION, table.write, decode=lambda _, data: b"%d" % int(data), **QUICK):
            own.flush(10)
        assert table.values == {"b": b"1"}
        assert [letter.key for letter in own.dead()] == ["a"]


def test_a_database_that_is_away_stops_everything_and_kills_nothing(redis_server: ValkeyServer) -> None:
    table = Table()
    table.down = ConnectionError("away")
    errors: list[BaseException] = []
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        own.put("a", b"1")
        with Flusher(redis, REGION, table.write, attempts=1, on_error=errors.append, **QUICK) as flusher:
            until(lambda: len(errors) > 3)
            assert (own.pending()).dead == 0
            assert flusher.metrics().last_error == "ConnectionError: away"
            with pytest.raises(FlushTimeout, match="1 writes of region 'lead' still wait"):
                own.flush(0.05)
            table.down = None
            own.flush(10)
    assert table.values == {"a": b"1"}


def test_stopping_while_the_database_is_away_keeps_what_waits(redis_server: ValkeyServer) -> None:
    table = Table()
    table.down = ConnectionError("away")
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        own.put("a", b"1")
        with Flusher(redis, REGION, table.write, **QUICK):
            until(lambda: table.calls)
        table.down = None
        assert (own.pending()).writes == 1
        with Flusher(redis, REGION, table.write, **QUICK):
            own.flush(10)
    assert table.values == {"a": b"1"}


def test_full(redis_server: ValkeyServer) -> None:
    table = Table()
    with Redis(redis_server.url) as redis:
        own = behind(redis, maxlen=3)
        for n in range(3):
            own.put(n, b"x")
        began = monotonic()
        with pytest.raises(WriteBehindFull, match="3 writes of region 'lead' wait for the database"):
            own.put(3, b"x", timeout=0.2)
        assert 0.2 <= monotonic() - began < 2.0
        assert redis.get("lead:3") is None
        waiting = rt.spawn(own.put, 3, b"y")
        with Flusher(redis, REGION, table.write, **QUICK):
            waiting.join()
            own.flush(10)
    assert table.values[3] == b"y"


def test_a_standby_takes_over(redis_server: ValkeyServer) -> None:
    table, other = Table(), Table()
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        with Flusher(redis, REGION, table.write, **QUICK) as active:
            until(lambda: active.metrics().active)
            with Flusher(redis, REGION, other.write, **QUICK) as standby:
                own.put("a", b"1")
                own.flush(10)
                assert not standby.metrics().active
                assert not other.calls
                active.stop()
                until(lambda: standby.metrics().active, 2.0)
                own.put("b", b"2")
                own.flush(10)
    assert table.values == {"a": b"1"}
    assert other.values == {"b": b"2"}


def test_who_lost_the_lease_takes_nothing_off_the_stream(redis_server: ValkeyServer) -> None:
    table = Table()
    lease = names("lead").lease
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        stolen = rt.Event()

        def write(items: Sequence[Item]) -> None:
            if not stolen.is_set():
                redis.call("SET", lease, "somebody else", "PX", 300)
                stolen.set()
            table.write(items)

        own.put("a", b"1")
        with Flusher(redis, REGION, write, every=0.0, lease=5.0) as flusher:
            until(stolen.is_set)
            until(lambda: not flusher.metrics().active)
            assert (own.pending()).writes == 1
            assert flusher.metrics().written == 0
            redis.call("DEL", lease)
            own.flush(20)
    assert table.values == {"a": b"1"}
    assert len(table.calls) == 2


def test_versions_grow_whatever_the_clock_does(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        own = behind(redis)
        log = names("lead").log
        # As if the server's clock had been far ahead, and the second part of the id is about to outgrow its bits.
        redis.call("XADD", log, f"8000000000000-{(1 << 20) - 3}", "0", "x")
        versions = [own.put("a", b"%d" % n) for n in range(5)]
        assert versions == sorted(set(versions))
        assert versions[0] > version_of(b"8000000000000-%d" % ((1 << 20) - 3))
        assert version_of(id_of(versions[-1]).encode()) == versions[-1]
        assert versions[-1] < 1 << 63


def test_versions_are_lifted_above_those_of_the_database(redis_versions: ValkeyServer) -> None:
    """After FLUSHALL, with the clock gone back: new writes count all the same."""

    class Ahead(Table):
        def highest(self) -> int:
            return max((version for version, _ in self.rows.values()), default=0)

        def __call__(self, items: Sequence[Item]) -> None:
            self.write(items)

    table = Ahead()
    table.rows["a"] = (version_of(b"8000000000000-5"), b"old")
    with Redis(redis_versions.url) as redis:
        own = behind(redis)
        for n in range(0, 2500, 50):
            own._send([(f"lead:{key}", meta(key), b"%d" % (n + i)) for i in range(50) for key in "ab"[i % 2]])
        with Flusher(redis, REGION, table, **QUICK):
            own.flush(20)
            assert table.values == {"a": b"2498", "b": b"2499"}
            assert own.put("a", b"last") > version_of(b"8000000000000-5")
            own.flush(20)
        assert table.values["a"] == b"last"
        assert (own.pending()).keys == 0


def test_writes_of_one_script_have_versions_of_their_own(redis_versions: ValkeyServer) -> None:
    """In the order in which they came, also where their ids would outgrow what a version keeps of them."""
    table = Table()
    with Redis(redis_versions.url) as redis:
        own = behind(redis, maxlen=130)
        redis.call("XADD", names("lead").log, f"8000000000000-{(1 << 20) - 3}", "0", "x")
        redis.call("INCR", names("lead").count)
        batch = [("lead:a", meta("a"), b"%d" % n) if n % 2 else (f"lead:{n}", meta(n), b"%d" % n) for n in range(50)]
        first = own._send(batch)
        second = own._send(batch)
        assert first + second == sorted({*first, *second})
        assert (own.pending()).writes == 101
        third = own._send(batch)  # the bound counts writes, not entries
        assert [version > 0 for version in third] == [True] * 29 + [False] * 21
        assert third[0] > second[-1]
        assert third[28] < 1 << 63
        assert (own.pending()).writes == 130
        with Flusher(redis, REGION, table.write, **QUICK) as flusher:
            own.flush(10)
            assert flusher.metrics().entries == 130
        assert table.rows["a"] == (third[27], b"27")
        assert table.rows[28] == (third[28], b"28")
        assert table.rows[48] == (second[48], b"48")
        waiting = own.pending()
        assert (waiting.writes, waiting.keys) == (0, 0)


def test_a_value_that_somebody_deleted_is_a_dead_letter(redis_server: ValkeyServer) -> None:
    table = Table()
    with Redis(redis_server.url) as redis:
        own = behind(redis)
        own.put("a", b"1")
        own.put("b", b"2")
        own.delete("c", b"none")
        redis.call("DEL", "lead:a", "lead:c")
        with Flusher(redis, REGION, table.write, **QUICK):
            own.flush(10)
            assert table.values == {"b": b"2", "c": None}
            letters = own.dead()
            assert [(letter.key, letter.attempts, letter.data) for letter in letters] == [("a", 0, b"")]
            assert letters[0].error.startswith("LookupError: somebody deleted the cached value")
            assert own.replay() == 0
            own.put("a", b"3")
            own.flush(10)
            assert own.dead() == []
    assert table.values["a"] == b"3"


def test_unsafe_servers_are_refused(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        own = WriteBehind(redis, REGION)
        with pytest.raises(ConfigError, match=r"\$\.cache\.lead: this Redis is not safe .* set appendonly to yes"):
            own.put("a", b"1")
        assert redis.get("lead:a") is None
        redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(ConfigError, match="set it to noeviction"):
                own.check()
        finally:
            redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert behind(redis).put("a", b"1")


def test_bad_arguments(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        with pytest.raises(ConfigError, match=r"\$\.cache\.lead\.maxlen"):
            behind(redis, maxlen=0)
        with pytest.raises(ConfigError, match=r"\$\.cache\.lead\.flusher\.batch"):
            Flusher(redis, REGION, Table().write, batch=0)
