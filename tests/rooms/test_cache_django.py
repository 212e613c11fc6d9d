"""Django's cache: what its documentation and its own tests of backends ask for, by the plain methods and the async ones."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import CacheKeyWarning

from mailgenius.cache.django import Backend, close_all
from mailgenius.errors import ConfigError, RedisRefused
from mailgenius.servers import ValkeyServer
from tests.rooms.django_caches import AsyncWay, caches_of, key_function
from tests.waiting_sync import until

MONTH = 30 * 24 * 3600


@pytest.fixture(autouse=True)
def _stores() -> Iterator[None]:
    """Caches of a test share their counts with none of another."""
    yield
    close_all()


@pytest.fixture(params=["plain", "async"])
def caches(redis_versions: ValkeyServer, request: pytest.FixtureRequest) -> dict[str, Any]:
    made = caches_of(
        redis_versions,
        prefix={"KEY_PREFIX": "other"},
        v2={"VERSION": 2},
        own={"KEY_FUNCTION": key_function},
        own_by_name={"KEY_FUNCTION": "tests.rooms.django_caches.key_function"},
        forever={"TIMEOUT": None},
        never={"TIMEOUT": 0},
        culls={"OPTIONS": {"MAX_ENTRIES": 30, "CULL_FREQUENCY": 0}},
    )
    return {name: made[name] if request.param == "plain" else AsyncWay(made[name]) for name in made.settings}


@pytest.fixture
def cache(caches: dict[str, Any]) -> Any:
    return caches["default"]


def left(server: ValkeyServer, key: str, version: int = 1) -> int:
    """Milliseconds that a value of the default cache is still there; -1: for good; -2: it is not there."""
    found: int = server.ask("PTTL", f"django::{version}:{key}")
    return found


def test_a_value_comes_back(cache: Any) -> None:
    assert cache.get("key") is None
    assert cache.get("key", "default") == "default"
    assert cache.set("key", "value") is None
    assert cache.get("key") == "value"
    assert cache.has_key("key")
    assert "key" in cache
    assert not cache.has_key("other")
    assert "other" not in cache


def test_none_is_a_value(cache: Any) -> None:
    cache.set("none", None)
    assert cache.get("none", "default") is None
    assert cache.has_key("none")
    assert cache.get_many(["none", "other"]) == {"none": None}
    assert cache.add("none", 1) is False
    assert cache.get_or_set("none", 1) is None
    assert cache.incr_version("none") == 2


def test_add_does_not_replace(cache: Any) -> None:
    assert cache.add("key", "first") is True
    assert cache.add("key", "second") is False
    assert cache.get("key") == "first"


def test_many(cache: Any) -> None:
    assert cache.set_many({"a": "A", "b": "B", "c": None}) == []
    assert cache.get_many(["a", "c", "e"]) == {"a": "A", "c": None}
    assert cache.get_many(iter(["a", "b"])) == {"a": "A", "b": "B"}
    assert cache.get_many([]) == {}
    assert cache.set_many({}) == []
    assert cache.delete_many(iter(["a", "b", "e"])) is None
    assert cache.delete_many([]) is None
    assert cache.get_many(["a", "b", "c"]) == {"c": None}
    values = {f"k{i}": i for i in range(1201)}
    assert cache.set_many(values) == []
    assert cache.get_many(values) == values
    cache.delete_many(values)
    assert cache.get_many(values) == {}


def test_delete(cache: Any) -> None:
    cache.set_many({"a": 1, "b": 2})
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    assert cache.get("a") is None
    assert cache.get("b") == 2


def test_counting(cache: Any, redis_versions: ValkeyServer) -> None:
    cache.set("n", 41, 1000)
    assert cache.incr("n") == 42
    assert cache.incr("n", 10) == 52
    assert cache.decr("n") == 51
    assert cache.decr("n", 60) == -9
    assert cache.incr("n", -1) == -10
    assert cache.get("n") == -10
    assert 900_000 < left(redis_versions, "n") <= 1_000_000, "counting leaves the timeout as it is"
    for count in (cache.incr, cache.decr):
        with pytest.raises(ValueError, match="'missing' not found"):
            count("missing")
    assert cache.get("missing") is None


@pytest.mark.parametrize("value", [None, True, "1", 1.5, [1], 1 << 63])
def test_only_numbers_count(cache: Any, value: Any) -> None:
    cache.set("key", value)
    with pytest.raises(TypeError, match="no int of 64 bits"):
        cache.incr("key")
    assert cache.get("key") == value


def test_counting_ends_at_64_bits(cache: Any) -> None:
    cache.set("n", (1 << 63) - 1)
    with pytest.raises(OverflowError, match="beyond 64 bits"):
        cache.incr("n")
    with pytest.raises(OverflowError, match="in 64 bits"):
        cache.incr("n", 1 << 63)
    with pytest.raises(TypeError, match="whole numbers"):
        cache.incr("n", 0.5)
    assert cache.get("n") == (1 << 63) - 1


def test_types(cache: Any) -> None:
    values = {
        "string": "text", "int": 42, "big": 1 << 70, "bool": True, "float": 1.0, "list": [1, 2], "tuple": (1, 2),
        "bytes": b"\0", "dict": {"A": 1, 2: "B"}, "digits": "42", "no bool": 1,
    }  # fmt: skip
    cache.set_many({f"{key.replace(' ', '-')}": value for key, value in values.items()})
    for key, value in values.items():
        found = cache.get(key.replace(" ", "-"))
        assert (type(found), found) == (type(value), value)


def test_text_of_all_kinds_in_keys_and_values(cache: Any) -> None:
    stuff = {"ascii": "text", "Iñtërnâtiônàlizætiøn": "Iñtërnâtiônàlizætiøn2", "清": {"x": "🦊"}}
    for key, value in stuff.items():
        cache.set(key, value)
        assert cache.get(key) == value
        assert cache.delete(key)
        assert cache.add(key, value)
        assert cache.get(key) == value
        cache.delete(key)
    cache.set_many(stuff)
    assert cache.get_many(stuff) == stuff


def test_bytes(cache: Any) -> None:
    packed = zlib.compress(b"a value to be compressed")
    cache.set("set", packed)
    cache.add("add", packed)
    cache.set_many({"many": packed})
    assert cache.get_many(["set", "add", "many"]) == dict.fromkeys(["set", "add", "many"], packed)


def test_large_values_are_compressed(cache: Any, redis_versions: ValkeyServer) -> None:
    page = "<li>a line of a page</li>" * 4000
    cache.set("page", page)
    assert cache.get("page") == page
    assert redis_versions.ask("STRLEN", "django::1:page") < len(page) / 20


def test_timeouts(cache: Any, redis_versions: ValkeyServer) -> None:
    cache.set("default", 1)
    assert 299_000 < left(redis_versions, "default") <= 300_000
    cache.set("float", 1, 100.25)
    assert 99_250 < left(redis_versions, "float") <= 100_250
    cache.set("long", 1, MONTH + 1)  # not a point in time, as memcached would have it
    assert (MONTH - 60) * 1000 < left(redis_versions, "long") <= (MONTH + 1) * 1000
    cache.set("endless", 1, 10**15)
    assert cache.get("endless") == 1
    cache.add("added", 1, 1000)
    assert 990_000 < left(redis_versions, "added") <= 1_000_000
    cache.set_many({"many": 1}, 1000)
    assert 990_000 < left(redis_versions, "many") <= 1_000_000
    for key, store in (("set", cache.set), ("add", cache.add)):
        store(key, 1, None)
        assert left(redis_versions, key) == -1
    cache.set_many({"many": 1}, None)
    assert left(redis_versions, "many") == -1
    cache.set("set", 1)
    assert left(redis_versions, "set") > 0


def test_a_value_ends(cache: Any) -> None:
    cache.set_many({"a": 1, "b": 1, "c": 1}, 0.05)
    until(lambda: not cache.has_key("a"))
    until(lambda: cache.get("b") is None)
    until(lambda: cache.add("c", 2))
    assert cache.get("c") == 2


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_no_time_at_all(cache: Any, timeout: float) -> None:
    cache.set_many({"key": "before", "touched": 1, "many": "before"})
    cache.set("key", "after", timeout)
    assert cache.get("key") is None, "what was there before is gone"
    assert cache.add("key", 1, timeout) is True
    assert cache.get("key") is None
    assert cache.set_many({"many": 1}, timeout) == []
    assert cache.get("many") is None
    assert cache.touch("touched", timeout) is True
    assert cache.get("touched") is None
    cache.set("there", 1)
    assert cache.add("there", 2, timeout) is False
    assert cache.get("there") == 1


def test_touch(cache: Any, redis_versions: ValkeyServer) -> None:
    cache.set("key", 1, 1)
    assert cache.touch("key", 100) is True
    assert 99_000 < left(redis_versions, "key") <= 100_000
    assert cache.touch("key") is True
    assert 299_000 < left(redis_versions, "key") <= 300_000
    for _ in range(2):
        assert cache.touch("key", None) is True
        assert left(redis_versions, "key") == -1
    for timeout in (1, None, 0):
        assert cache.touch("missing", timeout) is False


def test_default_timeouts(caches: dict[str, Any], redis_versions: ValkeyServer) -> None:
    caches["forever"].set("key", 1)
    assert left(redis_versions, "key") == -1
    assert caches["forever"].incr_version("key") == 2
    assert left(redis_versions, "key", 2) == -1
    caches["forever"].set("key", 1, 100)
    assert left(redis_versions, "key") > 0
    caches["never"].set("key", 1)
    assert caches["never"].get("key") is None


def test_caches_with_other_prefixes_versions_and_functions_are_apart(caches: dict[str, Any]) -> None:
    for name in ("default", "prefix", "v2", "own"):
        assert not caches[name].has_key("key")
        caches[name].set("key", name)
    for name in ("default", "prefix", "v2", "own"):
        assert caches[name].get("key") == name
    assert caches["own_by_name"].get("key") == "own"


def test_versions(caches: dict[str, Any]) -> None:
    one, two = caches["default"], caches["v2"]
    one.set("key", 1)
    one.set("key", 2, version=2)
    assert (one.get("key"), one.get("key", version=1), one.get("key", version=2)) == (1, 1, 2)
    assert (two.get("key"), two.get("key", version=1)) == (2, 1)
    assert one.incr("key", version=2) == 3
    assert two.decr("key", version=1) == 0
    assert one.get_many(["key"], version=2) == two.get_many(["key"]) == {"key": 3}
    assert one.add("key", 9, version=2) is False
    assert one.touch("key", version=3) is False
    assert one.has_key("key", version=2) is True
    assert one.delete("key", version=2) is True
    assert not two.has_key("key")
    assert one.get("key") == 0
    one.set_many({"a": 1, "b": 2}, version=2)
    assert two.get_many(["a", "b"]) == {"a": 1, "b": 2}
    assert one.get_many(["a", "b"]) == {}
    two.delete_many(["a"])
    assert one.get_many(["a", "b"], version=2) == {"b": 2}
    assert two.get_or_set("c", 3, version=1) == 3
    assert one.get("c") == 3


def test_versions_change(caches: dict[str, Any]) -> None:
    one, two = caches["default"], caches["v2"]
    one.set("key", 42, version=2)
    assert one.incr_version("key", version=2) == 3
    assert one.get("key", version=2) is None
    assert one.get("key", version=3) == 42
    assert one.decr_version("key", 2, version=3) == 1
    assert one.get("key") == 42
    two.set("key", [1])
    assert two.incr_version("key", 3) == 5
    assert two.get("key", version=5) == [1]
    assert one.incr_version("key", 0) == 1
    assert one.get("key") == 42
    for change in (one.incr_version, one.decr_version):
        with pytest.raises(ValueError, match="'missing' not found"):
            change("missing")


def test_get_or_set(cache: Any) -> None:
    calls = []

    def work() -> str:
        calls.append(1)
        return "worked"

    assert cache.get_or_set("key", 42) == 42
    assert cache.get_or_set("key", 43) == 42
    assert cache.get_or_set("called", work) == cache.get_or_set("called", work) == "worked"
    assert calls == [1]
    assert cache.get_or_set("missing", None) is None
    assert cache.get("missing", "default") is None


def test_get_or_set_when_another_is_first(cache: Any, caches: dict[str, Any]) -> None:
    plain = cache._cache if isinstance(cache, AsyncWay) else cache

    def work() -> str:
        plain.set("key", "theirs")
        return "mine"

    assert cache.get_or_set("key", work) == "theirs"


def test_clear_leaves_others_alone(caches: dict[str, Any], redis_versions: ValkeyServer) -> None:
    redis_versions.ask("SET", "somebody", "else")
    for name in ("default", "prefix", "v2"):
        caches[name].set_many({f"{name}{i}": i for i in range(300)})
    assert caches["default"].clear() is None
    assert not caches["default"].has_key("default1")
    assert not caches["v2"].has_key("v21"), "another version of the same prefix"
    assert caches["prefix"].has_key("prefix1")
    assert redis_versions.ask("GET", "somebody") == "else"
    caches["own"].set("key", 1)
    caches["own"].clear()
    assert not caches["own"].has_key("key")
    assert not caches["prefix"].has_key("prefix1"), "a function of one's own: all of the namespace"
    assert redis_versions.ask("DBSIZE") == 1


def test_clear_with_a_prefix_that_looks_like_a_pattern(redis_server: ValkeyServer) -> None:
    caches = caches_of(redis_server, odd={"KEY_PREFIX": "*[a]?"}, all={"OPTIONS": {"clear": "flushdb"}})
    caches["default"].set("key", 1)
    caches["odd"].set("key", 1)
    caches["odd"].clear()
    assert not caches["odd"].has_key("key")
    assert caches["default"].has_key("key")
    redis_server.ask("SET", "somebody", "else")
    caches["all"].clear()
    assert redis_server.ask("DBSIZE") == 0


@pytest.mark.parametrize(
    ("key", "warning"),
    [
        ("key with spaces and 清", "contains characters that will cause errors if used with memcached"),
        ("a" * 250, r"longer than 250"),
    ],
)
@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("add", [1]), ("get", []), ("set", [1]), ("incr", []), ("decr", []), ("touch", []), ("delete", []), ("has_key", []),
    ],
)  # fmt: skip
def test_keys_that_memcached_refuses_are_warned_of_and_work(
    cache: Any, key: str, warning: str, method: str, args: list[Any]
) -> None:
    with pytest.warns(CacheKeyWarning):
        cache.set(key, 1)
    with pytest.warns(CacheKeyWarning, match=warning):
        getattr(cache, method)(key, *args)
    with pytest.warns(CacheKeyWarning, match=warning):
        assert cache.set_many({key: 5}) == []
    with pytest.warns(CacheKeyWarning, match=warning):
        assert cache.get_many([key, "b"]) == {key: 5}
    with pytest.warns(CacheKeyWarning, match=warning):
        cache.delete_many([key])


def test_what_cannot_be_stored_leaves_what_was_there(cache: Any) -> None:
    cache.set("b", "before")
    for store in (lambda: cache.set("b", {"x": object()}), lambda: cache.add("c", object)):
        with pytest.raises(TypeError, match=r"the value of '[bc]' cannot be cached: .*or give OPTIONS a serializer"):
            store()
    with pytest.raises(TypeError, match=r"the value of 'b' cannot be cached: builtins\.object is none"):
        cache.set_many({"a": 1, "b": object()})
    assert cache.get_many(["a", "b", "c"]) == {"b": "before"}


def test_close_keeps_the_connection_and_close_all_does_not(cache: Any) -> None:
    cache.set("key", 1)
    connects = cache.metrics().redis.connects
    cache.close()
    assert cache.get("key") == 1
    assert cache.metrics().redis.connects == connects
    close_all()
    assert cache.metrics().redis.connects == 0
    assert cache.get("key") == 1


class Reversed:
    """A serializer of an application."""

    def dumps(self, value: Any) -> bytes:
        return repr(value)[::-1].encode()

    def loads(self, data: bytes) -> Any:
        return data.decode()[::-1]


def test_a_serializer_of_ones_own(redis_server: ValkeyServer) -> None:
    for serializer in (Reversed, Reversed(), f"{__name__}.Reversed"):
        own = Backend(redis_server.url, {"OPTIONS": {"serializer": serializer, "budget": 5.0}})
        own.set_many({"object": Reversed, "n": 1, "page": "x" * 9000})
        assert own.get("object") == repr(Reversed)
        assert own.get("page") == repr("x" * 9000)
        assert own.incr("n") == 2
    plain = caches_of(redis_server)["default"]
    assert plain.get("object", "miss") == "miss"
    assert plain.metrics().unread == {"serializer": 1}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x80\x05K\x01.", "foreign"),  # a pickle
        (b"", "foreign"),
        (b"4 2", "foreign"),
        (b"\xc1D\xc1", "damaged"),
        (b"\xc1D\xc7\x01\x7f\x01", "damaged"),  # an extension that there is not
        (b"\xc1d\x28\xb5\x2f\xfd", "damaged"),
        (b"\xc1d\x28\xb5\x2f\xfd\xa4\xff\xff\xff\xff\x01\x00\x00", "damaged"),  # 4 GiB, it says
        (b"\xc1S1", "serializer"),
    ],
)
def test_what_cannot_be_read_is_a_miss(redis_server: ValkeyServer, data: bytes, why: str) -> None:
    cache = caches_of(redis_server)["default"]
    redis_server.ask("SET", "django::1:key", data)
    assert cache.get("key", "miss") == "miss"
    assert cache.get_many(["key"]) == {}
    assert cache.metrics().unread == {why: 2}
    cache.set("key", 1)
    assert cache.get("key") == 1


def test_a_name_that_holds_something_else(redis_server: ValkeyServer) -> None:
    caches = caches_of(redis_server, ignoring={"OPTIONS": {"ignore_errors": True}})
    redis_server.ask("RPUSH", "django::1:key", "a")
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        caches["default"].get("key")
    with pytest.raises(TypeError, match="no int"):
        caches["ignoring"].incr("key")
    assert caches["ignoring"].get("key", "miss") == "miss"
    caches["ignoring"].set("key", 1)
    assert caches["default"].get("key") == 1


@pytest.mark.parametrize(
    ("location", "options", "says"),
    [
        ("", {}, r"\$\.CACHES\.LOCATION: give one URL"),
        (["redis://a", "redis://b"], {}, "give one URL"),
        ("redis://a", {"budget": "soon"}, r"\$\.budget.*the options are budget, ignore_errors"),
        ("redis://a", {"budget": 0}, "budget: 0.0 is out of range"),
        ("redis://a", {"PARSER": 1}, "unknown field `PARSER`"),
        ("redis://a", {"clear": "all"}, "clear"),
        ("redis://a", {"redis": {"port": 1}}, r"\$\.redis\.port: unknown setting"),
    ],
)
def test_settings_that_cannot_be(location: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Backend(location, {"OPTIONS": options})


def test_a_forked_child_connects_anew(redis_server: ValkeyServer) -> None:
    cache = caches_of(redis_server)["default"]
    cache.set("n", 1)
    if (child := os.fork()) == 0:
        good = cache.incr("n") == 2 and cache.metrics().redis.connects == 1
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get("n") == 2
    assert cache.metrics().redis.connects >= 1
