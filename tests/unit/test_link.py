"""The pure parts of the Redis client: URLs, what is known of commands, the first words on a connection."""

from __future__ import annotations

from typing import Any

import pytest

from mailgenius.config import RedisSettings
from mailgenius.errors import ConfigError, RedisRefused, RedisUnavailable
from mailgenius.link.address import Address, parse
from mailgenius.link.commands import kind
from mailgenius.link.greeting import greeting


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://", Address(host="localhost")),
        ("redis://h", Address(host="h")),
        ("redis://h:7000/3", Address(host="h", port=7000, db=3)),
        ("redis://h?db=4", Address(host="h", db=4)),
        ("rediss://u:p%40ss@h", Address(host="h", tls=True, username="u", password="p@ss")),
        ("redis://:p@[::1]:1", Address(host="::1", port=1, password="p")),
        ("unix:///run/r.sock?db=2", Address(path="/run/r.sock", db=2)),
        ("unix://u:p@/run/r.sock", Address(path="/run/r.sock", username="u", password="p")),
    ],
)
def test_urls(url: str, wanted: Address) -> None:
    assert parse(url) == wanted


@pytest.mark.parametrize(
    "url", ["", "http://h", "redis://h:0", "redis://h:99999", "redis://h/x", "redis://h/1?db=1", "redis://h?a=1",
            "unix://", "redis://h /", "redis://[::1"]
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^\$\.redis_url: "):
        parse(url)


def test_passwords_are_not_shown() -> None:
    address = parse("redis://user:secret@h:1/2")
    assert "secret" not in repr(address)
    assert address.where == "redis://h:1/2"


@pytest.mark.parametrize(
    ("command", "again", "own"),
    [
        (("GET", "a"), True, False),
        (("get", "a"), True, False),
        ((b"mget", "a"), True, False),
        (("Set", "a", 1), False, False),
        (("INCR", "a"), False, False),
        (("BLPOP", "a", 1), False, True),
        (("subscribe", "a"), False, True),
        (("XREAD", "STREAMS", "BLOCK", "0"), True, False),
        (("XREAD", "COUNT", 1, "BLOCK", 5, "STREAMS", "s", "$"), False, True),
        (("xreadgroup", "group", "g", "c", "streams", "s", ">"), False, False),
        (("CLIENT", "TRACKING", "ON"), False, True),
        (("CLIENT", "LIST"), False, False),
        (("no-such-thing",), False, False),
    ],
)
def test_what_is_known_of_commands(command: tuple[object, ...], again: bool, own: bool) -> None:
    for _ in range(2):  # the second time it may be remembered
        known = kind(command)
        assert (known.again, known.own) == (again, own)


OK = b"OK"


def talk(address: Address, *answers: list[Any], protocol: int = 3) -> tuple[list[list[tuple[object, ...]]], int]:
    words = greeting(address, "me", protocol)
    said = [next(words)]
    for replies in answers:
        try:
            said.append(words.send(replies))
        except StopIteration as end:
            return said, end.value
    raise AssertionError("it wants more answers")


def test_greeting_in_resp3() -> None:
    said, protocol = talk(Address(host="h", password="p", db=2), [{}, OK, OK, b"PONG"])
    assert protocol == 3
    assert said == [
        [
            ("HELLO", 3, "AUTH", "default", "p", "SETNAME", "me"),
            ("CLIENT", "SETINFO", "LIB-NAME", "mailgenius"),
            ("SELECT", 2),
            ("PING",),
        ]
    ]


@pytest.mark.parametrize("refusal", ["ERR unknown command `HELLO`", "NOPROTO unsupported protocol version"])
def test_greeting_of_an_old_server(refusal: str) -> None:
    noauth = RedisRefused("NOAUTH Authentication required.")
    said, protocol = talk(
        Address(host="h", username="u", password="p"),
        [RedisRefused(refusal), noauth, noauth],
        [OK, OK, RedisRefused("ERR unknown subcommand"), b"PONG"],
    )
    assert protocol == 2
    assert said[1][:2] == [("AUTH", "u", "p"), ("CLIENT", "SETNAME", "me")]


def test_greeting_of_a_server_that_loads_or_refuses() -> None:
    with pytest.raises(RedisUnavailable, match="LOADING"):
        talk(Address(host="h"), [{}, OK, RedisRefused("LOADING Redis is loading the dataset in memory")])
    with pytest.raises(RedisRefused, match="WRONGPASS"):
        talk(Address(host="h", password="x"), [RedisRefused("WRONGPASS invalid"), OK, OK])
    with pytest.raises(RedisRefused, match="ERR invalid password"):
        talk(Address(host="h", password="x"), [RedisRefused("ERR invalid password"), OK, OK, OK], protocol=2)
    with pytest.raises(RedisRefused, match="out of range"):
        talk(Address(host="h", db=99), [{}, OK, RedisRefused("ERR DB index is out of range"), b"PONG"])


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"protocol": 4}, {"client_name": "a b"}, {"client_name": ""}, {"backoff_max": 0.01},
              {"tls_key": "k"}, {"retries": -1}]
)  # fmt: skip
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"^\$\.redis\.{next(iter(wrong))}: "):
        RedisSettings(**wrong)
