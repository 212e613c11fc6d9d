# Made from test_behind_postgres_async.py by `python -m tools.twin`: edit that one.
"""PostgresUpserts: the row with the highest version stays. Durable writes; a server that is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mailgenius import Pool
from mailgenius.cache import Flusher, Item, PostgresUpserts, Region, WriteBehind
from mailgenius.errors import ConfigError, RedisRefused
from mailgenius.link import Redis
from mailgenius.servers import ValkeyServer, valkey

TABLE = "create table t (owner text, a int8, b text, name text, data jsonb, raw bytea, gone bool, version int8)"


class Value(msgspec.Struct):
    name: str
    data: dict[str, Any]
    raw: bytes


def test_the_highest_version_stays(empty_database: str) -> None:
    with Pool(empty_database) as pool:
        pool.execute(TABLE)
        pool.execute("create unique index on t (owner, a, b)")
        write = PostgresUpserts(pool, "public.t", key=("a", "b"), columns=("name", "data", "raw"), tenant="owner")

        def item(name: str, version: int, deleted: bool = False) -> Item:
            return Item((1, "x"), Value(name, {"n": [1, None]}, b"\x00\xff"), deleted, version, "acme")

        look = "select owner, a, b, name, data, raw, version from t"
        write([item("first", 1 << 62)])
        assert pool.fetch(look) == [("acme", 1, "x", "first", {"n": [1, None]}, b"\x00\xff", 1 << 62)]
        write([item("older", (1 << 62) - 1)])
        write([item("same", 1 << 62)])
        write([item("", 5, deleted=True)])
        assert (pool.fetch(look))[0][3] == "first"
        write([item("newer", (1 << 62) + 1)])
        assert (pool.fetch(look))[0][3] == "newer"
        assert write.highest() == (1 << 62) + 1
        write([item("", (1 << 62) + 2, deleted=True)])
        assert pool.fetch(look) == []
        assert write.highest() == 0


def test_deleted_rows_are_marked(empty_database: str) -> None:
    with Pool(empty_database) as pool:
        pool.execute("create table t (a text primary key, score int8, gone bool, version int8)")
        pool.execute("insert into t values ('a', 1, false, null)")
        write = PostgresUpserts(pool, "t", key="a", columns="score", deleted="gone")
        write([Item("a", 2, False, 10), Item("b", 5, False, 11)])
        write([Item("a", None, True, 12), Item("c", None, True, 13)])
        write([Item("a", 3, False, 11), Item("c", 3, False, 12)])
        assert pool.fetch("select a, score, gone, version from t order by a") == [
            ("a", 2, True, 12),
            ("b", 5, False, 11),
            ("c", None, True, 13),
        ]


def test_what_does_not_fit_is_told(empty_database: str) -> None:
    with Pool(empty_database) as pool:
        write = PostgresUpserts(pool, "t", key="a", columns="score")
        with pytest.raises(ValueError, match="has 2 parts, and PostgresUpserts 1 columns"):
            write([Item(("a", "b"), 1, False, 1)])
        with pytest.raises(ValueError, match="give PostgresUpserts a column"):
            write([Item("a", 1, False, 1, "acme")])
        with pytest.raises(ConfigError, match="is no plain name"):
            PostgresUpserts(pool, "t; drop table t", key="a", columns="score")
        with pytest.raises(ConfigError, match="different columns"):
            PostgresUpserts(pool, "t", key="a", columns="a")


def test_bad_rows_become_dead_letters_and_a_missing_table_does_not(
    redis_server: ValkeyServer, empty_database: str
) -> None:
    region = Region(name="t", serializer="raw")
    with Pool(empty_database) as pool, Redis(redis_server.url) as redis:
        own = WriteBehind(redis, region, unsafe=True)
        write = PostgresUpserts(pool, "t", key="a", columns="score")
        for n in range(50):
            own.put(n, b"%d" % (n if n != 30 else 1 << 40))
        with Flusher(redis, region, write, decode=lambda _, data: int(data), every=0.0, attempts=2) as flusher:
            while not flusher.metrics().failures:
                own.pending()
            assert (own.pending()).dead == 0
            pool.execute("create table t (a int4 primary key, score int4, version int8)")
            own.flush(20)
            assert "out of range" in (own.dead())[0].error
            assert pool.fetch("select count(*), sum(score) from t") == [(49, sum(range(50)) - 30)]


def test_durable_writes(tmp_path: Path) -> None:
    region = Region(name="t", serializer="raw")
    with valkey(tmp_path / "valkey") as server:
        with Redis(server.url, offline_queue=10) as redis:
            own = WriteBehind(redis, region, durable=True)
            assert own.put("a", b"1")
            server.restart()
            own.put("a", b"2")  # what the server before had accepted would not count: it is put once more
            assert own.put("a", b"3")
            redis.call("CONFIG", "SET", "appendfsync", "no")
            with pytest.raises(ConfigError, match="set it to always or everysec"):
                own.check()
            redis.call("CONFIG", "SET", "appendfsync", "always")
            own.check()
            assert own.put("b", b"2")


def test_a_full_server_refuses_writes_and_can_be_emptied(tmp_path: Path) -> None:
    region = Region(name="t", serializer="raw")
    seen: list[Item] = []

    def write(items: Any) -> None:
        seen.extend(items)

    with valkey(tmp_path / "valkey") as server:
        with Redis(server.url) as redis:
            own = WriteBehind(redis, region)
            for n in range(100):
                own.put(n, b"x" * 1000)
            redis.call("CONFIG", "SET", "maxmemory", 1_000_000)
            with pytest.raises(RedisRefused, match="OOM"):
                own.put("more", b"x")
            assert (own.pending()).writes == 100
            with Flusher(redis, region, write, every=0.0, lease=0.5):
                while (redis.call("XLEN", own.names.log)) > 0:
                    redis.call("PING")
    assert len(seen) == 100
