"""The pure parts of topologies: URLs of several servers, where keys are, what nodes say of one another."""

from __future__ import annotations

from typing import Any

import pytest

from mailgenius.config import RedisSettings, redact
from mailgenius.errors import ConfigError, RedisUnavailable
from mailgenius.link.address import Address, Servers, parse_servers
from mailgenius.link.commands import everywhere, kind, of_one_node
from mailgenius.link.slots import Shard, redirection, shards


def test_urls_of_clusters() -> None:
    found = parse_servers("redis+cluster://u:p%40ss@a:1,b,[::1]:3")
    login = {"username": "u", "password": "p@ss"}
    assert found.kind == "cluster"
    assert found.addresses == (Address(host="a", port=1, **login), Address(host="b", **login),
                               Address(host="::1", port=3, **login))  # fmt: skip
    assert parse_servers("rediss+cluster://a/2").addresses == (Address(host="a", tls=True, db=2),)


def test_urls_of_sentinels() -> None:
    found = parse_servers("rediss+sentinel://u:p@a,b:2/mail?db=3")
    assert found == Servers(
        kind="sentinel",
        name="mail",
        addresses=(Address(host="a", port=26379, tls=True, username="u", password="p"),
                   Address(host="b", port=2, tls=True, username="u", password="p")),
        login=Address(tls=True, username="u", password="p", db=3),
    )  # fmt: skip
    url = "redis+sentinel://:p@a/mail?sentinel_username=s&sentinel_password=secret"
    other = parse_servers(url)
    assert other.addresses == (Address(host="a", port=26379, username="s", password="secret"),)
    assert other.login == Address(password="p")
    assert "secret" not in redact(url) + repr(other)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+cluster://", "no host is given"),
        ("redis+cluster://a?x=1", "'x' is unknown there"),
        ("redis+cluster://a:0", "the port is not"),
        ("redis+cluster://a/x", "the database is not a number"),
        ("redis+sentinel://a", "the name of the primary is missing"),
        ("redis+sentinel://a/m?x=1", "'x' is unknown there"),
        ("redis+other://a", "begins with neither"),
        ("unix+cluster://a", "begins with neither"),
    ],
)
def test_urls_that_are_none(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"^\$\.redis_url: .*{why}"):
        parse_servers(url)


def test_who_is_read_from() -> None:
    with pytest.raises(ConfigError, match=r"^\$\.redis\.read_from: "):
        RedisSettings(read_from="nobody")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("GET a", "a"),
        ("MGET a b", "a b"),
        ("MSET a 1 b 2", "a b"),
        ("RENAME a b", "a b"),
        ("BLPOP a b 0", "a b"),
        ("BITOP AND a b c", "a b c"),
        ("EVAL script 2 a b c", "a b"),
        ("evalsha x 0 a", ""),
        ("EVAL script many a", ""),
        ("EVAL", ""),
        ("ZUNIONSTORE a 2 b c WEIGHTS 1 2", "a b c"),
        ("ZINTERCARD 2 a b LIMIT 1", "a b"),
        ("XREAD COUNT 1 STREAMS a b 0 0", "a b"),
        ("XREAD BLOCK 1 STREAMS a 0", "a"),
        ("XREADGROUP GROUP STREAMS c STREAMS a >", "a"),
        ("XREAD", ""),
        ("SORT a BY b STORE c", "a c"),
        ("SORT a", "a"),
        ("GEORADIUS a 1 2 3 km STOREDIST b", "a b"),
        ("GEORADIUSBYMEMBER a b 3 km STORE c", "a c"),
        ("MIGRATE h 1 a 0 5", "a"),
        ("OBJECT ENCODING a", "a"),
        ("MEMORY USAGE a", "a"),
        ("MEMORY STATS", ""),
        ("XINFO STREAM a", "a"),
        ("PING", ""),
        ("CLIENT LIST", ""),
    ],
)
def test_keys(command: str, keys: str) -> None:
    for words in (tuple(command.split()), tuple(word.encode() for word in command.split())):
        known = kind(words)
        found = words[known.key : known.key + 1] if known.key else known.keys(words) if known.keys else None
        assert found is not None
        assert [word.decode() if isinstance(word, bytes) else word for word in found] == keys.split()


def test_keys_of_a_migration() -> None:
    known = kind(("MIGRATE",))
    assert known.keys is not None
    assert list(known.keys(("MIGRATE", "h", 1, "", 0, 5, "KEYS", "a", "b"))) == ["a", "b"]
    assert list(known.keys(("MIGRATE", "h", 1, "", 0, 5))) == []


@pytest.mark.parametrize("command", ["APPEND a b", "SETEX a 1 b", "INCR a", "LPOP a", "PUBLISH a b"])
def test_replicas_are_not_asked_to_change_anything(command: str) -> None:
    assert not kind(tuple(command.split())).read


@pytest.mark.parametrize(
    ("command", "all_of_them", "one"),
    [
        ("FLUSHALL", True, False),
        ("script LOAD x", True, False),
        ("SCRIPT EXISTS x", False, False),
        ("SCAN 0", False, True),
        ("client LIST", False, True),
        ("PING", False, False),
    ],
)
def test_commands_without_keys(command: str, all_of_them: bool, one: bool) -> None:
    words = tuple(command.split())
    assert (everywhere(words), of_one_node(words)) == (all_of_them, one)


def test_what_a_node_says_of_the_slots() -> None:
    reply: list[Any] = [
        [0, 8191, [b"10.0.0.1", 7000, b"id"], [b"", 7001, b"id", []], [None, 7002, b"id"]],
        [8192, 16383, [b"?", 7003, b"id", [b"hostname", b"x"]]],
    ]
    assert shards(reply, "here") == [
        Shard(0, 8191, ("10.0.0.1", 7000), (("here", 7001), ("here", 7002))),
        Shard(8192, 16383, ("here", 7003), ()),
    ]


@pytest.mark.parametrize("reply", [[], None, [[0]], [[0, 1, [b"h", b"x"]]], [[0, 1, 2]]])
def test_what_cannot_be_understood(reply: Any) -> None:
    with pytest.raises(RedisUnavailable):
        shards(reply, "here")


def test_redirections() -> None:
    assert redirection("MOVED 3999 127.0.0.1:6381", "here") == (3999, ("127.0.0.1", 6381))
    assert redirection("ASK 0 :6381", "here") == (0, ("here", 6381))
    assert redirection("MOVED 1 2001:db8::1:6381", "here") == (1, ("2001:db8::1", 6381))
    for wrong in ("MOVED", "MOVED x h:1", "MOVED 16384 h:1", "MOVED 1 h"):
        with pytest.raises(ValueError):  # noqa: PT011 - of any text: it is caught at once
            redirection(wrong, "here")
