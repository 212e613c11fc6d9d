# Made from test_link_async.py by `python -m tools.twin`: edit that one.
"""Redis against real servers: replies, refusals, batches, scripts, connections of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailgenius import Redis
from mailgenius.errors import ConfigError, RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.servers import ValkeyServer


@pytest.mark.parametrize("protocol", [3, 2])
def test_replies(redis_versions: ValkeyServer, protocol: int) -> None:
    with Redis(redis_versions.url, protocol=protocol) as redis:
        assert redis.call("SET", "a", b"\0\xff") == b"OK"
        assert redis.call("GET", "a") == b"\0\xff"
        assert redis.get("a") == b"\0\xff"
        assert redis.call("GET", "none") is None
        assert redis.call("INCRBY", "n", -3) == -3
        assert redis.call("INCRBYFLOAT", "f", 1.5) == b"1.5"
        redis.call("HSET", "h", "x", 1, "y", memoryview(b"2"))
        wanted: Any = {b"x": b"1", b"y": b"2"}
        assert redis.call("HGETALL", "h") == (wanted if protocol == 3 else [b"x", b"1", b"y", b"2"])
        big = b"v" * 3_000_000
        redis.call("SET", "big", big)
        assert redis.call("GET", "big") == big


def test_refusals_have_a_code(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        redis.call("SET", "a", 1)
        with pytest.raises(RedisRefused) as refused:
            redis.call("LPUSH", "a", 1)
        assert refused.value.code == "WRONGTYPE"
        assert redis.call("GET", "a") == b"1"
        assert redis.available
        assert redis.metrics().errors == {"WRONGTYPE": 1}


def test_batches(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        assert redis.calls([]) == []
        assert redis.calls([("SET", f"k{n}", n) for n in range(5000)]) == [b"OK"] * 5000
        assert redis.calls([["GET", f"k{n}"] for n in range(5000)]) == [b"%d" % n for n in range(5000)]
        some = [("GET", "k1"), ("LPUSH", "k1", 1), ("GET", "k2")]
        replies = redis.calls(some, errors="return")
        assert (replies[0], replies[2]) == (b"1", b"2")
        assert isinstance(replies[1], RedisRefused)
        with pytest.raises(RedisRefused, match="WRONGTYPE"):
            redis.calls(some)


def test_transactions(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        assert redis.calls([("INCR", "n"), ("INCR", "n")], atomic=True) == [1, 2]
        replies = redis.calls([("INCR", "n"), ("LPUSH", "n", 1)], atomic=True, errors="return")
        assert replies[0] == 3
        assert isinstance(replies[1], RedisRefused)
        with pytest.raises(RedisRefused, match="wrong number of arguments"):
            redis.calls([("INCR", "n"), ("GET",)], atomic=True)
        assert redis.call("GET", "n") == b"3"


def test_commands_that_belong_elsewhere_are_not_sent(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        for command in (("BLPOP", "l", 0), ("subscribe", "c"), ("MULTI",), ("SELECT", 1), ("CLIENT", "TRACKING", "ON")):
            with pytest.raises(ValueError, match=r"see blocking\(\) and dedicated\(\)"):
                redis.call(*command)
            with pytest.raises(ValueError, match=r"see blocking\(\) and dedicated\(\)"):
                redis.calls([("PING",), command])
        assert redis.call("PING") == b"PONG"


def test_what_is_no_command_is_told_where(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        with pytest.raises(ValueError, match=r"^an empty Redis command: give its name"):
            redis.call()
        with pytest.raises(ValueError, match=r"^an empty Redis command: give its name"):
            redis.blocking()
        for atomic in (False, True):
            with pytest.raises(ValueError, match=r"^command 2: an empty Redis command"):
                redis.calls([("PING",), ()], atomic=atomic)
        for wrong in (None, {}, True, [], {"a"}):
            says = "a Redis command takes str, bytes, int, float or a buffer"
            with pytest.raises(TypeError, match=f"^word 3 of SET: {says}"):
                redis.call("SET", "a", wrong)
            with pytest.raises(TypeError, match=f"^word 1: {says}"):
                redis.call(wrong, "a")
            with pytest.raises(TypeError, match=f"^command 2, word 2 of GET: {says}"):
                redis.calls([("PING",), ("GET", wrong)])
            with pytest.raises(TypeError, match=f"^command 2, word 1: {says}"):
                redis.calls([("PING",), (wrong, "a")])
        nothing: Any = None
        with pytest.raises(
            TypeError, match=r'^command 1: give the words of a Redis command in a tuple, \("GET", key\)'
        ):
            redis.calls(["GET"])
        with pytest.raises(TypeError, match=r"^command 1: .* not NoneType$"):
            redis.calls([nothing])
        assert redis.call(bytearray(b"SET"), memoryview(b"a"), 1.5) == b"OK"
        assert redis.calls([(bytearray(b"GET"), "a")]) == [b"1.5"]


def test_scripts_are_loaded_when_needed(redis_versions: ValkeyServer, tmp_path: Path) -> None:
    file = tmp_path / "pair.lua"
    file.write_text("return {KEYS[1], ARGV[1]}")
    with Redis(redis_versions.url) as redis:
        script = redis.script(file)
        assert script(["k"], [1]) == [b"k", b"1"]
        assert script(["k"], [2]) == [b"k", b"2"]
        assert redis.metrics().errors == {"NOSCRIPT": 1}
        redis.call("SCRIPT", "FLUSH")
        script.load()
        assert redis.calls([script.command(["a"], ["b"])]) == [[b"a", b"b"]]
        with pytest.raises(RedisRefused, match="mine"):
            redis.script("return redis.error_reply('mine')")()


def test_blocking_calls_do_not_hold_up_others(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url, timeout=0.2) as redis:
        assert redis.blocking("BLPOP", "list", 0.3) is None
        redis.call("RPUSH", "list", "x")
        assert redis.blocking("BLPOP", "list", 1) == [b"list", b"x"]
        assert redis.metrics().connections == 2  # the shared one, and one that is kept
        with pytest.raises(RedisTimeout):
            redis.blocking("BLPOP", "other", 5, timeout=0.05)
        assert redis.available
        assert redis.call("RPUSH", "list", "y") == 1
        assert redis.blocking("BLPOP", "list", 1, timeout=5) == [b"list", b"y"]


def test_what_follows_a_blocking_call_needs_no_round_trip(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis:
        assert redis.blocking("BLPOP", "list", 0.1, then=("INCR", "n")) == [None, 1]
        redis.call("RPUSH", "list", "x", "y")
        assert redis.blocking("BLPOP", "list", 1, then=("LLEN", "list")) == [[b"list", b"x"], 1]
        found, refused = redis.blocking("BLPOP", "list", 1, then=("EVALSHA", "0" * 40, 0))
        assert found == [b"list", b"y"]
        assert isinstance(refused, RedisRefused)
        assert refused.code == "NOSCRIPT"
        redis.call("SET", "text", "x")
        with pytest.raises(RedisRefused, match="WRONGTYPE"):
            redis.blocking("BLPOP", "text", 1, then=("INCR", "n"))
        with pytest.raises(RedisTimeout):
            redis.blocking("BLPOP", "list", 5, timeout=0.05, then=("INCR", "n"))
        assert redis.call("GET", "n") == b"2"


@pytest.mark.parametrize("protocol", [3, 2])
def test_messages_and_calls_on_a_connection_of_ones_own(redis_versions: ValkeyServer, protocol: int) -> None:
    with Redis(redis_versions.url, protocol=protocol) as redis:
        with redis.dedicated() as connection:
            connection.send("SUBSCRIBE", "c")
            assert connection.next_push(5) == [b"subscribe", b"c", 1]
            for n in range(3):
                redis.call("PUBLISH", "c", n)
            got = []
            for push in connection.pushes():
                got.append(push)
                if len(got) == 3:
                    break
            assert got == [[b"message", b"c", b"%d" % n] for n in range(3)]
            assert connection.next_push(0.01) is None
            if protocol == 3:
                assert connection.call("PING") == b"PONG"
        assert connection.lost
        with pytest.raises(RedisUnavailable):
            connection.call("PING")


def test_invalidations(redis_versions: ValkeyServer) -> None:
    pushes: list[Any] = []
    with Redis(redis_versions.url) as redis, redis.dedicated(on_push=pushes.append) as connection:
        connection.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "lead:")
        redis.calls([("SET", "other", 1), ("SET", "lead:1", 1)])
        while not pushes:
            connection.call("PING")
        assert pushes == [[b"invalidate", [b"lead:1"]]]


def test_watch(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis, redis.dedicated() as connection:
        connection.call("WATCH", "a")
        redis.call("SET", "a", 1)
        assert (connection.calls([("MULTI",), ("SET", "a", 2), ("EXEC",)]))[-1] is None
        assert redis.call("GET", "a") == b"1"


def test_a_new_connection_can_be_prepared(redis_server: ValkeyServer) -> None:
    names = []

    def prepare(connection: Any) -> None:
        names.append(connection.call("CLIENT", "GETNAME"))

    with Redis(redis_server.url, on_connected=prepare, client_name="tester") as redis:
        redis.call("PING")
        redis.call("PING")
    assert names == [b"tester"]


def test_users_and_databases(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as admin:
        admin.call("ACL", "SETUSER", "reader", "on", ">se:cr/et", "~*", "+@read", "+@connection")
        base = redis_server.url.split("@")[-1]
        host = f"redis://reader:se%3Acr%2Fet@127.0.0.1:{port(admin)}/3" if base else ""
        with Redis(host) as redis:
            assert redis.call("GET", "a") is None
            with pytest.raises(RedisRefused) as refused:
                redis.call("SET", "a", 1)
            assert refused.value.code == "NOPERM"
            assert b"db=3" in redis.call("CLIENT", "INFO")
        with Redis(host.replace("se%3A", "wrong")) as redis:
            with pytest.raises(RedisUnavailable, match="WRONGPASS") as wrong:
                redis.call("GET", "a")
            assert "wrongcr" not in f"{wrong.value!r} {redis!r}"
            assert not redis.available
        admin.call("ACL", "DELUSER", "reader")


def port(redis: Redis) -> int:
    found = redis.call("CONFIG", "GET", "port")
    return int(found[b"port"] if isinstance(found, dict) else found[1])


def test_a_closed_client_says_so(redis_server: ValkeyServer) -> None:
    redis = Redis(redis_server.url)
    redis.call("PING")
    redis.close()
    redis.close()
    assert not redis.available
    with pytest.raises(RedisUnavailable, match="closed"):
        redis.call("PING")
    assert redis.metrics().connections == 0


def test_settings_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match=r"^\$\.redis\.time_out: unknown"):
        Redis("redis://", time_out=3)
